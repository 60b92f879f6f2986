"""How far a run has come is told from its first seconds on, with the time that is left."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from east_core.engines.processes import repeating
from east_core.engines.vllm.batching import ProgressCounter
from east_core.protocols import GenerationSettings, SamplingProgress
from east_core.reports.text import duration
from tasks.progress import sampling_line

SETTINGS = GenerationSettings(
    samples_per_question=8, temperature=1.0, top_p=1.0, max_tokens=100, system_prompt=None,
    stop=(), seed=1,
)  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Seconds that pass when they are told to."""
    now = [0.0]
    monkeypatch.setattr("east_core.engines.vllm.batching.time.monotonic", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += seconds

    return forward


def test_before_the_first_answer_tokens_are_counted_and_the_time_is_bounded(clock: Any) -> None:
    told: list[SamplingProgress] = []
    counter = ProgressCounter(10, SETTINGS, told.append)
    clock(20)
    counter.generated(0, 1500)
    clock(20)
    counter.generated(1, 2500)
    assert [sampling_line(progress) for progress in told] == [
        "0 of 10 questions, 1,500 tokens, 75 tokens/s, at most 87 s left",
        "0 of 10 questions, 4,000 tokens, 100 tokens/s, at most 40 s left",
    ]
    assert told[-1].share == 0.5  # 4,000 of 8,000 tokens


def test_answers_tell_how_long_the_others_will_be(clock: Any) -> None:
    told: list[SamplingProgress] = []
    counter = ProgressCounter(10, SETTINGS, told.append)
    clock(10)
    counter.generated(0, 1000)
    clock(10)
    counter.count(2, 400)  # 2,000 tokens in all, or 500 for each answer: 1,000 or 4,000 are left
    assert sampling_line(told[-1]) == (
        "2 of 10 questions, 1,000 tokens, 50 tokens/s, about 50 s left"
    )
    counter.count(8, 1600)
    counter.emit()
    assert sampling_line(told[-1]) == "10 of 10 questions, 2,000 tokens, 100 tokens/s"


def stage(side_by_side: int, total: int) -> Iterator[tuple[SamplingProgress, int]]:
    """A stage that makes a token a second of each question it works on: progress, seconds left."""
    lengths = np.random.default_rng(5).lognormal(4.5, 0.6, total).clip(1, 800).astype(int)
    ends = list[int]()
    for length in lengths:
        free = 0 if len(ends) < side_by_side else sorted(ends)[-side_by_side]
        ends.append(free + int(length))
    begins = np.array(ends) - lengths
    for now in range(1, max(ends)):
        made = (now - begins).clip(0, lengths)
        is_done = np.array(ends) <= now
        answered = int(lengths[is_done].sum())
        yield (
            SamplingProgress(int(is_done.sum()), total, int(made.sum()), now, answered, 800),
            int((lengths - made).sum() / (made.sum() / now)),
        )


@pytest.mark.parametrize(("side_by_side", "total", "times"), [(64, 1000, 1.3), (96, 96, 2.2)])
def test_the_time_left_is_about_right_though_short_answers_come_first(
    side_by_side: int, total: int, times: float
) -> None:
    told = [
        (progress.questions, progress.seconds_left, left)
        for progress, left in stage(side_by_side, total)
        if progress.questions
    ]
    assert all(said > 0 for _, said, _ in told), "nothing is left, and questions are open"
    within = [(said, left) for done, said, left in told if 0.2 * total < done < 0.9 * total]
    assert len(within) > 50
    assert all(left / times < said < left * times for said, left in within)


def test_what_takes_long_to_start_gives_signs_of_life_until_it_has() -> None:
    told: list[float] = []
    with repeating(told.append, every=0.01) as has_started:
        while len(told) < 3:
            time.sleep(0.005)
        has_started.set()
        time.sleep(0.05)
        heard = len(told)
        time.sleep(0.05)
    assert len(told) == heard
    assert told == sorted(told)


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "5 s"), (125, "2 min"), (7200, "2 h 0 min"), (12000, "3 h 20 min")]
)
def test_durations_read_as_people_say_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told
