"""Settings of what becomes of a trained checkpoint before it is scored and sampled from."""

from typing import Literal

from pydantic import ConfigDict, Field

from east_core.config.base import Frozen


class Averaging(Frozen):
    """Each round's checkpoint is the average of what was trained and an earlier one (WiSE-FT).

    arXiv:2504.10478 finds that this gives reasoning models back the pass@k that training takes.
    """

    model_config = ConfigDict(title="Averaging")

    earlier: Literal["base", "previous"] = Field(
        "base",
        description="What the trained model is averaged with: the base model, or the checkpoint "
        "that the round sampled from.",
    )
    weight: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Weight of the earlier model's parameters; the trained ones have the rest.",
    )
