"""The sbatch script in a real Slurm: cut off by its time limit, and gone on with by itself."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from east_core.store.manifest import RECORD_NAME, decode_record
from east_core.testing.fakes import write_model
from tests.integration.faults.bench import ROOT, Bench
from tests.integration.faults.scene import SCRIPTED_EAST, sums
from tests.integration.scripted_flow import DEPLOYMENTS
from tests.integration.slurm_cluster import MISSING, Slurm, slurm_cluster, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"{', '.join(MISSING)} not installed (Debian: apt-get install slurmctld slurmd "
        "slurm-client munge)",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd needs root"),
]
SCRIPT = ROOT / "infra" / "slurm" / "east-worker.sbatch"
# TERM comes one to two minutes after the start (Slurm may send it a minute early), in mid-sampling:
# 50 shards take longer.
SHORT, SHARD_SECONDS = ("--time=3", "--signal=B:TERM@60"), 4
MANY, FEW, SCORED = 100, 16, 2  # questions, two in a shard
JOB_SECONDS = 600.0
ENDS = {"Completed", "Failed", "Crashed", "Cancelled"}
CONFIG = """
name = "{name}"
store = "{folder}/{store}"
rounds = 1
[model]
name = "{folder}/model"
[questions]
path = "{folder}/questions.jsonl"
limit = {questions}
[benchmarks.sums]
path = "{folder}/test.jsonl"
[sampling]
samples_per_question = 6
[training]
loss = "sft"
global_batch_size = 4
[resources]
shard_questions = 2
"""


@dataclass
class Site:
    """A cluster's shared folder, Prefect's server, and Slurm."""

    folder: Path
    bench: Bench
    slurm: Slurm

    @property
    def disk(self) -> Path:
        """The nodes' local disk, in a short place: Ray's sockets are there."""
        return self.slurm.folder / "disk"

    def submit(self, *options: str) -> str:
        """sbatch the script as it is; the id of the job."""
        return self.slurm.ask(
            "sbatch", "--parsable", *options, str(SCRIPT), cwd=self.folder,
            EAST_HOME=str(self.folder), PREFECT_API_URL=self.bench.prefect_url,
            TMPDIR=str(self.disk), PYTHONPATH=str(ROOT),
            EAST_SHARD_SECONDS=str(SHARD_SECONDS),
        )  # fmt: skip

    def settings(self, name: str, questions: int, store: str = "store") -> str:
        return CONFIG.format(name=name, folder=self.folder, questions=questions, store=store)

    def start(self, name: str, questions: int) -> str:
        """Ask for a run of self-training, as the UI does; its id."""
        form = tomllib.loads(self.settings(name, questions))
        return self.start_deployment("scripted", {"form": form})

    def start_deployment(self, name: str, parameters: dict[str, Any]) -> str:
        deployments = self.bench.api("deployments/filter", {})
        (asked,) = [found["id"] for found in deployments if found["name"] == name]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.bench.api(f"deployments/{asked}/create_flow_run", body)["id"])

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.bench.api(f"flow_runs/{run}"))

    def state(self, run: str) -> str:
        return str(self.run(run)["state"]["name"])

    def records(self, name: str, store: str = "store") -> dict[str, bytes]:
        """The bytes of every record of a run, by address."""
        root = self.folder / store
        paths = (root / name).rglob(RECORD_NAME)
        return {str(path.parent.relative_to(root)): path.read_bytes() for path in paths}

    def contents(self, name: str, store: str = "store") -> dict[str, str]:
        """The content hash of every artifact of a run; `config` names its store and is left out."""
        return {
            address: decode_record(data, address).content
            for address, data in self.records(name, store).items()
            if not address.endswith("/config")
        }

    def log(self, job: str) -> str:
        path = self.folder / f"east-{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    (folder / ".venv").symlink_to(sys.prefix)
    write_model(folder / "model")
    (folder / "questions.jsonl").write_text(sums(MANY))
    (folder / "test.jsonl").write_text(sums(SCORED))
    (folder / "prefect.yaml").write_text(DEPLOYMENTS)
    with Bench(folder / "bench") as bench, slurm_cluster(nodes=2) as slurm:
        environment = bench.environment() | {
            "PREFECT_API_URL": bench.prefect_url, "EAST_WORKDIR": str(folder),
        }  # fmt: skip
        deploy = ["-c", "from flows.commands.main import main; main()", "deploy"]
        subprocess.run(
            [sys.executable, *deploy, "--deployments", str(folder / "prefect.yaml")],
            cwd=folder, env=environment, check=True,
        )  # fmt: skip
        site = Site(folder, bench, slurm)
        site.disk.mkdir()
        yield site


def below_the_job(job: str) -> list[psutil.Process]:
    """The living processes that were started inside a job."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_JOB_ID") == job:
                found.append(process)
        except psutil.Error:
            continue
    return found


