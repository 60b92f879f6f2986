"""What trackers are told of a round; the trackers themselves are tried in tests/integration."""

import logging
import sys

import pytest
from prefect import flow

from east_core.config import Resources
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tasks.trackers import checkpoint_place, round_numbers, tell_trackers
from tests.east_core.conftest import finish, sums_config


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of one round."""
    run = Run.open(sums_config(tmp_path_factory.mktemp("run"), rounds=1))
    finish(run, ScriptedSampler(), InstantTrainer())
    return run


def test_a_round_is_told_with_intervals_entropy_and_pass_at_n(run: Run) -> None:
    base, first = summarise(run.store, run.name)
    score = first.accuracy["sums"]
    numbers = round_numbers(run, first)
    assert numbers["accuracy/sums"] == score.value
    assert numbers["accuracy_low/sums"] < score.value < numbers["accuracy_high/sums"]
    weights = run.record(run.at.weights(1)).facts
    assert numbers["pass_at_n"] == weights["pass_at_n"]
    assert (numbers["kept"], numbers["mean_entropy_bits"]) == (
        weights["kept"], weights["mean_entropy_bits"],
    )  # fmt: skip
    assert checkpoint_place(run, first) == ("checkpoint-01", run.store.url(run.at.checkpoint(1)))
    assert "kept" not in round_numbers(run, base)  # what is not known is not told as 0
    assert checkpoint_place(run, base) is None


@pytest.mark.usefixtures("prefect_api")
def test_a_tracker_that_fails_costs_a_warning_and_no_run(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where it is not installed
    resources = Resources(trackers=("mlflow",))
    tracked = Run(run.config.model_copy(update={"resources": resources}), run.store)

    @flow
    def telling() -> None:
        tell_trackers(tracked, summarise(run.store, run.name)[1])

    with caplog.at_level(logging.WARNING):
        telling()
    assert "round 1 was not told to mlflow: " in caplog.text
