"""Settings of what is trained on besides a round's own examples (docs/mixtures.md)."""

from typing import Any

from pydantic import ConfigDict, Field

from east_core.config.base import Frozen, Location


class Replay(Frozen):
    """A share of each round's examples from earlier rounds, or from a data set of solutions."""

    model_config = ConfigDict(title="Replay")

    share: float = Field(
        0.1, gt=0, lt=1, description="Part of the examples of a round that are replayed."
    )
    path: Location | None = Field(
        None,
        min_length=1,
        description="JSONL or Parquet of solutions, with columns question and completion (and id): "
        "file, folder, glob or URL; for loss sft. None: the run's own examples of earlier rounds; "
        "the first round has none.",
    )

    def identity(self, exclude: frozenset[str] = frozenset()) -> dict[str, Any]:  # noqa: ARG002
        """The share, and where examples are from; the content of a data set counts, no path."""
        return {"share": self.share, "of": "rounds" if self.path is None else "solutions"}
