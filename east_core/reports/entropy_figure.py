"""Figure 5 of the paper: every question at (entropy, 1 - accuracy), coloured by rejected share.

EAST, arXiv:2503.23913, Figure 5. matplotlib is imported only where a figure is drawn.
"""

from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from east_core.weighting.weighed import WeighedQuestion

_Columns: TypeAlias = "list[array[float]]"


def draw_entropy_figure(
    questions: Iterable[WeighedQuestion], path: Path, title: str = "", dots_per_inch: int = 150
) -> int:
    """Draw the questions of a round as a PNG at `path` and return their number.

    Dropped questions are drawn too, as hollow points. The questions may be a stream: 24 bytes
    each stay in memory. Colours are those of R, the share of the most common wrong answer.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kept, dropped = _points(questions)
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(dropped[0], dropped[1], s=10, facecolors="none", edgecolors="0.75", lw=0.5)
    marks = axes.scatter(kept[0], kept[1], c=kept[2], s=10, cmap="viridis", vmin=0, vmax=1)
    figure.colorbar(marks, ax=axes, label="share of the most common wrong answer, R")
    axes.set(xlabel="entropy H (bits)", ylabel="error rate, 1 - A", ylim=(-0.02, 1.02), title=title)
    figure.savefig(path, format="png", dpi=dots_per_inch)
    return len(kept[0]) + len(dropped[0])


def _points(questions: Iterable[WeighedQuestion]) -> tuple[_Columns, _Columns]:
    """H, 1 - A and R of the kept and of the dropped questions."""
    kept, dropped = ([array("d") for _ in range(3)] for _ in range(2))
    for question in questions:
        columns = kept if question.kept else dropped
        values = (question.entropy_bits, 1 - question.accuracy, question.rejected_share)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return kept, dropped