def undisturbed(site: Site, name: str, questions: int) -> dict[str, str]:
    """What the same settings give, in another store, without Slurm and without waiting."""
    config = site.folder / "undisturbed.toml"
    config.write_text(site.settings(name, questions, "undisturbed"))
    subprocess.run(
        [sys.executable, str(SCRIPTED_EAST), "run", str(config)],
        cwd=site.folder, check=True,
        env=site.bench.environment() | {"EAST_CACHE": str(site.folder / "cache")},
    )  # fmt: skip
    return site.contents(name, "undisturbed")


def require_nothing_left(site: Site, job: str) -> None:
    """No process of the job lives, and its local disk is as it was."""
    wait_for(lambda: not below_the_job(job), "the end of the job's processes", 60)
    assert [path for path in site.disk.iterdir() if path.name != "ray"] == []  # Ray's own logs


def is_sampling(site: Site, name: str) -> bool:
    """The first shard is recorded."""
    return any("/samples/" in address for address in site.records(name))


def test_a_run_that_its_time_limit_cut_off_goes_on_in_the_next_allocation(site: Site) -> None:
    expected = undisturbed(site, "cut-off", MANY)
    cut, waiting = site.start("cut-off", MANY), site.start("waiting", FEW)
    job = site.submit(*SHORT)
    wait_for(lambda: "is queued again" in site.log(job), "the time limit", JOB_SECONDS)
    done = site.records("cut-off")
    assert is_sampling(site, "cut-off"), "TERM came before the first shard"
    assert not any(address.endswith("/samples") for address in done), "TERM came too late"
    assert site.state(cut) == "AwaitingRetry"
    assert site.run(waiting)["run_count"] == 0, "it was taken after TERM"
    wait_for(lambda: site.slurm.state(job) == "PENDING", "the job in the queue again", 60)
    require_nothing_left(site, job)
    site.slurm.ask("scontrol", "update", f"JobId={job}", "TimeLimit=60", "StartTime=now")

    def told() -> str:
        states = site.state(cut), site.state(waiting), site.slurm.state(job)
        return f"{states}\n{site.slurm.ask('scontrol', 'show', 'job', job)}\n{site.log(job)}"

    for run in (cut, waiting):
        wait_for(lambda run=run: site.state(run) in ENDS, "the end of a run", JOB_SECONDS, told)
        assert site.state(run) == "Completed", site.log(job)
    after = site.records("cut-off")
    assert {address: after[address] for address in done} == done
    assert site.contents("cut-off") == expected
    site.slurm.ask("scancel", job)
    wait_for(lambda: site.slurm.state(job) == "CANCELLED", "the job's end", 60)
    require_nothing_left(site, job)


def test_a_job_that_is_cancelled_gives_its_run_back_and_is_not_queued_again(site: Site) -> None:
    run = site.start("cancelled", MANY)
    job = site.submit("--time=30")
    wait_for(lambda: is_sampling(site, "cancelled"), "the first shard", JOB_SECONDS)
    site.slurm.ask("scancel", job)
    wait_for(lambda: site.slurm.state(job) == "CANCELLED", "the job's end", 60)
    assert site.state(run) == "AwaitingRetry", site.log(job)
    assert "waits in the pool for a job that you submit" in site.log(job)
    require_nothing_left(site, job)


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: the extra ray")
def test_several_nodes_are_one_ray_cluster(site: Site) -> None:
    """Of one machine, so with one address; srun, the token and the end are as they always are."""
    run = site.start_deployment("ray-nodes", {})
    job = site.submit("--time=30", "--nodes=2")
    wait_for(lambda: site.state(run) in ENDS, "the flow's end", JOB_SECONDS)
    assert "2 nodes" in site.run(run)["state"]["message"], site.log(job)
    site.slurm.ask("scancel", job)
    wait_for(lambda: site.slurm.state(job) == "CANCELLED", "the job's end", 60)
    require_nothing_left(site, job)
