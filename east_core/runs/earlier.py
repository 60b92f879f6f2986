"""What an earlier version made of a run's answers, taken where this one makes the same of them.

When the rules change by which answers are equal, weights and scores get a new revision, and a run
begun before would be refused. Most runs are not touched by such a change. So their recorded
completions are read again, which takes no engine: where the outcome is the same, the record
stands and the run goes on; where it differs, `materialize` refuses it as ever.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from east_core.errors import NothingToLearn
from east_core.records import AnswerCluster, AnswerClusters, Prediction
from east_core.runs.addresses import PREDICTIONS_FILE, VOTES_FILE, WEIGHTS_FOLDER
from east_core.runs.run import Run
from east_core.store import ArtifactRecord, Stage, made_by_revision
from east_core.tables import read_table, read_tables
from east_core.weighting.weighed import WeighedQuestion

log = logging.getLogger(__name__)
Outcome = Callable[[Path], Iterator[Any]]


def earlier_with_same_outcome(
    run: Run,
    stage: Stage,
    revision: int,
    rebuild: Callable[[ArtifactRecord, Path], object],
    outcome: Outcome,
) -> ArtifactRecord | None:
    """The record that `revision` of the stage made, if this code makes the same of its inputs.

    `rebuild(record, folder)` makes the artifact's files again, from what is recorded; `outcome`
    reads from a folder what must be the same. None where there is no such record, or where the
    outcome differs.
    """
    record = made_by_revision(run.store, stage, revision)
    if record is None:
        return None
    with tempfile.TemporaryDirectory(prefix="east-again-") as folder:
        try:
            rebuild(record, Path(folder))
        except NothingToLearn:
            return None
        if list(outcome(Path(folder))) != list(outcome(run.store.fetch(record))):
            return None
    log.info("%s was made by an earlier version; this one makes the same of it", record.address)
    return record


def weights_outcome(folder: Path) -> Iterator[Any]:
    """What counts of weighed questions: clusters, which is correct, weights, targets."""
    for row in read_tables(sorted((folder / WEIGHTS_FOLDER).glob("*.parquet")), WeighedQuestion):
        yield row.question_id, row.weight, row.example_count, _clusters(row.clusters)


def scores_outcome(folder: Path) -> Iterator[Any]:
    """What counts of scores: which completions are right, and the votes of the extra samples."""
    for prediction in read_table(folder / PREDICTIONS_FILE, Prediction):
        yield prediction.question_id, prediction.is_correct, prediction.answer is None
    if (folder / VOTES_FILE).is_file():
        yield from map(_vote, read_table(folder / VOTES_FILE, AnswerClusters))


def _vote(vote: AnswerClusters) -> tuple[str, list[tuple[Sequence[int], bool, bool]]]:
    return vote.question_id, _clusters(vote.clusters)


def _clusters(clusters: Iterable[AnswerCluster]) -> list[tuple[Sequence[int], bool, bool]]:
    return [(each.members, each.is_correct, each.answer is None) for each in clusters]
