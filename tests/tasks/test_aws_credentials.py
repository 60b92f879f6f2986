"""An AwsCredentials block of a real Prefect server becomes the process's AWS environment."""

import os
import sqlite3
from pathlib import Path

import pytest

from east_core.errors import ConfigError
from tasks.aws_credentials import BLOCK_NAME, BLOCK_TYPE, use_aws_block

CANARY = "canary-2f81c6d0-block-secret"
DATA = {
    "aws_access_key_id": "team-key",
    "aws_secret_access_key": CANARY,
    "region_name": "eu-central-1",
    "profile_name": None,
    "aws_client_parameters": {"endpoint_url": "http://127.0.0.1:9000", "use_ssl": True},
}


VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that monkeypatch takes back what the block sets


@pytest.fixture(scope="module")
def block(prefect_api: None) -> str:
    """A block made as the UI makes it: Prefect's server brings its type."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import BlockDocumentCreate

    with get_client(sync_client=True) as client:
        kind = client.read_block_type_by_slug(BLOCK_TYPE)
        schema = client.get_most_recent_block_schema_for_block_type(kind.id)
        assert schema is not None
        client.create_block_document(
            BlockDocumentCreate(
                name="team-bucket", data=DATA, block_schema_id=schema.id, block_type_id=kind.id
            )
        )
    return "team-bucket"


def test_the_named_block_becomes_the_environment(
    block: str, environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BLOCK_NAME, block)
    use_aws_block()
    given = ("team-key", CANARY, "eu-central-1", "http://127.0.0.1:9000", "")
    assert tuple(os.environ[name] for name in VARIABLES) == given


def test_prefect_keeps_the_secret_encrypted(block: str) -> None:
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    path = Path(PREFECT_API_DATABASE_CONNECTION_URL.value().split("///")[1])
    with sqlite3.connect(path) as database:
        rows = database.execute("select count(*) from block_document where name = 'team-bucket'")
        assert rows.fetchone() == (1,)
    written = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert CANARY.encode() not in written


def test_without_a_name_nothing_is_asked_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BLOCK_NAME, raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    before = dict(os.environ)
    use_aws_block()
    assert dict(os.environ) == before


def test_an_unknown_block_is_told(prefect_api: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BLOCK_NAME, "no-such-block")
    with pytest.raises(ConfigError, match="no AWS Credentials block"):
        use_aws_block()
