"""Servers for tests of the store, beside S3's: Azure, Google Cloud Storage and SFTP, on loopback.

Each context manager yields a `StoreServer`: a URL as that service's own community writes it, the
environment that leads to it, and an environment with wrong credentials where the server looks at
them.
"""

import base64
import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from east_core.testing.s3_servers import free_port, wait_for_port

CONTAINER = "east-tests"
# The account that every Azure Storage emulator has, with its published key.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
WRONG_KEY = base64.b64encode(b"w" * 64).decode()
START_SECONDS = 60


@dataclass(frozen=True)
class StoreServer:
    """A store's URL, and what the environment must say for it.

    `wrong` changes the environment to credentials that the server must refuse; None where the
    server takes any. `note` says what it is; `options` are fsspec's.
    """

    url: str
    environment: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] | None = None
    note: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def azurite_command() -> str | None:
    """Azurite's command, from npm (npm install azurite), on PATH or in $EAST_AZURITE."""
    return os.environ.get("EAST_AZURITE") or shutil.which("azurite-blob")


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[StoreServer]:
    """Microsoft's own emulator of Azure Blob Storage; it checks signatures."""
    port = free_port()
    command = [
        str(azurite_command()), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location",
        str(folder), "--silent", "--skipApiVersionCheck", "--disableTelemetry",
    ]  # fmt: skip
    with _running(command, port):
        _make_container(_azure_connection(port, AZURE_KEY))
        yield StoreServer(
            f"abfs://{CONTAINER}@{AZURE_ACCOUNT}.dfs.core.windows.net",
            {"AZURE_STORAGE_CONNECTION_STRING": _azure_connection(port, AZURE_KEY)},
            {"AZURE_STORAGE_CONNECTION_STRING": _azure_connection(port, WRONG_KEY)},
            "the emulator of Azure's own makers",
        )


@contextlib.contextmanager
def gcs_emulator() -> Iterator[StoreServer]:
    """gcp-storage-emulator, in memory: it looks at no credentials and ignores ifGenerationMatch."""
    port = free_port()
    command = [
        sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1", f"--port={port}",
        "--in-memory", f"--default-bucket={CONTAINER}",
    ]  # fmt: skip
    with _running(command, port):
        yield StoreServer(
            f"gs://{CONTAINER}",
            {
                "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
                # what kind of bucket it is can't be asked without Google's credentials
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            },
            note="the emulator ignores conditions; only real GCS can show the exclusive write",
            options={"token": "anon"},
        )


@contextlib.contextmanager
def sftp_server(folder: Path) -> Iterator[StoreServer]:
    """OpenSSH's own server, for this user alone, with keys made for the test."""
    folder = folder.resolve()
    port, home = free_port(), folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    key = home / ".ssh" / "id_ed25519"
    for path in (folder / "host_key", key):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    (folder / "authorized").write_text(key.with_suffix(".pub").read_text())
    store = folder / "store"
    store.mkdir()
    settings = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host_key'}",
        f"AuthorizedKeysFile {folder / 'authorized'}", "StrictModes no", "UsePAM no",
        "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes",
        "Subsystem sftp internal-sftp", f"PidFile {folder / 'pid'}", "MaxStartups 100",
        "MaxSessions 100",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    Path("/run/sshd").mkdir(exist_ok=True)  # OpenSSH's privilege separation asks for it
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    with _running([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], port):
        yield StoreServer(
            f"sftp://{getpass.getuser()}@127.0.0.1:{port}{store}",
            {"HOME": str(home), "SSH_AUTH_SOCK": ""},
            {"HOME": str(folder)},
            "OpenSSH",
        )


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    """A server's process group, from when its port answers to the end of the context."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for_port(port, START_SECONDS)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _azure_connection(port: int, key: str) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{AZURE_ACCOUNT};"
    )


def _make_container(connection: str) -> None:
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(connection) as client:
        client.create_container(CONTAINER)
