"""Rows of the fault table: kill -9 of each process of a run, at each point; Prefect restarted.

All of them run the real engines: vLLM, two DeepSpeed ranks, the built-in model.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.integration.faults.bench import wait_until
from tests.integration.faults.scene import Ended, Row, Scene, Started, form_of, kill_owner

CHECKPOINT, SAMPLES = "round-01/checkpoint", "round-01/samples"
FIRST_SHARD = f"{SAMPLES}/0000000-0000019"
TRAINING = r"step 1/"
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
RUN_SECONDS = 600.0


def flow_at_the_start(scene: Scene) -> str:
    run = scene.start()
    wait_until(run.engine, "the engine")
    return _killed(scene, run)


def flow_in_sampling(scene: Scene) -> str:
    run = scene.start()
    wait_until(lambda: _in_sampling(scene), "the first shard")
    return _killed(scene, run)


def flow_in_training(scene: Scene) -> str:
    scene.start_before(CHECKPOINT)
    run = scene.start()
    wait_until(lambda: _in_training(scene), "the first training checkpoint")
    scene.unrepeated = TRAINING
    return _killed(scene, run)


def flow_before_the_record(scene: Scene) -> str:
    scene.unrepeated = TRAINING
    return _flow_killed_before_the_record(scene, CHECKPOINT, before=CHECKPOINT)


def flow_before_a_shards_record(scene: Scene) -> str:
    return _flow_killed_before_the_record(scene, FIRST_SHARD, before=SAMPLES)


def worker_at_the_start(scene: Scene) -> str:
    return _worker_killed(scene, lambda run: run.started().engine())


def worker_in_sampling(scene: Scene) -> str:
    return _worker_killed(scene, lambda _: _in_sampling(scene))


def worker_in_training(scene: Scene) -> str:
    scene.start_before(CHECKPOINT)
    scene.unrepeated = TRAINING
    return _worker_killed(scene, lambda _: _in_training(scene))


def worker_before_the_record(scene: Scene) -> str:
    scene.start_before(CHECKPOINT)
    _hold_record(scene, CHECKPOINT, "stall")
    scene.unrepeated = TRAINING
    told = _worker_killed(scene, lambda _: scene.proxy.seen)
    _require_unrecorded(scene, CHECKPOINT)
    scene.proxy.misbehave(None)
    return told


def engine_at_the_start(scene: Scene) -> str:
    run = scene.start_on_server()
    wait_until(run.engine, "the engine")
    return _engine_killed(scene, run)


def engine_in_sampling(scene: Scene) -> str:
    run = scene.start_on_server()
    wait_until(lambda: _in_sampling(scene), "the first shard")
    return _engine_killed(scene, run)


def engine_before_the_record(scene: Scene) -> str:
    scene.start_before(SAMPLES)
    _hold_record(scene, FIRST_SHARD, "hold")
    run = scene.start_on_server()
    wait_until(lambda: scene.proxy.seen, "the record's put")
    _require_unrecorded(scene, FIRST_SHARD)
    return _engine_killed(scene, run)


def rank_at_the_start(scene: Scene) -> str:
    return _rank_killed(scene, lambda run: len(run.ranks()) == 2)


def rank_in_training(scene: Scene) -> str:
    return _rank_killed(scene, lambda _: _in_training(scene))


def server_restarted(scene: Scene) -> str:
    run = scene.start_on_server()
    wait_until(lambda: _in_sampling(scene), "the first shard")
    scene.strike()
    scene.bench.kill_server()
    scene.bench.start_server()
    ended = run.end()
    return "the run goes on" if ended.status == 0 else ended.line


@dataclass
class WorkerRun:
    """A run that a worker of the pool has started, or is to start."""

    scene: Scene
    id: str = ""
    workers: int = 0

    def work(self) -> "subprocess.Popen[bytes]":
        """Start a worker."""
        bench = self.scene.bench
        self.workers += 1
        env = self.scene.environment() | {"PREFECT_API_URL": bench.prefect_url}
        command = ["-m", "prefect", "worker", "start", "--pool", "east", "--name", "faults"]
        self.worker = bench.spawn(f"{self.scene.name}-worker-{self.workers}", command, env)
        return self.worker

    def create(self) -> None:
        """Ask for the run, as the UI does."""
        bench = self.scene.bench
        body = {"parameters": form_of(self.scene), "state": {"type": "SCHEDULED"}}
        path = f"deployments/{bench.deployment}/create_flow_run"
        self.id = bench.api(path, body)["id"]

    def started(self) -> Started:
        """The worker as the owner of what it started."""
        name = f"{self.scene.name}-worker-{self.workers}.log"
        return Started(self.worker, self.scene.bench.work / "logs" / name)

    def ended(self) -> dict[str, str] | None:
        """The run's last state, once it has one."""
        state = self.scene.bench.api(f"flow_runs/{self.id}")["state"]
        return state if state["type"] in ENDED else None

    def again(self) -> Ended:
        """A new worker, and what the UI's Retry button does."""
        self.work()
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.scene.bench.api(f"flow_runs/{self.id}/set_state", {"state": state})
        wait_until(lambda: not self.ended(), "the retry")
        state = wait_until(self.ended, "the end of the retry", RUN_SECONDS)
        status = 0 if state["type"] == "COMPLETED" else 1
        return Ended(status, f"{self.started().output}\neast: {state['message']}")


