"""Runs that are scored by the mean over samples, from the scores to what goes by them."""

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from east_core.config import EvaluationRecipe, RunConfig, Stopping
from east_core.evaluation.decline import decline
from east_core.evaluation.scores import scores_from_facts
from east_core.reports.html import render
from east_core.runs.best import scored_before
from east_core.runs.predictions import read_answered, read_outcomes, read_predictions
from east_core.runs.scores import scoring_stage
from east_core.runs.stopping import after_scores
from east_core.runs.summary import measured, summarise
from east_core.studies.promotion import PairedTest, decide
from east_core.testing.fakes import SKILL_FILE, InstantTrainer, ScriptedSampler
from flows.browser.app import browser_app
from flows.browser.details import comparisons

SAMPLED = EvaluationRecipe(mode="sampled", samples_per_question=4)


class Counting(ScriptedSampler):
    """Notes the settings that it is asked with."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def sample(self, model, shards, settings, total):
        self.asked.append(settings)
        return super().sample(model, shards, settings, total)


class Collapsing(InstantTrainer):
    """Makes a model that is hardly ever right."""

    def train(self, job, out):
        result = super().train(job, out)
        (out / SKILL_FILE).write_text("0.01")
        return result


def test_a_run_is_scored_by_its_samples_everywhere(fake_run):
    sampler = Counting()
    run = fake_run(sampler=sampler, rounds=1, evaluation=SAMPLED)
    assert all(settings.temperature > 0 for settings in sampler.asked)
    records = [run.record(run.at.scores(number, "sums")) for number in (0, 1)]
    outcomes = [read_outcomes(run.store, record) for record in records]
    assert {0.25, 0.5, 0.75} & {*outcomes[0].values()}  # some questions are right now and then
    for record, shares in zip(records, outcomes, strict=True):
        scores = scores_from_facts(record.facts)
        assert scores.samples == 4
        assert scores.accuracy.value == pytest.approx(sum(shares.values()) / len(shares))
        assert scores.accuracy.value == pytest.approx(scores.pass_at["1"].value)
        assert set(read_answered(run.store, record).values()) == {1.0}
    firsts = read_predictions(run.store, records[0])
    assert [row.question_id for row in firsts] == list(outcomes[0])
    assert scored_before(run, 2)[1]["sums"] == records[1].facts["accuracy"]["value"]
    decision = decide(run.store, run.name, 1, ["sums"], PairedTest())
    gain = [outcomes[1][name] - outcomes[0][name] for name in outcomes[0]]
    assert decision.difference.value == pytest.approx(sum(gain) / len(gain))
    assert "better" in decision.reason


def test_stopping_goes_by_the_samples(fake_run):
    settings = {"rounds": 1, "evaluation": SAMPLED, "stopping": Stopping()}
    assert after_scores(fake_run(**settings), 1) == []  # the skill rises
    run = fake_run(trainer=Collapsing(), **settings)
    accuracy = next(each for each in after_scores(run, 1) if each.what == "accuracy on sums")
    before, now = (read_outcomes(run.store, run.record(run.at.scores(n, "sums"))) for n in (0, 1))
    assert accuracy.decline == decline(before, now)
    assert accuracy.decline.before == pytest.approx(sum(before.values()) / 40)


def test_the_mode_is_part_of_the_scores_only_once_it_is_used(fake_run):
    assert "mode" not in EvaluationRecipe().identity()
    assert "mode" not in RunConfig().identity()["evaluation"]
    run = fake_run(rounds=1)
    assert "mode" not in scoring_stage(run, 1, "sums").recipe["evaluation"]
    assert "samples" not in run.record(run.at.scores(1, "sums")).facts
    assert SAMPLED.identity()["mode"] == "sampled"


def test_a_mean_over_no_samples_is_refused():
    with pytest.raises(ValidationError, match="samples_per_question is 0; set it"):
        EvaluationRecipe(mode="sampled")


def test_the_report_says_what_its_scores_are(fake_run):
    page = render(*_place(fake_run(rounds=1, evaluation=SAMPLED)))
    assert "mean accuracy of 4 samples went from" in page
    assert "questions are answered correctly more often" in " ".join(page.split())
    assert "mean accuracy of" not in render(*_place(fake_run(rounds=1)))


def test_the_rounds_say_of_how_many_samples_their_scores_are_the_mean(fake_run):
    run = fake_run(rounds=1, evaluation=SAMPLED)
    told = measured(summarise(*_place(run)))
    assert told == "accuracy is the mean over 4 samples a question on sums"
    assert told in TestClient(browser_app(run.store)).get(f"/run/{run.name}").text
    assert measured(summarise(*_place(fake_run(rounds=1)))) is None


def test_runs_that_are_scored_in_two_ways_are_not_paired(fake_run, tmp_path):
    sampled = fake_run(tmp_path, name="sampled", rounds=1, evaluation=SAMPLED)
    fake_run(tmp_path, name="greedy", rounds=1)
    fake_run(tmp_path, name="again", rounds=1, evaluation=SAMPLED)
    [found] = comparisons(sampled.store, ["sampled", "greedy", "again"])
    assert found.against_first["greedy"] == "scored in another way: no paired test"
    assert found.against_first["again"].n == 40


def _place(run):
    return run.store, run.name
