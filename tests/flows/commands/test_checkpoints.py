"""`east average` and `east evaluate` through the front door, with scripted engines."""

import datetime
import shlex
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from east_core.config import RunConfig
from east_core.protocols import TrainingJob, TrainingResult
from east_core.runs import prompts, start
from east_core.runs.addresses import RunAddresses
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.store import Stage, Store, materialize
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.evaluate import EvaluationForm, evaluate, like_a_round
from flows.self_training import self_training
from tasks.engines import Engines, use_engines
from tests.flows.test_self_training import config

pytestmark = pytest.mark.usefixtures("prefect_api")
WEIGHTS = "model.safetensors"
AVERAGE = "test-run/averages/0x0.5-1x0.5"


class AddingTrainer(InstantTrainer):
    """Adds 1 to every weight."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        result = super().train(job, out)
        save_file({n: t + 1 for n, t in load_file(out / WEIGHTS).items()}, out / WEIGHTS)
        return result


@pytest.fixture
def engines() -> Iterator[None]:
    with use_engines(Engines(ScriptedSampler(), AddingTrainer())):
        yield


@pytest.fixture
def run(tmp_path: Path, engines: None) -> RunConfig:
    import numpy as np

    run = config(tmp_path, rounds=1)
    save_file({"w": np.arange(5, dtype=np.float32)}, tmp_path / "model" / WEIGHTS)
    self_training(run)
    return run


def test_an_average_is_made_and_scored_like_a_round(run: RunConfig, east: Any) -> None:
    url = f"{run.store}/test-run"
    made = east("average", url, "--rounds", "0,1", "--weights", "0.5,0.5")
    assert made.returncode == 0, made.stderr
    assert "1 tensors, 5 parameters" in made.stdout
    store = Store(run.store)
    averaged = load_file(store.fetch(store.require(AVERAGE)) / WEIGHTS)["w"]
    assert averaged.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    (line,) = [line for line in made.stdout.splitlines() if line.startswith("score it")]

    command = shlex.split(line)[2:]
    scored = east(*command[1:])
    assert scored.returncode == 0, scored.stderr
    (again,) = summarise(store, "test-run-averages-0x0-5-1x0-5")
    # the scripted model's skill is in a file, which an average has from its last round
    assert again.accuracy == summarise(store, "test-run")[1].accuracy
    (scores,) = store.records(RunAddresses("test-run-averages-0x0-5-1x0-5").scores(0, "sums"))
    theirs = store.require(RunAddresses("test-run").scores(1, "sums"))
    assert scores.recipe == theirs.recipe

    form = EvaluationForm(
        name="by-form", store=run.store, checkpoint=f"run:{AVERAGE}",
        benchmarks={"sums": run.benchmarks["sums"]},
    )  # fmt: skip
    evaluate(form)
    assert summarise(store, "by-form")[0].accuracy == again.accuracy
    assert east("verify", url).returncode == 0
    assert f"round 0: {RunAddresses('test-run').checkpoint(0)}" in east(
        "lineage", f"{run.store}/{AVERAGE}"
    ).stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rounds", "0,two", "--weights", "0.5,0.5"), "--rounds '0,two': give numbers"),
        (("--rounds", "0,1", "--weights", "half"), "--weights 'half': give numbers"),
        (("--rounds", "0,1", "--weights", "0.5"), "2 rounds and 1 weights"),
        (("--rounds", "0,9", "--weights", "0.5,0.5"), "there is no run at"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, east: Any, arguments: tuple[str, ...], says: str
) -> None:
    done = east("average", tmp_path / "store/test-run", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_prompts_are_those_of_the_rounds_on_another_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(config(tmp_path))
    (tmp_path / "model/chat_template.jinja").write_text("{{ strftime_now('%d %b') }}{{ messages }}")
    monkeypatch.setattr(prompts, "today", lambda: datetime.date(2026, 11, 25))
    start.claim(run)
    prompts.pin_date(run)

    def build(folder: Path) -> None:
        copytree(tmp_path / "model", folder, dirs_exist_ok=True)

    materialize(run.store, Stage(run.at.checkpoint(1), "checkpoint"), build)

    monkeypatch.setattr(prompts, "today", lambda: datetime.date(2026, 11, 26))
    again = Run.open(like_a_round(run.store, run.at.checkpoint(1), "again"))
    start.claim(again)
    prompts.pin_date(again)
    assert prompts.prompt_format(again) == prompts.prompt_format(run)


def test_only_checkpoints_are_scored(run: RunConfig, east: Any) -> None:
    for part in ("test-run/questions", "test-run/base-model"):
        done = east("evaluate", f"{run.store}/{part}")
        assert done.returncode == 2
        assert "is no checkpoint of a run" in done.stderr