def _killed(scene: Scene, run: Started) -> str:
    told = run.kill()
    scene.strike()
    return told


def _worker_killed(scene: Scene, reached: Callable[[WorkerRun], object]) -> str:
    """Kill the worker at the right moment; the rerun is the UI's."""
    run = WorkerRun(scene)
    scene.rerun = run.again
    run.create()
    worker = run.work()
    wait_until(lambda: reached(run), "the moment to kill the worker")
    told = kill_owner(worker.pid, worker.wait)
    scene.strike()
    state = wait_until(run.ended, "the run's end", RUN_SECONDS)
    return f"the run ends as {state['name']}; {told}"


def _engine_killed(scene: Scene, run: Started) -> str:
    """Kill the engine; the stage is tried again by itself."""
    scene.strike()
    engine = run.engine()
    assert engine is not None
    engine.kill()
    if scene.on_s3:
        scene.proxy.misbehave(None)
    return _tried_again(run.end())


def _rank_killed(scene: Scene, reached: Callable[[Started], object]) -> str:
    """Kill the last rank; training is tried again by itself."""
    scene.start_before(CHECKPOINT)
    run = scene.start_on_server()
    wait_until(lambda: run.ranks() and reached(run), "the moment to kill a rank")
    scene.strike()
    os.kill(run.ranks()[-1].pid, signal.SIGKILL)
    return _tried_again(run.end())


def _tried_again(ended: Ended) -> str:
    assert ended.status == 0, ended.line
    told = ended.told(r"(EngineError|RankKilled)\(.*?[;)]")
    reason = told.partition("(")[2].strip("\"';)")
    return f"{reason}; tried again, finishes"


def _flow_killed_before_the_record(scene: Scene, address: str, before: str) -> str:
    scene.start_before(before)
    _hold_record(scene, address, "stall")
    run = scene.start()
    wait_until(lambda: scene.proxy.seen, "the record's put")
    _require_unrecorded(scene, address)
    told = _killed(scene, run)
    scene.proxy.misbehave(None)
    return told


def _in_sampling(scene: Scene) -> bool:
    """A shard is recorded, the stage is not."""
    samples = scene.run_folder / SAMPLES
    return any(samples.glob("*/_record.json")) and not (samples / "_record.json").exists()


def _in_training(scene: Scene) -> bool:
    """The first training checkpoint is whole, for the second is begun."""
    return bool(scene.scratch("*checkpoint*/**/checkpoint-4"))


def _hold_record(scene: Scene, address: str, fault: str) -> None:
    scene.proxy.misbehave(fault, rf"^PUT .*/{address}/_record\.json")  # type: ignore[arg-type]


def _require_unrecorded(scene: Scene, address: str) -> None:
    """The fault is where it belongs: files are there, the record is not."""
    prefix = f"{scene.name}/faults/{address}/"
    names = [key.removeprefix(prefix) for key in scene.bench.s3.keys(prefix)]
    assert names, "nothing was uploaded"
    assert "_record.json" not in names


ROWS = (
    Row("flow-start", "kill -9 of `east run` while its engine starts", flow_at_the_start),
    Row("flow-sampling", "kill -9 of `east run` in mid-sampling", flow_in_sampling),
    Row("flow-training", "kill -9 of `east run` in mid-training", flow_in_training),
    Row(
        "flow-publishing-shard",
        "kill -9 of `east run` when a shard is uploaded and its record is not",
        flow_before_a_shards_record,
        on_s3=True,
    ),
    Row(
        "flow-publishing",
        "kill -9 of `east run` when the checkpoint is uploaded and its record is not",
        flow_before_the_record,
        on_s3=True,
    ),
    Row("worker-start", "kill -9 of the worker while its run's engine starts", worker_at_the_start),
    Row("worker-sampling", "kill -9 of the worker in mid-sampling", worker_in_sampling),
    Row("worker-training", "kill -9 of the worker in mid-training", worker_in_training),
    Row(
        "worker-publishing",
        "kill -9 of the worker when the checkpoint is uploaded and its record is not",
        worker_before_the_record,
        on_s3=True,
    ),
    Row("engine-start", "kill -9 of the sampling engine while it starts", engine_at_the_start),
    Row("engine-sampling", "kill -9 of the sampling engine in mid-sampling", engine_in_sampling),
    Row(
        "engine-publishing",
        "kill -9 of the sampling engine when a shard is uploaded and its record is not",
        engine_before_the_record,
        on_s3=True,
    ),
    Row("rank-start", "kill -9 of a training rank while it starts", rank_at_the_start),
    Row("rank-training", "kill -9 of a training rank in mid-training", rank_in_training),
    Row(
        "server-restart",
        "kill -9 of Prefect's server in mid-run, and another start",
        server_restarted,
    ),
)
