"""The list of runs, and pruning that never breaks a resume or a lineage."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from east_core.errors import ConfigError, StoreError
from east_core.runs.overview import list_runs
from east_core.runs.retention import plan_prune, prune
from east_core.runs.run import Run
from east_core.store import Stage, materialize
from east_core.store.lineage import trace
from east_core.store.verification import verify
from east_core.studies.promotion import Entry, record_entry
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish


@pytest.fixture
def run(finished_run: Callable[[int], Run]) -> Run:
    return finished_run(3)


def stays(run: Run, keep: str) -> dict[int, str | None]:
    steps = plan_prune(run.store, "sums", keep)
    return {int(step.address[11:13]): step.reason for step in steps}


def test_runs_are_listed_with_state_rounds_and_accuracy(run: Run) -> None:
    [overview] = list_runs(run.store)
    assert (overview.name, overview.state) == ("sums", "finished")
    assert (overview.rounds, overview.rounds_asked) == (3, 3)
    assert overview.accuracy == {
        "sums": run.record(run.at.scores(3, "sums")).facts["accuracy"]["value"]
    }
    shutil.rmtree(Path(run.store.root) / "sums/round-03")
    [overview] = list_runs(run.store)
    assert overview.state.startswith("unfinished after sums/")
    assert overview.rounds == 2


def test_an_empty_store_has_no_runs(run: Run, tmp_path: Path) -> None:
    from east_core.store import Store

    assert list_runs(Store(str(tmp_path / "empty"))) == []


def test_policies_keep_what_they_say(run: Run) -> None:
    assert stays(run, "all") == {1: "policy all", 2: "policy all", 3: "last"}
    assert stays(run, "last:1") == {1: None, 2: None, 3: "last"}
    assert stays(run, "last:2") == {1: None, 2: "policy last:2", 3: "last"}
    accuracy = [run.record(run.at.scores(n, "sums")).facts["accuracy"]["value"]
                for n in (1, 2, 3)]  # fmt: skip
    best = accuracy.index(max(accuracy)) + 1
    assert stays(run, "best-and-last")[best] is not None
    for wrong in ("last:0", "last", "some"):
        with pytest.raises(ConfigError, match="is unknown"):
            plan_prune(run.store, "sums", wrong)
    with pytest.raises(StoreError, match="there is no run"):
        plan_prune(run.store, "other", "all")


def test_what_is_not_scored_or_is_used_elsewhere_stays(run: Run) -> None:
    shutil.rmtree(Path(run.store.root) / "sums/round-02/scores")
    materialize(
        run.store,
        Stage(
            "promoted/best",
            "promotion",
            inputs={"checkpoint": run.record(run.at.checkpoint(1))},
        ),
        lambda _: None,
    )
    assert stays(run, "last:1") == {
        1: "promoted/best was made from it",
        2: "not scored yet",
        3: "last",
    }


def test_a_champion_stays(run: Run) -> None:
    """A promotion names its champion in its facts, and has no inputs."""
    champion = "sums/round-01/checkpoint"
    record_entry(run.store, "line", Entry(1, "promoted", champion, "sums", "better", {}))
    assert stays(run, "last:1") == {1: "line/history/0001 was made from it", 2: None, 3: "last"}


def test_pruning_keeps_records_lineage_and_resume(run: Run) -> None:
    steps = plan_prune(run.store, "sums", "last:1")
    before = run.record(run.at.checkpoint(1))
    freed = prune(run.store, steps)
    assert freed == sum(step.size for step in steps if step.reason is None) > 0
    assert run.record(run.at.checkpoint(1)) == before
    with pytest.raises(StoreError, match="were pruned and only the record is left"):
        run.store.fetch(before)
    run.store.fetch(run.record(run.at.checkpoint(3)))
    assert verify(run.store, "sums").findings == ()
    links = trace(run.store, "sums/round-03/checkpoint").links
    assert all(link.state == "sound" for group in links.values() for link in group)
    assert list(stays(run, "last:1")) == [3], "what is pruned is not listed again"

    class Untouched(InstantTrainer):
        def train(self, *_: object) -> None:  # type: ignore[override]
            raise AssertionError("a resumed run trains nothing again")

    finish(run, ScriptedSampler(), Untouched())


def test_a_killed_prune_is_finished_by_the_next(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.store.place, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(run.store, plan_prune(run.store, "sums", "last:1"))
    assert verify(run.store, "sums").is_sound
    assert prune(run.store, plan_prune(run.store, "sums", "last:1")) > 0
    assert list(stays(run, "last:1")) == [3]
