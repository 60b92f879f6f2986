"""Secrets of the environment appear nowhere: artifacts, logs, Prefect's database, reports."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from east_core.testing.s3_servers import BUCKET, S3Server, free_port, moto_server
from tests.east_core.conftest import sums_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary-aws-0d5f2b7e91c4",
    "AWS_SESSION_TOKEN": "canary-session-77b1e0a2d3",
    "HF_TOKEN": "hf_canaryQpLmXzRtYuWv",
    "WANDB_API_KEY": "canary0wandb0f31b7c55e08",
    "OPENAI_API_KEY": "sk-canary-93c1b2",
}
USERINFO = "canary-userinfo-4c1a"
BLOCK_SECRET = "canary-block-6e2d90aa17"
EAST = [sys.executable, str(Path(__file__).with_name("scripted_east.py"))]
MAKE_BLOCK = """
import json, sys
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate
from flows.server.connection import prefect_api

with prefect_api(), get_client(sync_client=True) as client:
    kind = client.read_block_type_by_slug("aws-credentials")
    schema = client.get_most_recent_block_schema_for_block_type(kind.id)
    client.create_block_document(BlockDocumentCreate(
        name="team-bucket", data=json.loads(sys.stdin.read()),
        block_schema_id=schema.id, block_type_id=kind.id))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as server:
        server.create_bucket()
        yield server


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, server: S3Server) -> dict[str, bytes]:
    """Everything that a run, a failing run and their reports leave behind, by where it was."""
    folder = tmp_path_factory.mktemp("canary")
    env = environment(folder, server)
    whole = write_config(folder, f"s3://{BUCKET}/canary")
    broken = write_config(folder, "s3://east-no-such-bucket/canary")
    said = {
        "run": east(folder, env, "run", whole),
        "verify": east(folder, env, "verify", f"s3://{BUCKET}/canary/sums"),
        "report": east(folder, env, "report", f"s3://{BUCKET}/canary/sums"),
        "a run without a bucket": east(
            folder, env | {"AWS_ENDPOINT_URL": server.endpoint}, "run", broken, fails=True
        ),
        "a run without S3": east(
            folder, env | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}, "show",
            f"s3://{BUCKET}/canary/sums", fails=True,
        ),
        "a URL with a password": east(
            folder, env, "run", whole,
            "--set", f"questions.path=https://user:{USERINFO}@example.org/q.jsonl", fails=True,
        ),
    }  # fmt: skip
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {**said, **files, **objects(server)}


def environment(folder: Path, server: S3Server) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    own = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "EAST_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder / "home"),
    }
    (folder / "home").mkdir(exist_ok=True)
    return {**kept, **server.environment(), **own, **SECRETS}


def write_config(folder: Path, store: str) -> str:
    config = sums_config(folder / "data", store=store, rounds=1)
    lines = (
        f'name = "sums"\nstore = "{store}"\nrounds = 1\n[model]\nname = "{config.model.name}"\n'
        f'[questions]\npath = "{config.questions.path}"\n'
        f'[benchmarks.sums]\npath = "{config.questions.path}"\n'
    )
    path = folder / f"{store.split('/')[2]}.toml"
    path.write_text(lines)
    return str(path)


def east(folder: Path, env: dict[str, str], *arguments: str, fails: bool = False) -> bytes:
    """What `east ...` writes to the terminal."""
    done = subprocess.run(
        [*EAST, *arguments], cwd=folder, env=env, capture_output=True, check=False, timeout=600
    )
    assert (done.returncode != 0) == fails, done.stderr.decode()[-3000:]
    return done.stdout + done.stderr


def objects(server: S3Server) -> dict[str, bytes]:
    client = server.client()
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {
        f"s3://{item['Key']}": client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        for item in listed
    }


def test_what_should_have_been_written_was(written: dict[str, bytes]) -> None:
    """Else the search below would find nothing because there is nothing."""
    names = " ".join(written)
    assert "prefect.db" in names
    assert ".html" in names
    assert "s3://canary/sums/round-01/checkpoint/_record.json" in written
    database = b"".join(data for name, data in written.items() if "prefect.db" in name)
    assert b"self-training" in database
    assert b"round-01" in database, "logs are in the database"
    assert b"bucket does not exist" in written["a run without a bucket"]


@pytest.mark.parametrize("name", [*SECRETS, "userinfo"])
def test_no_secret_is_anywhere(written: dict[str, bytes], name: str) -> None:
    secret = SECRETS.get(name, USERINFO).encode()
    assert [where for where, data in written.items() if secret in data] == []


def test_a_run_finds_its_credentials_in_a_block_and_leaves_none(
    tmp_path: Path, server: S3Server
) -> None:
    aws = server.environment()
    env = {
        name: value
        for name, value in environment(tmp_path, server).items()
        if not name.startswith("AWS_")
    } | {"AWS_EC2_METADATA_DISABLED": "true"}
    block = {
        "aws_access_key_id": aws["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": BLOCK_SECRET,
        "region_name": aws["AWS_DEFAULT_REGION"],
        "aws_client_parameters": {"endpoint_url": server.endpoint},
    }
    subprocess.run(
        [sys.executable, "-c", MAKE_BLOCK],
        input=json.dumps(block), text=True, cwd=tmp_path, env=env, check=True, timeout=300,
    )  # fmt: skip
    config = write_config(tmp_path, f"s3://{BUCKET}/block")
    said = east(tmp_path, env | {"EAST_AWS_CREDENTIALS": "team-bucket"}, "run", config)
    stored = objects(server)
    assert "s3://block/sums/round-01/checkpoint/_record.json" in stored
    files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    everything = {"terminal": said, **files, **stored}
    assert [name for name, data in everything.items() if BLOCK_SECRET.encode() in data] == []
