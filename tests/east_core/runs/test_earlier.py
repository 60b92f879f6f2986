"""Runs that an earlier version began: they go on where this one makes the same of their answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from east_core.config import EvaluationRecipe
from east_core.errors import ArtifactMismatch
from east_core.records import AnswerCluster
from east_core.runs import scores, weights
from east_core.runs.run import Run
from east_core.store import ArtifactFile, ArtifactRecord, Stage
from east_core.store.files import file_hash
from east_core.store.manifest import RECORD_NAME, encode_record
from east_core.tables import read_table, write_table
from east_core.testing.fakes import ScriptedSampler
from east_core.weighting.weighed import WeighedQuestion

EXTRA = EvaluationRecipe(samples_per_question=4)


class NeverAsked(ScriptedSampler):
    """What is scored already is graded again from its record, without an engine."""

    def sample(self, *_: object) -> object:  # type: ignore[override]
        raise AssertionError("nothing is to be sampled")


@pytest.fixture
def run(fake_run: Callable[..., Run]) -> Run:
    """A finished run whose weights and scores are of the revisions before."""
    made = fake_run(rounds=1, evaluation=EXTRA)
    for address, revision in (("sums/round-01/weights", 1), ("sums/round-00/scores/sums", 2)):
        as_of_revision(made, address, revision)
    return made


def as_of_revision(run: Run, address: str, revision: int) -> ArtifactRecord:
    """Write the record as an earlier revision of its stage would have written it."""
    record = run.store.require(address)
    stage = Stage(address, record.recipe["stage"], record.recipe, record.inputs, revision)
    wanted = stage.wanted()
    old = replace(record, recipe=wanted.recipe, fingerprint=wanted.fingerprint)
    put_record(run, old)
    return old


def test_weights_that_come_out_the_same_are_taken_as_they_are(run: Run) -> None:
    before = run.store.require("sums/round-01/weights")
    assert weights.weigh(run, 1) == before
    assert before.recipe["revision"] == 1


def test_scores_are_graded_again_from_their_record_and_taken(run: Run) -> None:
    before = run.store.require("sums/round-00/scores/sums")
    assert scores.score(run, 0, "sums", NeverAsked()) == before
    assert before.recipe["revision"] == 2


def test_weights_that_come_out_otherwise_are_refused(run: Run) -> None:
    record = run.store.require("sums/round-01/weights")
    file = weights.weight_files(run, record)[0]
    first, *others = read_table(file, WeighedQuestion)
    one_answer = AnswerCluster("1", tuple(range(first.sample_count)), is_correct=True)
    write_table(file, WeighedQuestion, [replace(first, clusters=(one_answer,)), *others])
    put_record(run, replace(record, files=tuple(_as_on_disk(each, file) for each in record.files)))
    with pytest.raises(ArtifactMismatch, match="revision"):
        weights.weigh(run, 1)


def put_record(run: Run, record: ArtifactRecord) -> None:
    folder = Path(run.store.url(record.address).removeprefix("file://"))
    (folder / RECORD_NAME).write_bytes(encode_record(record))


def _as_on_disk(listed: ArtifactFile, file: Path) -> ArtifactFile:
    if not listed.path.endswith(file.name):
        return listed
    return ArtifactFile(listed.path, file.stat().st_size, file_hash(file))
