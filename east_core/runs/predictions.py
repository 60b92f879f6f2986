"""What a checkpoint answered to the questions of a benchmark, as its scores record it."""

from east_core.records import Prediction
from east_core.runs.addresses import PREDICTIONS_FILE
from east_core.store import ArtifactRecord, Store
from east_core.tables import read_table


def read_predictions(store: Store, scores: ArtifactRecord) -> list[Prediction]:
    """The graded greedy answers behind a benchmark's scores, in question order."""
    folder = store.fetch(scores, [PREDICTIONS_FILE])
    return list(read_table(folder / PREDICTIONS_FILE, Prediction))
