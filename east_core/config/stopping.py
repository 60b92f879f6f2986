"""When a run ends before its last round."""

from pydantic import Field

from east_core.config.base import Frozen


class Stopping(Frozen):
    """End a run where it gets worse, or no better; docs/evaluation.md tells the rule."""

    significance: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        multiple_of=0.001,
        description="How often at most a run in which nothing changes may be ended as having got "
        "worse, over all its rounds, benchmarks and alarms.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="End after so many rounds in a row without a better one than the best so far "
        "(highest mean accuracy over the benchmarks). None: only where it gets worse.",
    )
