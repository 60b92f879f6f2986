"""The figures of runs and studies, as matplotlib figures; `png` and `svg` make bytes of them.

The same numbers give the same bytes: no dates, no random ids.
"""

import io
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from east_core.evaluation.estimates import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from east_core.runs.summary import RoundSummary

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
DROP_COLOURS = {
    "all_wrong": "#D55E00",
    "unanimous": "#999999",
    "no_majority": "#E69F00",
    "filtered": "#56B4E9",
}
MOST_DISTRIBUTIONS = 6
Curve = Mapping[int, Estimate] | Mapping[float, Estimate]
# matplotlib's settings belong to the process, and pages are drawn by several threads.
_DRAWING = threading.Lock()


def png(figure: "Figure") -> bytes:
    """The figure as a PNG image."""
    return _saved(figure, "png", {"Software": None})


def svg(figure: "Figure") -> bytes:
    """The figure as an SVG image; its letters are shapes, so it needs no fonts."""
    return _saved(figure, "svg", {"Date": None, "Creator": None})


def _saved(figure: "Figure", kind: str, metadata: dict[str, None]) -> bytes:
    import matplotlib

    image = io.BytesIO()
    with (
        _DRAWING,
        matplotlib.rc_context({"svg.hashsalt": "east", "svg.fonttype": "path"}),
    ):
        figure.savefig(image, format=kind, metadata=metadata)
    return image.getvalue()


def accuracy_by_round(rounds: Sequence["RoundSummary"], title: str) -> "Figure":
    """Accuracy against round with its intervals, one line a benchmark (EAST, Figure 4)."""
    names = sorted({name for summary in rounds for name in summary.accuracy})
    curves = {
        name: {s.round: s.accuracy[name] for s in rounds if name in s.accuracy} for name in names
    }
    return estimates_by_round(curves, title)


def estimates_by_round(curves: Mapping[str, Curve], title: str) -> "Figure":
    """Accuracies against round with their intervals, one labelled line each."""
    figure, axes = _figure(title, "round (0: base model)", "accuracy")
    for index, (label, curve) in enumerate(curves.items()):
        spread = 0.06 * (index - (len(curves) - 1) / 2)  # intervals stand beside each other
        _draw_curve(axes, curve, label, index, spread, is_alone=len(curves) == 1)
    _whole_numbers(axes)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(loc="best", frameon=False)
    return figure


def estimates_by_exponent(curve: Curve, baseline: Estimate | None, title: str) -> "Figure":
    """Accuracy against the exponent a, the baseline's interval as a band (EAST, Figure 3)."""
    figure, axes = _figure(title, "exponent a (0: all weights 1)", "accuracy")
    _draw_curve(axes, curve, "weight ∝ Hᵃ", 0, 0.0, is_alone=True)
    if baseline is not None:
        axes.axhspan(baseline.low, baseline.high, color="#999999", alpha=0.25, lw=0)
        axes.axhline(baseline.value, color="#666666", ls="--", lw=1, label="baseline")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(loc="best", frameon=False)
    return figure


def diversity_by_round(rounds: Sequence["RoundSummary"], title: str) -> "Figure":
    """What greedy accuracy hides: how varied the samples of the training questions are."""
    figure, axes = _figure(title, "round (its samples: the checkpoint before)", "share")
    sampled = [(each.round, each.diversity) for each in rounds if each.diversity is not None]
    lines = {
        "pass@n": [each.pass_at_n for _, each in sampled],
        "maj@n": [each.majority_at_n for _, each in sampled],
        "completions right": [each.accuracy for _, each in sampled],
        "right solutions that differ": [each.distinct_solutions_share for _, each in sampled],
    }
    for index, (label, shares) in enumerate(lines.items()):
        numbers = [number for number, _ in sampled]
        axes.plot(numbers, shares, marker=MARKERS[index], color=COLOURS[index], label=label)
    _whole_numbers(axes)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylim(0, 1.02)
    _legend(axes, ncols=2)
    return figure


def entropy_by_round(rounds: Sequence["RoundSummary"], title: str) -> "Figure":
    """How the entropy of the sampled answers is distributed over the questions, round by round."""
    figure, axes = _figure(title, "entropy of a question's answers (bits)", "share of questions")
    sampled = _spread([summary for summary in rounds if summary.entropy_histogram])
    for index, summary in enumerate(sampled):
        counts, width = summary.entropy_histogram, summary.histogram_bin_bits or 1.0
        shares = [count / sum(counts) for count in counts]
        edges = [width * edge for edge in range(len(counts) + 1)]
        colour = _shade(index, len(sampled))
        axes.stairs(shares, edges, label=f"round {summary.round}", color=colour, lw=2)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.08)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlim(left=0)
    _legend(axes)
    return figure


