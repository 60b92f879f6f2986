"""The sbatch script under bash, with stand-ins for Slurm, Ray and `east` that note their words.

tests/integration/test_slurm.py runs it in a real Slurm.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from flows.server.worker import GIVEN_BACK

SCRIPT = Path(__file__).parents[2] / "infra" / "slurm" / "east-worker.sbatch"
# Each stand-in writes down its arguments; those that serve stay until they are told to end.
STAND_IN = """#!/bin/bash
trap 'echo "ended $(basename "$0")" >> %s; exit ${WORKER_STATUS:-0}' TERM
echo "$(basename "$0") $* RAY=${RAY_ADDRESS:-} TOKEN=${RAY_AUTH_TOKEN:+set} KEY=${HF_TOKEN:-}" >> %s
case "$(basename "$0") $1" in
    squeue*) echo "${JOB_STATE:-RUNNING}"; exit 0 ;;
    scontrol* | "ray status") exit 0 ;;
esac
while :; do sleep 0.05; done
"""


@pytest.fixture
def allocation(tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The environment of an allocation whose programs are stand-ins, and their notes."""
    heard, programs = tmp_path / "heard", tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("east", "ray", "srun", "squeue", "scontrol"):
        (programs / name).write_text(STAND_IN % (heard, heard))
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PREFECT_API_URL": "http://prefect.example.org/api",
        "SLURM_JOB_ID": "17",
        "SLURM_NNODES": "1",
        "SLURMD_NODENAME": "node-1",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "TMPDIR": str(tmp_path / "disk"),
    }
    return environment, heard


def start(environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", str(SCRIPT)], env=environment, stderr=subprocess.PIPE, text=True
    )


def secrets_file(folder: Path, mode: int) -> str:
    file = folder / "secrets"
    file.write_text("HF_TOKEN=abc\n")
    file.chmod(mode)
    return str(file)


def wait_for(heard: Path, *words: str) -> str:
    """What was heard, as soon as all `words` were: programs in the background have no order."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        text = heard.read_text() if heard.exists() else ""
        if all(word in text for word in words):
            return text
        time.sleep(0.02)
    raise AssertionError(f"of {words}, only this was heard: {text}")


def test_a_worker_serves_until_slurm_ends_it_and_leaves_nothing(
    allocation: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    environment, heard = allocation
    running = start({**environment, "EAST_SECRETS": secrets_file(tmp_path, 0o600)})
    told = wait_for(heard, "east worker")
    assert "--pool east --name slurm-17" in told
    assert "KEY=abc" in told
    assert "srun" not in told
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 143
    assert "ended east" in heard.read_text()
    assert "scontrol" not in heard.read_text()
    assert not list((tmp_path / "disk").iterdir())


@pytest.mark.parametrize(
    ("extra", "is_queued_again"),
    [({}, True), ({"EAST_REQUEUE": "no"}, False), ({"JOB_STATE": "COMPLETING"}, False)],
    ids=["time is up", "not wanted", "cancelled"],
)
def test_a_job_whose_run_was_cut_off_is_queued_again(
    allocation: tuple[dict[str, str], Path], extra: dict[str, str], is_queued_again: bool
) -> None:
    environment, heard = allocation
    running = start({**environment, "WORKER_STATUS": str(GIVEN_BACK), **extra})
    wait_for(heard, "east worker")
    running.send_signal(signal.SIGTERM)
    running.wait(30)
    assert ("scontrol requeue 17" in heard.read_text()) == is_queued_again


def test_several_nodes_are_one_ray_cluster_behind_a_token(
    allocation: tuple[dict[str, str], Path],
) -> None:
    environment, heard = allocation
    running = start({**environment, "SLURM_NNODES": "4"})
    told = wait_for(heard, "east worker", "--head --block", "--exclude=node-1")
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 143
    sruns = (line for line in told.splitlines() if line.startswith("srun"))
    head, others = sorted(sruns, key=lambda line: "--head" not in line)
    assert "ray start --head --block" in head
    assert "--dashboard-host=127.0.0.1" in head
    assert "--nodes=3 --ntasks=3" in others
    assert "--nodelist=node-1" in head
    assert "--exclude=node-1" in others
    assert head.count("TOKEN=set") == others.count("TOKEN=set") == 1
    [worker] = (line for line in told.splitlines() if line.startswith("east"))
    assert ":6379" in worker
    assert heard.read_text().count("ended srun") == 2


def test_secrets_that_others_can_read_are_refused(
    allocation: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    environment, heard = allocation
    running = start({**environment, "EAST_SECRETS": secrets_file(tmp_path, 0o644)})
    _, errors = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "chmod 600" in errors
    assert not heard.exists()
