"""The paper's released code as it was, for comparison only: weights whose mean is not 1.

That code divides H^a by a number passed by hand (6.8), where the data of a third party's run has
the mean 2.78: the mean weight is then 0.41, which is a lower learning rate. And its SFT multiplies
the mean loss of a micro-batch of two by the mean weight of the two, so each example gets its
neighbour's weight by half. Whether a gain is the weighting's or the learning rate's is told by

    uniform_as_released less uniform               the rate alone, with the same weight for all
    entropy_as_released less uniform_as_released   the released weighting at that rate
    entropy less uniform                           the weighting alone, at the rate that was set

Adam takes no notice of a constant factor of the loss but where gradients are clipped.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from east_core.weighting.base import PowerWeighting, QuestionStatistics


class AsReleased(PowerWeighting):
    """What both have in common: a normaliser by hand, and nothing that asks for a mean of 1."""

    has_mean_one: ClassVar[bool] = False

    normalizer: float = Field(
        6.8,
        gt=0,
        description="What H^a (in bits) is divided by, whatever its mean is; 6.8 in the released "
        "scripts.",
    )

    @model_validator(mode="after")
    def _needs_no_mean(self) -> Self:
        if self.max_weight is not None or self.normalize != "all":
            raise ValueError(
                "max_weight and normalize keep a mean of 1, which weights as released have not; "
                "leave them out"
            )
        return self

    def raw_weight(self, question: QuestionStatistics) -> float:
        """H_i^a / normalizer."""
        return self.power(question.entropy_bits, "entropy") / self.normalizer


class EntropyAsReleased(AsReleased):
    """w_i = H_i^a / `normalizer`, not scaled to mean 1; SFT averages them over batches.

    For comparison only: it changes the learning rate along with the weighting.
    """

    model_config = ConfigDict(title="As released: entropy (for comparison only)")

    kind: Literal["entropy_as_released"] = "entropy_as_released"
    batch_size: int = Field(
        2,
        ge=1,
        description="SFT: examples whose weights are replaced by their mean, as the released loss "
        "does with its micro-batches (2). 1: each has its own. DPO and KTO: each has its own.",
    )

    def scaled(self, raw: Sequence[float], variances: Sequence[float] = ()) -> Iterator[float]:  # noqa: ARG002
        """The raw weights, as they are."""
        return iter(raw)


class UniformAsReleased(AsReleased):
    """w_i = mean(H^a) / `normalizer` for all: the learning rate that the released weights make.

    For comparison only: what this differs in from `uniform` is the rate's doing.
    """

    model_config = ConfigDict(title="As released: uniform (for comparison only)")

    kind: Literal["uniform_as_released"] = "uniform_as_released"

    def scaled(self, raw: Sequence[float], variances: Sequence[float] = ()) -> Iterator[float]:  # noqa: ARG002
        """The mean raw weight for everyone."""
        mean = math.fsum(raw) / max(1, len(raw))
        return (mean for _ in raw)


def batch_means(weights: Sequence[float], size: int, seed: int) -> list[float]:
    """For each weight the mean over its batch; the last batch may be smaller. The sum stays.

    Batches of `size` are dealt out by `seed`, once: the released code dealt anew in each epoch.
    """
    order = random.Random(seed).sample(range(len(weights)), len(weights))  # noqa: S311 - no secret
    means = [0.0] * len(weights)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        mean = math.fsum(weights[index] for index in batch) / len(batch)
        for index in batch:
            means[index] = mean
    return means
