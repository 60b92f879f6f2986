import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from east_core.evaluation.estimates import Estimate
from east_core.reports import figures
from east_core.runs.summary import RoundSummary

CURVE = {0: Estimate(0.1, 0.08, 0.12, 500), 1: Estimate(0.5, 0.46, 0.54, 500)}


def round_summary(number: int, kept: int | None = None) -> RoundSummary:
    return RoundSummary(
        round=number,
        accuracy={"words $x$": CURVE[min(number, 1)]},
        kept=kept,
        dropped=None,
        mean_entropy_bits=None,
        seconds={},
        drop_reasons={} if kept is None else {"all_wrong": 3},
        entropy_histogram=() if kept is None else (1, 5, 2),
        histogram_bin_bits=0.5,
    )


@pytest.mark.parametrize("count", [1, 2, 40])
def test_figures_are_drawn_for_few_and_many_rounds(count: int) -> None:
    rounds = [round_summary(number, 10 if number else None) for number in range(count)]
    for figure in (
        figures.accuracy_by_round(rounds, "run"),
        figures.entropy_by_round(rounds, "run"),
        figures.kept_by_round(rounds, "run"),
        figures.loss_by_round({number: [2.0, 1.0] for number in range(1, count)}, "run"),
    ):
        assert figures.png(figure).startswith(b"\x89PNG")


def test_the_same_numbers_give_the_same_bytes() -> None:
    pictures = [figures.estimates_by_round({"east": CURVE}, "t") for _ in range(2)]
    assert figures.svg(pictures[0]) == figures.svg(pictures[1])
    assert figures.png(pictures[0]) == figures.png(pictures[1])


def test_intervals_are_drawn_at_their_bounds() -> None:
    figure = figures.estimates_by_exponent(CURVE, CURVE[0], "t")
    container = figure.axes[0].containers[0]
    (segments,) = (bars.get_segments() for bars in container.lines[2])
    assert [tuple(end) for end in segments[1]] == [(1, 0.46), (1, 0.54)]


def test_at_most_six_distributions_are_drawn_first_and_last_among_them() -> None:
    rounds = [round_summary(number, 10) for number in range(1, 31)]
    _, labels = figures.entropy_by_round(rounds, "t").axes[0].get_legend_handles_labels()
    assert len(labels) == 6
    assert (labels[0], labels[-1]) == ("round 1", "round 30")


def test_a_title_with_dollars_is_no_formula() -> None:
    assert figures.svg(figures.estimates_by_round({"$\\frac$": CURVE}, "costs $5 $\\bad$"))


def test_figures_drawn_side_by_side_are_the_same_bytes() -> None:
    def drawn(_: int) -> bytes:
        return figures.svg(figures.estimates_by_round({"a": CURVE}, "run"))

    alone, interval = drawn(0), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(drawn, range(24))) == {alone}
    finally:
        sys.setswitchinterval(interval)
