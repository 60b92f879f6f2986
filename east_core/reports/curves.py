"""The curves of a run, as figures by name."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from east_core.reports import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure
from east_core.runs.summary import RoundSummary


def curves(
    rounds: Sequence[RoundSummary], losses: Mapping[int, Sequence[float]], title: str
) -> "dict[str, Figure]":
    """The figures of a run by name, those that there is something to draw for."""
    drawn = {"accuracy": figures.accuracy_by_round(rounds, f"{title}: accuracy")}
    if any(summary.kept is not None for summary in rounds):
        drawn["entropy"] = figures.entropy_by_round(rounds, f"{title}: entropy of the answers")
        drawn["kept"] = figures.kept_by_round(rounds, f"{title}: questions kept and dropped")
    if any(summary.diversity is not None for summary in rounds):
        drawn["diversity"] = figures.diversity_by_round(rounds, f"{title}: diversity of samples")
    if losses:
        drawn["loss"] = figures.loss_by_round(losses, f"{title}: training loss")
    return drawn
