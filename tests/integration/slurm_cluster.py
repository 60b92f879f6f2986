"""A Slurm of one or more nodes on this machine, from Debian's packages and without systemd.

It has a munge of its own, and GPUs that are character devices like /dev/null. Everything that it
starts, jobs included, ends with it.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from east_core.testing.s3_servers import free_port, wait_for_port

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "scancel", "scontrol", "squeue", "srun")
MISSING = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name) is None]
START_SECONDS = 60
GPUS, CORES, MEGABYTES = 8, 64, 4096  # what a node says that it has
CONF = """
ClusterName=east
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cores} "
HAS = "RealMemory={megabytes} Gres=gpu:{gpus}\n"
PARTITION = "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"


@dataclass(frozen=True)
class Slurm:
    """A running Slurm: its folder, and the environment in which its commands find it."""

    folder: Path
    environment: Mapping[str, str]

    def ask(self, *command: str, cwd: Path | None = None, **extra: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, cwd=cwd or self.folder, env={**self.environment, **extra},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}{self.logs()}"
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """A job's state: PENDING, RUNNING, COMPLETING ...; empty once it is forgotten."""
        return self.ask("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}")

    def logs(self) -> str:
        """The last lines of the daemons' logs."""
        tails = (path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))
        return "\n".join(tails)


@contextlib.contextmanager
def slurm_cluster(nodes: int = 1) -> Iterator[Slurm]:
    """A Slurm of so many nodes; needs root, as slurmd does."""
    with tempfile.TemporaryDirectory(prefix="east-slurm-") as name, contextlib.ExitStack() as ends:
        folder = Path(name)
        folder.chmod(0o755)  # munge's socket must be reached
        names = [f"node-{index + 1}" for index in range(nodes)]
        port = _configure(folder, names)
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        slurm = Slurm(folder, environment)
        ends.enter_context(_daemon(slurm, "munged", *_munge(folder)))
        wait_for((folder / "munge.socket").exists, "munge", START_SECONDS)
        ends.enter_context(_daemon(slurm, "slurmctld", "-D"))
        wait_for_port(port, START_SECONDS)
        for node in names:
            ends.enter_context(_daemon(slurm, "slurmd", "-D", "-N", node))
        wait_for(lambda: _idle(slurm) == nodes, "Slurm's nodes", START_SECONDS)
        yield slurm


def wait_for(
    reached: Callable[[], object], what: str, seconds: float, told: Callable[[], str] = str
) -> None:
    """Look twice a second: each look is a program or a request of its own. `told` explains."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}; {told()}"
        time.sleep(0.5)


def _configure(folder: Path, nodes: list[str]) -> int:
    """Write what the daemons read; return the controller's port."""
    (folder / "state").mkdir()
    devices = folder / "devices"
    devices.mkdir()
    null = Path("/dev/null").stat()
    for index in range(GPUS):
        os.mknod(devices / f"gpu{index}", null.st_mode, null.st_rdev)
    host, port = socket.gethostname(), free_port()
    has = HAS.format(megabytes=MEGABYTES, gpus=GPUS)
    rows = (NODE.format(name=n, host=host, port=free_port(), cores=CORES) + has for n in nodes)
    text = CONF.format(host=host, port=port, folder=folder) + "".join(rows) + PARTITION
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(f"Name=gpu File={devices}/gpu[0-{GPUS - 1}]\n")
    return port


def _munge(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    places = {"socket": "socket", "pid-file": "pid", "log-file": "munged.log", "seed-file": "seed"}
    files = [f"--{option}={folder / f'munge.{end}'}" for option, end in places.items()]
    return ["--foreground", "--force", f"--key-file={key}", *files]


@contextlib.contextmanager
def _daemon(slurm: Slurm, program: str, *arguments: str) -> Iterator[None]:
    """Run a daemon under a supervisor, which ends all that it starts, in any session."""
    watch, alive = os.pipe()
    name = f"{program}-{arguments[-1]}" if program == "slurmd" else program
    with (slurm.folder / f"{name}.log").open("ab") as log:
        owner = subprocess.Popen(
            [sys.executable, "-m", "east_core.engines.supervise", str(watch), "--",
             str(shutil.which(program)), *arguments],
            env=slurm.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            pass_fds=[watch], start_new_session=True,
        )  # fmt: skip
    os.close(watch)
    try:
        yield
    finally:
        os.close(alive)
        owner.wait(30)


def _idle(slurm: Slurm) -> int:
    told = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%T"], env=slurm.environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.split().count("idle")
