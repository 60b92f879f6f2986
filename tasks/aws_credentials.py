"""S3 credentials from a Prefect AwsCredentials block, by name.

Prefect's server knows that block type by itself and hands out the block's document, so the
prefect-aws package is not needed (its newest release needs a newer Prefect than vLLM allows).
What the block holds goes into the AWS environment of the flow's process, where botocore and the
engines look anyway: never into parameters, configs, records, logs or a command line.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from east_core.errors import ConfigError

BLOCK_NAME = "EAST_AWS_CREDENTIALS"
BLOCK_TYPE = "aws-credentials"
_VARIABLES = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "profile_name": "AWS_PROFILE",
    "region_name": "AWS_DEFAULT_REGION",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "verify_cert_path": "AWS_CA_BUNDLE",
}


def use_aws_block() -> None:
    """Use the block that $EAST_AWS_CREDENTIALS names, if it names one, in this process.

    Raises ConfigError where the server has no such block.
    """
    name = os.environ.get(BLOCK_NAME)
    if not name:
        return
    with get_client(sync_client=True) as client:
        try:
            document = client.read_block_document_by_name(name, BLOCK_TYPE, include_secrets=True)
        except ObjectNotFound:
            raise ConfigError(
                f"{BLOCK_NAME}={name}: the Prefect server has no AWS Credentials block of that "
                "name; create it in the UI under Blocks, or correct the name"
            ) from None
    os.environ.update(aws_environment(document.data))


def aws_environment(block: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that say what an AwsCredentials block says."""
    return {_VARIABLES[field]: value for field, value in _texts(block) if field in _VARIABLES}


def _texts(block: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field, value in {**block, **(block.get("aws_client_parameters") or {})}.items():
        if isinstance(value, str) and value:
            yield field, value
