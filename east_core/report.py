"""What a run has reached so far, read from its records: a table of rounds, and the curve."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from east_core.artifacts import ArtifactRecord, Store
from east_core.errors import DataError
from east_core.evaluation import Estimate


@dataclass(frozen=True)
class RoundSummary:
    """One round's numbers; round 0 is the base model, which is only scored.

    `seconds` is the building time of each stage; None stands for what is not there (yet).
    """

    round: int
    accuracy: Mapping[str, Estimate]
    kept: int | None
    dropped: int | None
    mean_entropy_bits: float | None
    seconds: Mapping[str, float]


def summarise(store: Store, run_name: str) -> list[RoundSummary]:
    """The rounds of a run, in order.

    Raises DataError where there is no such run.
    """
    by_round: dict[int, list[tuple[list[str], ArtifactRecord]]] = {}
    for record in store.records(run_name):
        folder, *parts = record.address.removeprefix(f"{run_name}/").split("/")
        if folder.startswith("round-"):
            by_round.setdefault(int(folder.removeprefix("round-")), []).append((parts, record))
    if not by_round:
        raise DataError(f"no run {run_name!r} with a finished stage in {store.root}")
    return [_summary(number, by_round[number]) for number in sorted(by_round)]


def summary_json(rounds: Sequence[RoundSummary]) -> dict[str, Any]:
    """The rounds for programs: the shape that `east show --json` prints."""
    return {"rounds": [asdict(summary) for summary in rounds]}


def _summary(number: int, records: Iterable[tuple[list[str], ArtifactRecord]]) -> RoundSummary:
    accuracy: dict[str, Estimate] = {}
    seconds: dict[str, float] = {}
    weights: Mapping[str, Any] = {}
    for parts, record in records:
        seconds[parts[0]] = round(seconds.get(parts[0], 0.0) + record.seconds, 3)
        if parts[0] == "scores":
            values: Mapping[str, Any] = record.facts["accuracy"]  # type: ignore[assignment]
            accuracy[parts[1]] = Estimate(**values)
        if parts[0] == "weights":
            weights = record.facts
    return RoundSummary(
        round=number,
        accuracy=dict(sorted(accuracy.items())),
        kept=weights.get("kept"),
        dropped=sum(weights["dropped"].values()) if weights else None,
        mean_entropy_bits=weights.get("mean_entropy_bits"),
        seconds=seconds,
    )


def curve_png(rounds: Sequence[RoundSummary], title: str) -> bytes:
    """Accuracy against round with its intervals, one line a benchmark, as a PNG image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for benchmark in sorted({name for summary in rounds for name in summary.accuracy}):
        _draw(axes, rounds, benchmark)
    axes.set(xlabel="round (0: base model)", ylabel="greedy accuracy", title=title, ylim=(0, 1))
    axes.set_xticks([summary.round for summary in rounds])
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _draw(axes: Any, rounds: Sequence[RoundSummary], benchmark: str) -> None:
    points = [(s.round, s.accuracy[benchmark]) for s in rounds if benchmark in s.accuracy]
    x = [number for number, _ in points]
    y = [accuracy.value for _, accuracy in points]
    below = [accuracy.value - accuracy.low for _, accuracy in points]
    above = [accuracy.high - accuracy.value for _, accuracy in points]
    axes.errorbar(x, y, yerr=(below, above), marker="o", capsize=4, label=benchmark)
    for number, accuracy in points:
        axes.annotate(
            f"{accuracy.value:.1%}",
            (number, accuracy.value),
            textcoords="offset points",
            xytext=(8, 6),
        )
