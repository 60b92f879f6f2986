"""Equal settings and seed give equal bytes, wherever and whenever a run is made."""

import pytest

from east_core.config import EvaluationRecipe
from east_core.store.manifest import LOGS

STAGES = {"base-model", "questions", "samples", "weights", "examples", "checkpoint", "scores"}


@pytest.fixture(scope="module")
def runs(fake_run):
    recipe = EvaluationRecipe(samples_per_question=3)
    return fake_run(evaluation=recipe), fake_run(evaluation=recipe)


def contents(run):
    """What came out of every stage; the config tells of paths, and logs of times."""
    return {
        record.address: record.content
        for record in run.store.records()
        if record.stage in STAGES | {"report"}
    }


def test_two_runs_in_different_folders_have_identical_artifacts(runs):
    first, second = map(contents, runs)
    assert {record.stage for record in runs[0].store.records()} >= STAGES
    assert first == second


def test_another_seed_gives_other_samples(runs, fake_run):
    other = contents(fake_run(rounds=1, seed=7))
    first = contents(runs[0])
    assert other["sums/round-01/samples"] != first["sums/round-01/samples"]


def test_no_file_of_an_artifact_tells_where_or_when_it_was_made(runs):
    for run in runs:
        for record in run.store.records():
            folder = run.store.fetch(record)
            for file in record.files:
                if record.stage == "config" or file.path.startswith(LOGS):
                    continue
                data = (folder / file.path).read_bytes()
                assert run.config.store.encode() not in data, file.path
                assert record.created_at.encode() not in data, file.path


def test_every_record_tells_code_and_library_versions(runs):
    for record in runs[0].store.records():
        assert record.code_version
        assert {"python", "torch", "transformers", "trl", "numpy"} <= record.versions.keys()


def test_every_random_stage_records_its_seed(runs):
    recipes = {record.stage: record.recipe for record in runs[0].store.records()}
    assert recipes["config"]["seed"] == 42
    assert isinstance(recipes["samples"]["seed"], int)
    assert recipes["examples"]["seed"] == 42
    assert isinstance(recipes["checkpoint"]["seed"], int)
    assert isinstance(recipes["scores"]["samples_seed"], int)
