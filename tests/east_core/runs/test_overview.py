"""The list of a store's runs: what is a run, and how far it is to go."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from east_core.config import RunConfig
from east_core.reports.html import render
from east_core.runs import start
from east_core.runs.overview import list_runs
from east_core.runs.retention import plan_prune
from east_core.runs.run import Run
from east_core.store import Stage, Store, materialize
from east_core.studies.promotion import Entry, record_entry
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish


def extended(run: Run, rounds: int) -> Run:
    """The run as its config asks for it after an edit of `rounds`."""
    return Run(run.config.model_copy(update={"rounds": rounds}), run.store)


def told(run: Run) -> tuple[str, int, int | None]:
    [overview] = list_runs(run.store)
    return overview.state.split()[0], overview.rounds, overview.rounds_asked


def test_an_extended_run_is_unfinished_until_its_last_round(
    finished_run: Callable[[int], Run],
) -> None:
    run = finished_run(1)
    assert told(run) == ("finished", 1, 1)
    longer = extended(run, 3)
    start.claim(longer)
    assert told(run) == ("unfinished", 1, 3)
    assert "1 of 3 rounds" in render(run.store, run.name)
    finish(longer, ScriptedSampler(), InstantTrainer())
    assert told(run) == ("finished", 3, 3)
    assert "3 of 3 rounds" in render(run.store, run.name)


def test_a_run_started_again_for_fewer_rounds_is_still_for_all_of_them(
    finished_run: Callable[[int], Run],
) -> None:
    run = finished_run(1)
    for rounds in (3, 2, 1, 3):
        start.claim(extended(run, rounds))
        assert told(run) == ("unfinished", 1, 3)
    assert run.record(run.at.extension(3)).facts == {"rounds": 3}
    assert len(list(run.store.records("sums/rounds"))) == 1


def test_a_run_extended_before_extensions_were_noted_has_the_rounds_that_it_has(
    finished_run: Callable[[int], Run],
) -> None:
    run = finished_run(1)
    finish(extended(run, 2), ScriptedSampler(), InstantTrainer())
    shutil.rmtree(Path(run.store.root) / "sums/rounds")
    assert told(run) == ("finished", 2, 2)
    shutil.rmtree(Path(run.store.root) / "sums/round-02/scores")
    assert told(run) == ("unfinished", 2, 2)


def test_a_claim_alone_changes_nothing_in_a_run_with_its_rounds(
    finished_run: Callable[[int], Run],
) -> None:
    run = finished_run(1)
    before = run.store.addresses()
    start.claim(run)
    assert run.store.addresses() == before


@pytest.fixture
def neighbours(finished_run: Callable[[int], Run], tmp_path: Path) -> Run:
    """A run beside what is none: a retraining line, the arrivals of its next run, a study."""
    run = finished_run(2)
    champion = run.at.checkpoint(1)
    record_entry(run.store, "line", Entry(1, "promoted", champion, "sums", "better", {}))
    for address in ("line-0002/arrivals", "comparison/abc"):
        materialize(run.store, Stage(address, "other"), lambda _: None)
    shutil.copytree(Path(run.store.root) / "sums", Path(run.store.root) / "study/sums")
    return run


def test_only_runs_are_listed(neighbours: Run) -> None:
    assert [run.name for run in list_runs(neighbours.store)] == ["sums"]
    inside = list_runs(Store(f"{neighbours.store.root}/study"))
    assert [run.name for run in inside] == ["sums"]


def test_a_run_beside_a_study_can_be_pruned(neighbours: Run) -> None:
    reasons = [step.reason for step in plan_prune(neighbours.store, "sums", "last:1")]
    assert reasons == ["line/history/0001 was made from it", "last"]


def test_a_claimed_run_without_a_stage_is_listed(tmp_path: Path) -> None:
    run = Run.open(RunConfig(name="new", store=str(tmp_path)))
    start.claim(run)
    [overview] = list_runs(run.store)
    assert (overview.state, overview.rounds_asked) == ("unfinished after new/config", 3)
