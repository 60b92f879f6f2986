"""The shards of a set of questions: which numbers each holds, and its questions."""

import itertools
from collections.abc import Iterator, Sequence

from east_core.records import Question
from east_core.runs.addresses import QUESTIONS_FILE
from east_core.runs.run import Run
from east_core.store import (
    ArtifactRecord,
)
from east_core.tables import read_table


def shard_bounds(run: Run, questions: ArtifactRecord) -> list[range]:
    """The question numbers of each shard."""
    count, size = int(str(questions.facts["questions"])), run.config.resources.shard_questions
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def questions_by_shard(
    run: Run, questions: ArtifactRecord, bounds: Sequence[range]
) -> Iterator[list[Question]]:
    """The questions of each of the ascending `bounds`, read as they are needed."""
    rows = read_table(run.store.fetch(questions) / QUESTIONS_FILE, Question)
    position = 0
    for wanted in bounds:
        yield list(itertools.islice(rows, wanted.start - position, wanted.stop - position))
        position = wanted.stop
