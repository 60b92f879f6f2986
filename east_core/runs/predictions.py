"""What a checkpoint answered to the questions of a benchmark, as its scores record it."""

from east_core.records import AnswerClusters, Prediction
from east_core.runs.addresses import PREDICTIONS_FILE, VOTES_FILE
from east_core.store import ArtifactRecord, Store
from east_core.tables import read_table


def read_predictions(store: Store, scores: ArtifactRecord) -> list[Prediction]:
    """The graded answers behind a benchmark's scores, in question order: greedy, or a first sample.

    They are to be shown; what is compared are outcomes (`read_outcomes`).
    """
    folder = store.fetch(scores, [PREDICTIONS_FILE])
    return list(read_table(folder / PREDICTIONS_FILE, Prediction))


def read_outcomes(store: Store, scores: ArtifactRecord) -> dict[str, float]:
    """What the accuracy of the scores is the mean of, by question id and in question order.

    That is 1 for a right greedy answer and 0 for a wrong one, or the share of right samples.
    """
    if scores.facts.get("samples"):
        return {row.question_id: row.accuracy for row in read_votes(store, scores)}
    return {row.question_id: float(row.is_correct) for row in read_predictions(store, scores)}


def read_answered(store: Store, scores: ArtifactRecord) -> dict[str, float]:
    """By question id: 1 for a greedy completion with an answer, or the share of such samples."""
    if scores.facts.get("samples"):
        return {row.question_id: 1 - row.no_answer_share for row in read_votes(store, scores)}
    rows = read_predictions(store, scores)
    return {row.question_id: float(row.answer is not None) for row in rows}


def read_votes(store: Store, scores: ArtifactRecord) -> list[AnswerClusters]:
    """The clusters of a benchmark's samples, where its scores have some, in question order."""
    folder = store.fetch(scores, [VOTES_FILE])
    return list(read_table(folder / VOTES_FILE, AnswerClusters))