def kept_by_round(rounds: Sequence["RoundSummary"], title: str) -> "Figure":
    """How many questions each round keeps, and why it drops the others."""
    figure, axes = _figure(title, "round", "questions")
    weighed = [summary for summary in rounds if summary.kept is not None]
    numbers = [summary.round for summary in weighed]
    heights = [summary.kept or 0 for summary in weighed]
    bars = axes.bar(numbers, heights, 0.6, label="kept", color=COLOURS[0])
    if len(weighed) <= MOST_DISTRIBUTIONS:
        axes.bar_label(bars, label_type="center", color="white")
    for reason, colour in DROP_COLOURS.items():
        dropped = [summary.drop_reasons.get(reason, 0) for summary in weighed]
        if any(dropped):
            label = f"dropped: {reason.replace('_', ' ')}"
            axes.bar(numbers, dropped, 0.6, bottom=heights, label=label, color=colour)
        heights = [low + high for low, high in zip(heights, dropped, strict=True)]
    _whole_numbers(axes)
    axes.set_ylim(top=1.25 * max(heights, default=1))
    _legend(axes, ncols=2)
    return figure


def loss_by_round(losses: Mapping[int, Sequence[float]], title: str) -> "Figure":
    """The weighted training loss of every optimizer step, the rounds one after another."""
    figure, axes = _figure(title, "round (each spans its optimizer steps)", "training loss")
    for number, values in losses.items():
        steps = [number - 1 + (index + 1) / len(values) for index in range(len(values))]
        axes.plot(steps, values, color=COLOURS[number % 2], lw=1.2)
        axes.axvline(number, color="#999999", lw=0.8, ls=":")
    _whole_numbers(axes)
    return figure


def loss_by_step(points: Sequence[tuple[int, float]], steps: int, title: str) -> "Figure":
    """The training loss of a round that is being trained, against its optimizer steps."""
    figure, axes = _figure(f"{title}: training loss, live", "optimizer step", "training loss")
    axes.plot(*zip(*points, strict=True), color=COLOURS[0], lw=1.2)
    axes.set_xlim(0, max(steps, points[-1][0]))
    _whole_numbers(axes)
    return figure


def weight_histograms(kept: Sequence[tuple[float, float]], title: str) -> "Figure":
    """Weights and entropies (bits) of a round's kept questions, given as pairs, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    figure.suptitle(_plain(title), x=0.01, ha="left")
    mean = sum(weight for weight, _ in kept) / max(1, len(kept))
    panels = (f"training weight (mean {mean:.3g})", "entropy of the answers (bits)")
    for index, (axes, label) in enumerate(zip(figure.subplots(1, 2), panels, strict=True)):
        axes.hist([pair[index] for pair in kept], bins=30, color=COLOURS[index])
        axes.set(xlabel=label, ylabel="questions")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _figure(title: str, xlabel: str, ylabel: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_plain(title), loc="left")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plain(text: str) -> str:
    """A name as it is: a dollar sign in it begins no formula."""
    return text.replace("$", r"\$")


def _draw_curve(
    axes: "Axes", curve: Curve, label: str, index: int, shift: float, is_alone: bool
) -> None:
    x = [number + shift for number in curve]
    y = [estimate.value for estimate in curve.values()]
    below = [estimate.value - estimate.low for estimate in curve.values()]
    above = [estimate.high - estimate.value for estimate in curve.values()]
    colour = COLOURS[index % len(COLOURS)]
    marker = MARKERS[index % len(MARKERS)]
    axes.errorbar(
        x, y, yerr=(below, above), marker=marker, capsize=4, color=colour, label=_plain(label)
    )
    if not is_alone:  # the numbers of several curves would cover one another
        return
    for end in sorted({0, len(x) - 1}) if x else ():
        axes.annotate(
            f"{y[end]:.1%}",
            (x[end], y[end]),
            xytext=(8, 6 if end else -14),
            textcoords="offset points",
            color=colour,
        )


def _spread(summaries: Sequence["RoundSummary"]) -> list["RoundSummary"]:
    """At most MOST_DISTRIBUTIONS rounds, evenly spread, the first and the last among them."""
    last = len(summaries) - 1
    if last < MOST_DISTRIBUTIONS:
        return list(summaries)
    chosen = {round(last * i / (MOST_DISTRIBUTIONS - 1)) for i in range(MOST_DISTRIBUTIONS)}
    return [summaries[index] for index in sorted(chosen)]


def _shade(index: int, count: int) -> Any:
    """From dark (early) to light (late)."""
    import matplotlib

    return matplotlib.colormaps["viridis"](0.85 * index / max(1, count - 1))


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _legend(axes: "Axes", ncols: int = 1) -> None:
    """A legend, where there is something to tell apart."""
    handles: Iterable[Any] = axes.get_legend_handles_labels()[0]
    if handles:
        axes.legend(loc="best", frameon=False, ncols=ncols)
