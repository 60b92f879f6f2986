"""Runs that are killed, and runs that meet: a real server, a real worker, real engines."""

import json
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
ENGINE_SECONDS, END_SECONDS, RUN_SECONDS = 300, 300, 900
SAMPLER, TRAINER = "engines.vllm.worker", "engines.trl.fork_server"


def worker(up: Any) -> psutil.Process:
    (found,) = up.processes("prefect", "worker", "start")
    return found  # type: ignore[no-any-return]


def built_at(up: Any, name: str) -> dict[str, str]:
    """When each recorded stage of a run was built."""
    records = (up.folder / ".east" / "store" / name).rglob("_record.json")
    made = (json.loads(path.read_text()) for path in records)
    return {record["address"]: record["created_at"] for record in made}


def in_mid_sampling(up: Any, name: str) -> bool:
    """A shard is recorded, the stage is not."""
    samples = up.folder / ".east" / "store" / name / "round-01" / "samples"
    return any(samples.glob("*/_record.json")) and not (samples / "_record.json").exists()


def in_mid_training(up: Any, name: str) -> bool:
    """The first optimizer step has been reported."""
    return any(entry["key"] == f"{name}-train" for entry in up.api("artifacts/filter", {}))


@pytest.mark.parametrize("engine", [SAMPLER, TRAINER])
def test_a_killed_worker_leaves_no_process_and_the_run_goes_on_when_run_again(
    east_up: Any, small_form: Callable[..., dict[str, Any]], engine: str
) -> None:
    name = f"killed-{'sampling' if engine == SAMPLER else 'training'}"
    changes = {"samples_per_question": 64, "resources": {"device": "cpu", "shard_questions": 16}}
    run = east_up.start("self-training", small_form(name, **changes))
    middle = in_mid_sampling if engine == SAMPLER else in_mid_training
    east_up.wait_until(lambda: middle(east_up, name), RUN_SECONDS, f"the middle of {engine}")
    assert east_up.processes(engine)
    worker(east_up).send_signal(signal.SIGKILL)
    east_up.wait_until(
        lambda: not any(east_up.processes(word) for word in (SAMPLER, TRAINER, "prefect.engine")),
        30, "the end of every process",
    )  # fmt: skip
    before = built_at(east_up, name)
    assert east_up.wait_for_end(run, END_SECONDS)["type"] in {"CRASHED", "FAILED"}
    east_up.run_again(run)
    east_up.wait_until(
        lambda: east_up.state(run)["type"] == "COMPLETED", RUN_SECONDS, "the rerun's end"
    )
    after = built_at(east_up, name)
    assert {address: after[address] for address in before} == before
    assert f"{name}/round-01/scores/problems" in after


def test_of_two_runs_at_once_one_waits_for_the_device(
    east_up: Any, small_form: Callable[..., dict[str, Any]]
) -> None:
    runs = [east_up.start("self-training", small_form(name)) for name in ("first", "second")]
    east_up.wait_until(lambda: east_up.processes(SAMPLER), ENGINE_SECONDS, "the first engine")
    most = 0
    while not all(east_up.state(run)["type"] == "COMPLETED" for run in runs):
        engines = {process.ppid() for process in east_up.processes("-m", "east_core", SAMPLER)}
        most = max(most, len(engines))
        assert not any(east_up.state(run)["type"] in {"FAILED", "CRASHED"} for run in runs)
    times = [sorted(built_at(east_up, name).items(), key=lambda item: item[1])
             for name in ("first", "second")]  # fmt: skip
    scored = [[when for address, when in made if "/round-" in address] for made in times]
    assert max(scored[0]) <= min(scored[1]) or max(scored[1]) <= min(scored[0])
    assert most > 0


def test_a_run_whose_process_vanished_does_not_stay_running(
    east_up: Any, small_form: Callable[..., dict[str, Any]]
) -> None:
    """Worker and flow are killed at once: nobody is left to say what happened."""
    run = east_up.start("self-training", small_form("vanished"))
    east_up.wait_until(lambda: east_up.processes(SAMPLER), ENGINE_SECONDS, "the engine")
    victims = [worker(east_up), *east_up.processes("prefect.engine")]
    for process in victims:
        process.kill()
    east_up.wait_until(lambda: not east_up.processes(SAMPLER), 30, "the end of the engines")
    state = east_up.wait_for_end(run, END_SECONDS)
    assert state["type"] == "CRASHED"
    assert "no heartbeat" in state["message"]
