"""S3 for tests and benchmarks: moto's server in a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from east_core.engines.supervise import die_with_parent

BUCKET = "east-tests"


@dataclass
class S3Server:
    """An S3 endpoint and the environment that leads to it."""

    endpoint: str
    access_key: str = "east-test-key"
    secret_key: str = "east-test-secret"  # noqa: S105  a server of ours on loopback

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """What a process needs to find the server, or another endpoint in front of it."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def create_bucket(self, name: str = BUCKET) -> None:
        """Make an empty bucket."""
        self.client().create_bucket(Bucket=name)

    def empty_bucket(self, name: str = BUCKET) -> None:
        """Delete every object of a bucket."""
        client = self.client()
        for key in self.keys("", name):
            client.delete_object(Bucket=name, Key=key)

    def keys(self, prefix: str, bucket: str = BUCKET) -> Iterator[str]:
        """The names of the objects with a prefix."""
        pages = self.client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield item["Key"]

    def client(self) -> Any:
        """boto3's client of this server."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def moto_server() -> Iterator[S3Server]:
    """moto's S3 server on loopback; it ends with the context, and with its parent."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 no thread of ours holds a lock
    )
    try:
        wait_for_port(port, 60)
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_for_port(port: int, seconds: float) -> None:
    """Wait until something listens there. Raises TimeoutError where nothing does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")
