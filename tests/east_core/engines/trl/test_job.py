from dataclasses import replace
from pathlib import Path

import pytest

from east_core.config import DpoRecipe, KtoRecipe, LoraRecipe, Resources, SftRecipe
from east_core.engines.trl.job import rank_job, read_job, write_job
from east_core.errors import ConfigError
from east_core.protocols import ModelSource, TrainingJob


@pytest.fixture
def job(tmp_path):
    examples = tmp_path / "examples.parquet"
    examples.write_bytes(b"rows")
    return TrainingJob(
        model=ModelSource(tmp_path / "model", "model"),
        reference=ModelSource(tmp_path / "base", "base"),
        examples=[examples],
        recipe=DpoRecipe(lora=LoraRecipe(target_modules=("q_proj",))),
        system_prompt=None,
        seed=1,
        resources=Resources(),
        scratch=tmp_path / "scratch",
    )


def identity(job):
    return rank_job(job, Path("out"), "cpu").identity


def test_a_job_reads_back_as_it_was_written(job, tmp_path):
    whole = rank_job(job, tmp_path / "out", "cpu")
    write_job(whole, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == whole


def test_whatever_changes_the_parameters_changes_the_identity(job):
    job.examples[0].write_bytes(b"rows")
    same = identity(job)
    others = [
        replace(job, model=replace(job.model, fingerprint="x")),
        replace(job, reference=replace(job.reference, fingerprint="x")),
        replace(job, recipe=SftRecipe()),
        replace(job, system_prompt="x"),
        replace(job, seed=2),
        replace(job, resources=Resources(zero_stage=3)),
    ]
    assert identity(replace(job, scratch=Path("elsewhere"))) == same
    assert len({same, *map(identity, others)}) == 7
    job.examples[0].write_bytes(b"other rows")
    assert identity(job) != same


def test_a_batch_that_does_not_divide_over_the_ranks_is_refused(job):
    uneven = replace(job, resources=Resources(processes=3))
    with pytest.raises(ConfigError, match=r"16 is not a multiple of .* = 6"):
        rank_job(uneven, Path("out"), "cpu")


def test_trls_kl_needs_rows_to_pair(job):
    alone = replace(
        job, recipe=KtoRecipe(kl="trl"), resources=Resources(micro_batch_size=1, processes=1)
    )
    with pytest.raises(ConfigError, match=r"micro_batch_size 2 or more"):
        rank_job(alone, Path("out"), "cpu")
