"""A round's report is drawn beside the next round's stages; scripted engines, a real API."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from east_core.errors import DataError
from east_core.reports import round_report
from east_core.store import Store
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.self_training import self_training
from tasks.engines import Engines, use_engines
from tests.flows.test_self_training import InterruptedTrainer, config

pytestmark = pytest.mark.usefixtures("prefect_api")
PATIENCE_SECONDS = 60
publish = round_report.publish


class Telling(ScriptedSampler):
    """Says when the first round's questions are being sampled (the base model scores 20)."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()

    def sample(self, *arguments: Any) -> Any:
        if self.sampled:
            self.has_begun.set()
        yield from super().sample(*arguments)


def replaced(monkeypatch: pytest.MonkeyPatch, act: Callable[[int], None]) -> None:
    """Let every report do something before it is built, given its round."""

    def first_act(run: Any, number: int, round_time: Any) -> Any:
        act(number)
        return publish(run, number, round_time)

    monkeypatch.setattr(round_report, "publish", first_act)


def test_the_next_round_samples_while_a_report_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler, waited = Telling(), []
    replaced(monkeypatch, lambda _: waited.append(sampler.has_begun.wait(PATIENCE_SECONDS)))
    run = config(tmp_path, rounds=1)
    with use_engines(Engines(sampler, InstantTrainer())):
        self_training(run)
    assert waited == [True, True]
    for number in (0, 1):
        assert Store(run.store).record(f"test-run/round-0{number}/report") is not None


def test_a_report_that_fails_ends_the_run_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise DataError("the report of round 1 can't be drawn")

    replaced(monkeypatch, fail)
    with (
        use_engines(Engines(ScriptedSampler(), InstantTrainer())),
        pytest.raises(DataError, match="of round 1 can't be drawn"),
    ):
        self_training(config(tmp_path, rounds=1))


def test_a_report_is_finished_although_the_next_round_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = InterruptedTrainer(round_number=1, failures=1)
    has_failed = threading.Event()
    interrupted = trainer.train

    def train(*arguments: Any) -> Any:
        has_failed.set()
        return interrupted(*arguments)

    monkeypatch.setattr(trainer, "train", train)
    replaced(monkeypatch, lambda _: has_failed.wait(PATIENCE_SECONDS) or None)
    run = config(tmp_path, rounds=1)
    with use_engines(Engines(ScriptedSampler(), trainer)), pytest.raises(KeyboardInterrupt):
        self_training(run)
    assert has_failed.is_set()
    assert Store(run.store).record("test-run/round-00/report") is not None
