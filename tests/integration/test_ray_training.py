"""Training on two Ray nodes, an agent of torchrun on each with an address of its own."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file

from east_core.config import (
    DatasetConfig,
    EvaluationRecipe,
    Resources,
    RunConfig,
    SamplingRecipe,
    SftRecipe,
)
from east_core.engines.trl.messages import TrainingStep
from east_core.engines.trl.training import TrlTrainer
from east_core.errors import ConfigError, EngineError
from east_core.protocols import TrainingJob
from east_core.runs.run import Run
from east_core.testing.small_jobs import RECIPES, small_job
from flows.self_training import self_training
from tests.integration.ray_nodes import ray_nodes
from tests.integration.training_runs import max_difference, on_ranks

TWO_RANKS = {"processes": 2, "micro_batch_size": 2, "group_by_length": True}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_nodes(2, cores=1) as nodes:
        yield nodes


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    return small_job(tmp_path, RECIPES["sft"], examples=21)


def parameters(job: TrainingJob, out: Path, lines: list[str] | None = None) -> dict[str, Any]:
    told: list[str] = [] if lines is None else lines
    TrlTrainer(on_step=lambda _: None, on_log=told.append).train(job, out)
    return load_file(out / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_two_machines_train_what_one_machine_trains(
    cluster: Any, job: TrainingJob, tmp_path: Path, stage: int
) -> None:
    here = on_ranks(job, tmp_path / "here", **TWO_RANKS, zero_stage=stage)
    there = on_ranks(here, tmp_path / "there", nodes=2, ray=cluster.address)
    trained = parameters(there, tmp_path / "out-there")
    assert max_difference(trained, parameters(here, tmp_path / "out-here")) == 0


@pytest.mark.slow
def test_a_killed_agent_ends_training_at_once_and_a_retry_goes_on(
    cluster: Any, job: TrainingJob, tmp_path: Path
) -> None:
    here = on_ranks(job, tmp_path / "here", **TWO_RANKS, zero_stage=2)
    undisturbed = parameters(here, tmp_path / "undisturbed")
    there = on_ranks(
        here, tmp_path / "there", nodes=2, ray=cluster.address, checkpoint_every_steps=1
    )
    killed: list[float] = []

    def kill_the_second_agent(step: TrainingStep) -> None:
        if step.step == 4:
            _agent(tmp_path / "there", "127.0.0.4").kill()
            killed.append(time.monotonic())

    with pytest.raises(
        EngineError, match=r"^machine 127\.0\.0\.4: torchrun was killed by SIGKILL$"
    ):
        TrlTrainer(kill_the_second_agent, lambda _: None).train(there, tmp_path / "out")
    assert time.monotonic() - killed[0] < 60
    assert not [each for each in psutil.process_iter() if _works_in(each, tmp_path / "there")]
    lines: list[str] = []
    trained = parameters(there, tmp_path / "out", lines)
    assert any("training resumes from checkpoint-" in line for line in lines)
    assert max_difference(trained, undisturbed) == 0


@pytest.mark.slow
def test_machines_that_do_not_share_the_disk_are_refused(
    cluster: Any, job: TrainingJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = on_ranks(job, tmp_path / "there", ray=cluster.address)
    elsewhere = replace(there.model, folder=tmp_path / "only-here")
    with pytest.raises(ConfigError, match=r"machine 127.* does not see .*only-here: put EAST_"):
        parameters(replace(there, model=elsewhere), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_round_on_two_machines_is_the_round_of_one(cluster: Any, tmp_path: Path) -> None:
    """The flow itself: base scores, sampling, weighing, ZeRO-2 training over two agents, scores."""

    def contents(name: str, **resources: Any) -> dict[str, str]:
        config = RunConfig(
            name="spread",
            store=str(tmp_path / name),
            rounds=1,
            questions=DatasetConfig(limit=80),
            benchmarks={"problems": DatasetConfig(path="builtin:test.jsonl", limit=40)},
            sampling=SamplingRecipe(samples_per_question=4, max_tokens=96),
            evaluation=EvaluationRecipe(max_tokens=96),
            training=SftRecipe(learning_rate=1e-4, global_batch_size=8),
            resources=Resources(
                device="cpu", processes=2, kv_cache_gib=0.25, shard_questions=20, **resources
            ),
        )
        self_training(config)
        records = Run.open(config).store.records("spread")
        contents = {record.address: record.content for record in records}
        del contents["spread/config"]  # tells the resources too
        return contents

    here = contents("here")
    assert len(here) == 15
    assert contents("there", ray=cluster.address, engines=2, nodes=2) == here


def _works_in(process: psutil.Process, scratch: Path) -> bool:
    try:
        return any(str(scratch) in word for word in process.cmdline())
    except psutil.Error:
        return False


def _agent(scratch: Path, address: str) -> psutil.Process:
    """The torchrun of one machine."""
    (found,) = (
        process
        for process in psutil.process_iter()
        if _works_in(process, scratch)
        and f"--local-addr={address}" in process.cmdline()
        and "east_core.engines.supervise" not in process.cmdline()
    )
    return found
