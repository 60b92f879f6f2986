"""A run has one page in Prefect, which tells what happens now; scripted engines, a real API."""

import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from east_core.engines.trl.messages import TrainingStep
from east_core.errors import EngineError
from east_core.protocols import TrainingJob, TrainingResult
from east_core.runs.live import MOST_POINTS, read_live, thinned
from east_core.store import Store
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.self_training import self_training
from tasks import progress, stages
from tasks.engines import Engines, use_engines
from tests.flows.test_self_training import config

pytestmark = pytest.mark.usefixtures("prefect_api")


def artifacts(run: str) -> dict[str, list[Any]]:
    """All artifacts of a run by key."""
    found: dict[str, list[Any]] = {}
    with get_client(sync_client=True) as client:
        for each in client.read_artifacts():
            if each.key and each.key.startswith(run):
                found.setdefault(each.key, []).append(each)
    return found


class TellingTrainer(InstantTrainer):
    """Tells of three steps, and looks at the run's page and live file after the last one."""

    def __init__(self, store: str, run: str) -> None:
        self.store, self.run, self.pages, self.live = store, run, [], []

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        for step in (1, 2, 3):
            progress.show_training(TrainingStep(step, 4, 2.0 / step, 2.0, 1, 0, 1e-5, 1, 100))
        self.pages.append(self.page_with_round(len(self.pages)))
        self.live.append(read_live(Store(self.store), self.run))
        return super().train(job, out)

    def page_with_round(self, number: int) -> str:
        """The run's page as soon as a round's report, drawn beside this stage, is on it."""
        for _ in range(600):
            [page] = artifacts(self.run)[self.run]
            if f"\n| {number} | sums " in page.data:
                break
            time.sleep(0.1)
        return str(page.data)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is renewed with every step."""
    monkeypatch.setattr(progress, "_pages", progress._Throttle(0.0))


@pytest.mark.usefixtures("at_once")
def test_a_run_has_one_page_that_tells_the_loss_while_it_trains(tmp_path: Path) -> None:
    run = config(tmp_path, name="one-page")
    trainer = TellingTrainer(run.store, run.name)
    with use_engines(Engines(ScriptedSampler(), trainer)):
        self_training(run)
    first, second = trainer.pages
    assert "**Round 1 of 2: train**" in first
    assert " 75%`" in first
    assert "![training loss](data:image/png;base64," in first
    assert "**Round 2 of 2: train**" in second
    assert second.count("\n| 1 | sums ") == 1  # what round 1 has shown stays while round 2 trains
    assert [live.losses for live in trainer.live] == [[(1, 2.0), (2, 1.0), (3, 2.0 / 3)]] * 2
    assert read_live(Store(run.store), run.name) is None  # it is trained by now

    found = artifacts(run.name)
    [page] = found[run.name]
    assert "Finished: round 2 of 2." in page.data
    assert [f"\n| {number} | sums " in page.data for number in (0, 1, 2, 3)] == [True] * 3 + [False]
    assert page.description.startswith("one-page, round 2 of 2: sums ")
    behind = {each.flow_run_id for key in found for each in found[key] if key != run.name}
    assert page.flow_run_id not in behind  # the rounds' cards lie with the rounds


def test_a_run_that_stops_says_on_its_page_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crashing(InstantTrainer):
        def train(self, job: TrainingJob, out: Path) -> TrainingResult:
            raise EngineError("rank 1 died <b>")

    run = config(tmp_path, name="stopped-page")
    monkeypatch.setattr(stages.train, "retries", 0)
    with use_engines(Engines(ScriptedSampler(), Crashing())), pytest.raises(EngineError):
        self_training(run)
    [page] = artifacts(run.name)[run.name]
    assert "**Stopped**: rank 1 died &lt;b&gt;" in page.data


def test_a_long_loss_curve_is_thinned_to_what_can_be_seen() -> None:
    points = [(step, 1.0 / step) for step in range(1, 10_000)]
    few = thinned(points)
    assert len(few) == MOST_POINTS
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert thinned(points[:7]) == points[:7]


def test_a_live_file_that_is_no_such_thing_tells_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (tmp_path / "odd").mkdir()
    for raw in (b"", b"[]", b"{}", b'{"losses": [[1]]}', b"\xff"):
        store.write("odd/live.json", raw)
        assert read_live(store, "odd") is None
