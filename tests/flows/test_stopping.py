"""Runs that end early: they got worse, or no better; and those that start from the best round."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from prefect.client.schemas.objects import State
from pydantic import ValidationError

from east_core.config import Resources, RunConfig, Stopping
from east_core.protocols import GenerationSettings, ModelSource, TrainingJob, TrainingResult
from east_core.records import Completion, Question, SampledQuestion
from east_core.runs.overview import list_runs
from east_core.runs.run import Run
from east_core.runs.summary import stopped_early, summarise
from east_core.testing.fakes import SKILL_FILE, InstantTrainer, ScriptedSampler
from flows.self_training import self_training
from tasks.engines import Engines, use_engines
from tests.flows.test_self_training import config

pytestmark = pytest.mark.usefixtures("prefect_api")


class PlannedTrainer(InstantTrainer):
    """Each round's model has the skill that the plan says."""

    def __init__(self, *skills: float) -> None:
        self.skills = list(skills)
        self.started_from: list[float] = []

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        self.started_from.append(json.loads((job.model.folder / SKILL_FILE).read_text()))
        result = super().train(job, out)
        (out / SKILL_FILE).write_text(json.dumps(self.skills.pop(0)))
        return result


class OneAnswerSampler(ScriptedSampler):
    """A collapsed model (skill 0.01) answers every question with 5; others as ever."""

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        collapsed = json.loads((model.folder / SKILL_FILE).read_text()) == 0.01
        for shard in super().sample(model, shards, settings, total):
            yield [_same(each) for each in shard] if collapsed else shard


def _same(sampled: SampledQuestion) -> SampledQuestion:
    five = Completion("It is \\boxed{5}.", "stop", token_count=3, mean_logprob=-0.1)
    return SampledQuestion(sampled.question, (five,) * len(sampled.completions))


def ended(run: RunConfig, trainer: PlannedTrainer) -> State[None]:
    with use_engines(Engines(OneAnswerSampler(), trainer)):
        return self_training(run, return_state=True)


def rounds_trained(run: RunConfig) -> int:
    return max(each.round for each in summarise(Run.open(run).store, run.name) if each.accuracy)


def test_a_planted_collapse_is_stopped_within_the_round(tmp_path: Path) -> None:
    run = config(tmp_path, skill=0.6, rounds=4, stopping=Stopping())
    state = ended(run, PlannedTrainer(0.01, 0.8, 0.8, 0.8))
    assert state.name == "Completed"
    assert state.message is not None
    assert state.message.startswith("stopped after round 1: accuracy on sums fell from ")
    assert rounds_trained(run) == 1
    [overview] = list_runs(Run.open(run).store)
    assert overview.state == "stopped after round 1"


def test_started_again_it_stays_ended_and_without_the_rule_it_goes_on(tmp_path: Path) -> None:
    run = config(tmp_path, skill=0.7, rounds=2, stopping=Stopping())
    message = ended(run, PlannedTrainer(0.25)).message
    assert message is not None
    assert ended(run, PlannedTrainer()).message == message
    further = run.model_copy(update={"stopping": None})
    assert ended(further, PlannedTrainer(0.8)).message is None
    assert stopped_early(summarise(Run.open(run).store, run.name)) is None
    assert list_runs(Run.open(run).store)[0].state == "finished"


def test_samples_that_got_worse_end_the_run_before_it_trains_on_them(tmp_path: Path) -> None:
    """The benchmark has too few questions to see it; the training questions have enough."""
    run = config(tmp_path, skill=0.9, rounds=3, stopping=Stopping(significance=0.4))
    few = run.benchmarks["sums"].model_copy(update={"limit": 5})
    run = run.model_copy(update={"benchmarks": {"sums": few}})
    state = ended(run, PlannedTrainer(0.15))
    assert state.message is not None
    assert "pass@n of the training questions fell from" in state.message
    assert "at round 0 to" in state.message
    assert rounds_trained(run) == 1


def test_without_a_rule_what_got_worse_is_told_and_all_rounds_are_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tmp_path, skill=0.7, rounds=2)
    assert ended(run, PlannedTrainer(0.25, 0.9)).message is None
    assert rounds_trained(run) == 2
    assert "accuracy on sums fell from" in caplog.text


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    run = config(tmp_path, skill=0.5, rounds=3, stopping=Stopping(patience=1))
    state = ended(run, PlannedTrainer(0.7, 0.65))
    assert state.message is not None
    assert "no round was better than round 1 for 1 in a row" in state.message
    assert rounds_trained(run) == 2


def test_rounds_that_start_from_the_best_leave_a_bad_one_behind(tmp_path: Path) -> None:
    run = config(tmp_path, skill=0.4, rounds=3, start_from="best")
    trainer = PlannedTrainer(0.9, 0.2, 0.95)
    ended(run, trainer)
    assert trainer.started_from == [0.4, 0.9, 0.9]
    opened = Run.open(run)
    best = opened.record(opened.at.checkpoint(1)).address
    for stage in (opened.at.samples(3), opened.at.checkpoint(3)):
        assert opened.record(stage).input_addresses["model"] == best


def test_the_best_round_must_not_be_deleted(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="use retention best-and-last or all"):
        config(tmp_path, start_from="best", resources=Resources(retention="last:1"))
