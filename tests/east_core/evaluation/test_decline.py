"""Whether a share fell: exact, one-sided, and seldom where nothing changed."""

import numpy as np
import pytest

from east_core.evaluation.decline import comparisons, decline
from east_core.evaluation.estimates import paired_difference


def by_id(outcomes: list[bool]) -> dict[str, bool]:
    return {f"q{index}": outcome for index, outcome in enumerate(outcomes)}


def test_it_is_mcnemars_exact_test_one_sided() -> None:
    before, now = by_id([True] * 9 + [False] * 3), by_id([False] * 8 + [True] * 2 + [False] * 2)
    fell = decline(before, now)
    assert (fell.before, fell.now, fell.questions) == (9 / 12, 2 / 12, 12)
    two_sided = paired_difference(list(before.values()), list(now.values())).p_value
    assert fell.p_value == pytest.approx(two_sided / 2)


def test_a_rise_and_no_change_are_no_decline() -> None:
    assert decline(by_id([False] * 30), by_id([True] * 30)).p_value == 1.0
    assert decline(by_id([True] * 30), by_id([True] * 30)).p_value == 1.0
    assert decline({"a": True}, {"b": False}).p_value == 1.0


def test_only_questions_of_both_sides_count() -> None:
    fell = decline({"a": True, "b": True}, {"a": False, "c": False})
    assert (fell.before, fell.now, fell.questions) == (1.0, 0.0, 1)


@pytest.mark.parametrize("rounds", [3, 10])
def test_runs_without_a_change_are_seldom_ended(rounds: int) -> None:
    """100 runs whose checkpoints are all alike, on 2 benchmarks, held against the best round."""
    rng = np.random.default_rng(rounds)
    stopped = sum(_ends(rng, rounds) for _ in range(100))
    assert stopped <= 5


def _ends(rng: np.random.Generator, rounds: int) -> bool:
    """Whether a run is ended whose questions are answered anew each round with the same chance."""
    level = 0.05 / comparisons(rounds, checks=5)
    chances = rng.beta(0.7, 0.7, size=(2, 200))
    answers = rng.random((rounds + 1, 2, 200)) < chances
    return any(
        _fell(answers[:, benchmark], number) <= level
        for number in range(1, rounds + 1)
        for benchmark in range(2)
    )


def _fell(answers: np.ndarray, number: int) -> float:
    best = int(answers[:number].mean(axis=1).argmax())
    return decline(by_id(list(answers[best])), by_id(list(answers[number]))).p_value
