"""The questions that a run trains on: one data set's, or those of several sets by their shares.

`datasets.interleave_datasets` draws each row's set by chance, so that shares hold on average only.
Here they hold to one question (largest remainders), the sets stand evenly mixed, and which
questions a set gives depends on their ids alone: other sets, shares and seeds leave it as it is.
"""

import heapq
import itertools
import math
import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from east_core.config import QuestionMixture, QuestionSet, QuestionSource
from east_core.errors import DataError
from east_core.inputs.decontamination import BenchmarkQuestions, Overlap, Screened
from east_core.inputs.questions import WithGold
from east_core.records import Question
from east_core.seeds import derive_seed
from east_core.tables import read_table, write_table


def set_sizes(
    available: Mapping[str, int], shares: Mapping[str, float], limit: int | None
) -> dict[str, int]:
    """How many questions each set gives: its share of all, to less than one question.

    `limit` is how many there are in all; None: as many as the shares allow. Raises DataError for a
    set that has fewer than its share, or whose share is no question.
    """
    whole = sum(Fraction(str(share)) for share in shares.values())
    parts = {name: Fraction(str(share)) / whole for name, share in shares.items()}
    total = limit or min(int(available[name] / part) for name, part in parts.items())
    sizes = {name: int(total * part) for name, part in parts.items()}
    by_rest = sorted(parts, key=lambda name: sizes[name] - total * parts[name])
    for name in by_rest[: total - sum(sizes.values())]:
        sizes[name] += 1
    for name, size in sizes.items():
        _require_enough(name, size, available, parts, total)
    return sizes


def _require_enough(
    name: str, size: int, available: Mapping[str, int], parts: Mapping[str, Fraction], total: int
) -> None:
    share = f"{float(parts[name]):.3g}"
    if size > available[name]:
        most = min(int(available[each] / part) for each, part in parts.items())
        raise DataError(
            f"questions.sets.{name} has {available[name]} questions, and its share ({share}) of "
            f"{total} is {size}; lower its share, or set questions.limit to at most {most}"
        )
    if not size:
        raise DataError(
            f"questions.sets.{name}: its share ({share}) of {total} questions is none; raise its "
            "share, add questions to the others, or leave the set out"
        )


@dataclass
class TrainingQuestions:
    """Passes on the questions to train on, and notes what became of the others.

    `without` are the ids of those without a final answer in their solution, `found` those that
    stand in a benchmark. `sizes` are the sets of a mixture: questions that they give, and have.
    """

    config: QuestionSource
    benchmarks: BenchmarkQuestions
    without: list[str] = field(default_factory=list)
    found: list[Overlap] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Question]:
        """Raises DataError where none is left, and as `load_questions` and `set_sizes` do."""
        if isinstance(self.config, QuestionMixture):
            yield from self._mixed(self.config)
            return
        rows = WithGold(self.config, self.without)
        yield from Screened(rows, self.benchmarks, self.config.decontaminate, self.found)

    def _mixed(self, mixture: QuestionMixture) -> Iterator[Question]:
        overlaps: list[Overlap] = []
        with tempfile.TemporaryDirectory(prefix="east-mixture-") as folder:
            pools = {
                name: self._pool(Path(folder, name), name, each, overlaps)
                for name, each in mixture.sets.items()
            }
            shares = {name: each.share for name, each in mixture.sets.items()}
            available = {name: len(keys) for name, keys in pools.items()}
            sizes = set_sizes(available, shares, mixture.limit)
            self.sizes |= {name: (size, available[name]) for name, size in sizes.items()}
            drawn = {
                name: _drawn(Path(folder, name), pools[name], size) for name, size in sizes.items()
            }
            yield from self._noted(evenly_mixed(drawn, sizes), overlaps)

    def _pool(
        self, path: Path, name: str, config: QuestionSet, overlaps: list[Overlap]
    ) -> "array[int]":
        """Write what a set has to `path`; return what decides which of them are drawn."""
        keys = array("Q")
        rows = WithGold(config)
        screened = Screened(rows, self.benchmarks, self.config.decontaminate)

        def named() -> Iterator[Question]:
            for question in screened:
                inner = f"{name}/{question.id}"
                keys.append(derive_seed(0, "mixture", inner))
                yield replace(question, id=inner)

        try:
            write_table(path, Question, named())
        except DataError as error:
            raise DataError(f"questions.sets.{name}: {error}") from error
        self.without += [f"{name}/{each}" for each in rows.without]
        overlaps += [replace(each, question=f"{name}/{each.question}") for each in screened.found]
        return keys

    def _noted(
        self, questions: Iterator[Question], overlaps: Sequence[Overlap]
    ) -> Iterator[Question]:
        """Pass questions on, and note the overlaps: all that are left out, or those passed on."""
        if self.config.decontaminate:
            self.found += overlaps
            overlaps = ()
        told = {each.question: each for each in overlaps}
        for question in questions:
            if question.id in told:
                self.found.append(told[question.id])
            yield question


def _drawn(path: Path, keys: "array[int]", size: int) -> Iterator[Question]:
    """The `size` questions with the smallest keys, in their order."""
    chosen = set(heapq.nsmallest(size, range(len(keys)), key=keys.__getitem__))
    rows = enumerate(read_table(path, Question))
    return (question for position, question in rows if position in chosen)


def evenly_mixed(
    streams: Mapping[str, Iterator[Question]], sizes: Mapping[str, int]
) -> Iterator[Question]:
    """The streams' questions, each stream's spread evenly over the whole."""
    whole = math.lcm(*sizes.values())
    steps = {name: whole // size for name, size in sizes.items()}
    placed = (
        zip(itertools.count(steps[name], 2 * steps[name]), stream, strict=False)
        for name, stream in streams.items()
    )
    return (question for _, question in heapq.merge(*placed, key=lambda pair: pair[0]))
