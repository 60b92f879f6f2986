"""The raw weights of a round, between the pass that finds them and the pass that scales them."""

from array import array
from collections import defaultdict
from collections.abc import Iterator

from east_core.errors import ConfigError
from east_core.weighting.base import BaseWeighting
from east_core.weighting.weighed import WeighedQuestion


class RawWeights:
    """What is known of the kept questions, in their order, by what is scaled together.

    That is 8 bytes a question, and 8 more for strategies that ask how uncertain a raw weight is.
    """

    def __init__(self, weighting: BaseWeighting) -> None:
        self._weighting = weighting
        self._raw: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._variances: dict[str, array[float]] = defaultdict(lambda: array("d"))

    def add(self, row: WeighedQuestion) -> None:
        """Note a kept question, whose weight is still the raw one."""
        group = self._weighting.group_of(row.question_id)
        self._raw[group].append(row.weight)
        variance = self._weighting.raw_variance(row.statistics)
        if variance is not None:
            self._variances[group].append(variance)

    def __len__(self) -> int:
        return sum(map(len, self._raw.values()))

    def scaled(self) -> dict[str, Iterator[float]]:
        """The weights, in the questions' order, by what they are scaled within.

        Raises ConfigError, which names the set of a mixture, where they are undefined.
        """
        return {group: self._scaled(group) for group in self._raw}

    def _scaled(self, group: str) -> Iterator[float]:
        try:
            return self._weighting.scaled(self._raw[group], self._variances[group])
        except ConfigError as error:
            raise ConfigError(f"set {group}: {error}" if group else str(error)) from None
