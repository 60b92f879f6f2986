"""A whole study with a scripted sampler and an instant trainer."""

import json
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from east_core.errors import NothingToLearn
from east_core.protocols import TrainingJob, TrainingResult
from east_core.records import SampledQuestion
from east_core.runs.addresses import COMPARISON_FILE
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.store import Store
from east_core.studies.study import StudyConfig, parse_study
from east_core.tables import read_tables
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model
from flows.compare import compare
from flows.self_training import self_training
from tasks.engines import Engines, use_engines

pytestmark = pytest.mark.usefixtures("prefect_api")
QUESTIONS = 40


def study(folder: Path, **changes: object) -> StudyConfig:
    questions = folder / "questions.jsonl"
    rows = ({"id": f"q{i}", "question": f"{i} + 1", "answer": str(i + 1)} for i in range(QUESTIONS))
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "name": "tried",
        "store": str(folder / "store"),
        "seeds": [1, 2],
        "run": {
            "rounds": 1,
            "model": {"name": str(write_model(folder / "model"))},
            "questions": {"path": str(questions)},
            "benchmarks": {"sums": {"path": str(questions)}},
            "sampling": {"samples_per_question": 6},
        },
    }
    return parse_study({**settings, **changes})


def test_the_first_samples_are_drawn_once_for_all_arms(tmp_path: Path) -> None:
    asked = study(tmp_path, weightings=["uniform", "entropy", "accuracy"])
    sampler = ScriptedSampler()
    with use_engines(Engines(sampler, InstantTrainer())):
        record = compare(asked)
    # base scores once; round 1's samples once a seed; scores of round 1 for 3 arms x 2 seeds
    assert len(sampler.sampled) == QUESTIONS * (1 + 2 + 6)
    runs = [Run.open(config) for config in asked.runs()]
    for seed in (1, 2):
        samples = [run.record(run.at.samples(1)) for run in runs if run.config.seed == seed]
        assert len({record.content for record in samples}) == 1
        assert len({record.fingerprint for record in samples}) == 1
    files = sample_files(runs[1], runs[1].record(runs[1].at.samples(1)))
    assert len(list(read_tables(files, SampledQuestion))) == QUESTIONS
    told = json.loads(
        (Store(f"{tmp_path}/store/tried").fetch(record) / COMPARISON_FILE).read_text()
    )
    assert [arm["arm"] for arm in told["arms"]] == [
        "sft-uniform",
        "sft-entropy-1",
        "sft-accuracy-1",
    ]
    assert told["missing"] == []


def test_a_study_that_grows_samples_only_what_is_new(tmp_path: Path) -> None:
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        compare(study(tmp_path, seeds=[1]))
    sampler = ScriptedSampler()
    with use_engines(Engines(sampler, InstantTrainer())):
        compare(study(tmp_path, seeds=[1], exponents=[1.0, 2.0]))
    assert len(sampler.sampled) == QUESTIONS  # the new arm's scores alone


def test_an_arm_that_fails_is_left_out_and_told(tmp_path: Path) -> None:
    class Choosy(InstantTrainer):
        def train(self, job: TrainingJob, out: Path) -> TrainingResult:
            if "entropy" in str(job.scratch):
                raise NothingToLearn("too little for entropy")
            return super().train(job, out)

    asked = study(tmp_path)
    with (
        use_engines(Engines(ScriptedSampler(), Choosy())),
        pytest.raises(NothingToLearn, match="too little for entropy"),
    ):
        compare(asked)
    store = Store(f"{tmp_path}/store/tried")
    (record,) = [r for r in store.records() if r.stage == "comparison"]
    told = json.loads((store.fetch(record) / COMPARISON_FILE).read_text())
    assert told["missing"] == ["sft-entropy-1-seed-1", "sft-entropy-1-seed-2"]


def test_samples_of_other_settings_are_never_taken_over(tmp_path: Path) -> None:
    from east_core.studies.study import share_first_stages
    from tasks.context import run_for
    from tasks.stages import prepare

    config = next(study(tmp_path).runs())
    sampling = config.sampling.model_copy(update={"temperature": 2.0})
    hotter = config.model_copy(update={"name": "hotter", "sampling": sampling})
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(config)
    with run_for(hotter), disable_run_logger():
        prepare.fn()
    shared = share_first_stages(Run.open(hotter), [Run.open(config)])
    assert [record.stage for record in shared] == ["scores"]
