"""A PostgreSQL of the machine's own packages on loopback, with a password, for Prefect's server."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from east_core.testing.s3_servers import free_port, wait_for_port

USER, PASSWORD = "east", "only-in-this-test"
START_SECONDS = 60
SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@dataclass
class Postgres:
    """A database server and its folder; it can be killed and started again."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @classmethod
    def create(cls, folder: Path) -> "Postgres":
        """Make an empty database cluster in `folder`, which asks for a password, and start it."""
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        _give(folder)
        word = folder.with_name("password")
        word.write_text(PASSWORD)
        _give(word)
        made = ["--username", USER, "--pwfile", str(word), "--auth", "scram-sha-256"]
        subprocess.run(_as_user("initdb", "-D", str(folder), *made), check=True, cwd="/")
        server = cls(folder, free_port())
        server.start()
        return server

    @property
    def url(self) -> str:
        """Where it is, as Prefect is told."""
        return f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it; after a kill it recovers first."""
        sockets = ["-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port)]
        command = _as_user("postgres", "-D", str(self.folder), *sockets)
        self.process = subprocess.Popen(command, cwd="/")
        wait_for_port(self.port, START_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would: nothing is flushed, no client is told."""
        assert self.process is not None
        pid = int((self.folder / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 9)
        self.process.wait()


def _as_user(program: str, *arguments: str) -> list[str]:
    """PostgreSQL refuses to run as root; Debian's package has a user for it."""
    command = [str(SERVERS[-1].with_name(program)), *arguments]
    if os.geteuid() != 0:
        return command
    return [str(shutil.which("setpriv")), "--reuid=postgres", "--regid=postgres", "--init-groups",
            *command]  # fmt: skip


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)
