import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from east_core.config import EvaluationRecipe
from east_core.evaluation.scores import scores_from_facts
from east_core.records import AnswerClusters, Prediction, SampledQuestion
from east_core.reports import round_report
from east_core.reports.curves import curves
from east_core.runs import addresses
from east_core.runs.summary import (
    RoundTime,
    overhead_seconds,
    summarise,
    summary_json,
    training_losses,
)
from east_core.store import ArtifactRecord, Stage, materialize
from east_core.tables import read_table


@pytest.fixture(scope="module")
def run(fake_run):
    return fake_run()


def test_summary_tells_what_each_round_did(run):
    rounds = summarise(run.store, "sums")
    assert [summary.round for summary in rounds] == [0, 1, 2]
    base, first, second = rounds
    assert base.kept is None
    assert base.losses is None
    assert first.kept + sum(first.drop_reasons.values()) == 40
    assert sum(first.entropy_histogram) == 40
    assert 0 < first.effective_sample_size <= first.kept
    assert first.examples == first.kept
    assert second.losses == (1.0, 0.5)
    assert base.accuracy["sums"].value < second.accuracy["sums"].value
    assert summary_json(rounds)["rounds"][0]["accuracy"]["sums"]["n"] == 40


def test_losses_come_from_the_training_log_where_there_is_one(run):
    assert training_losses(run.store, "sums", [1, 3]) == {1: [1.0, 0.5]}

    def build(folder):
        (folder / "logs").mkdir()
        lines = '{"loss": 3.5, "step": 1}\n{"loss": 2.5, "step": 2}\n{"train_runtime": 1.0}\n'
        (folder / "logs" / "training.jsonl").write_text(lines)

    stage = Stage("logged/round-01/checkpoint", "checkpoint")
    materialize(run.store, stage, build)
    assert training_losses(run.store, "logged", [1]) == {1: [3.5, 2.5]}


def test_the_report_holds_every_curve_as_png_and_svg(run):
    first, last = (run.record(run.at.round_report(number)) for number in (0, 2))
    assert {file.path for file in first.files} == {"accuracy.png", "accuracy.svg"}
    names = {"accuracy", "diversity", "entropy", "kept", "loss"}
    pictures = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {file.path for file in last.files} == pictures | {"questions.png"}
    assert last.inputs.keys() >= {"round-02/weights", "round-01/checkpoint", "round-00/scores/sums"}


def test_curves_are_drawn_only_for_what_is_there(run):
    base = summarise(run.store, "sums")[:1]
    assert set(curves(base, {}, "sums")) == {"accuracy"}


def test_extra_samples_are_scored_and_kept(fake_run):
    run = fake_run(rounds=1, evaluation=EvaluationRecipe(samples_per_question=4))
    record = run.record(run.at.scores(1, "sums"))
    folder = run.store.fetch(record)
    assert sum(1 for _ in read_table(folder / addresses.PREDICTIONS_FILE, Prediction)) == 40
    sampled = list(read_table(folder / addresses.SAMPLES_FILE, SampledQuestion))
    votes = list(read_table(folder / addresses.VOTES_FILE, AnswerClusters))
    assert [len(item.completions) for item in sampled] == [4] * 40
    assert [item.question.id for item in sampled] == [row.question_id for row in votes]
    scores = scores_from_facts(record.facts)
    assert set(scores.pass_at) == set(scores.majority_at) == {"1", "2", "4"}
    solved = [row.accuracy > 0 for row in votes]
    assert scores.pass_at["4"].value == sum(solved) / 40
    assert scores.pass_at["1"].value < scores.pass_at["4"].value
    assert scores.pass_at["1"].value == pytest.approx(scores.majority_at["1"].value)


def test_without_extra_samples_no_pass_at_k_is_told(fake_run):
    one_round = fake_run(rounds=1)
    record = one_round.record(one_round.at.scores(1, "sums"))
    assert {"accuracy", "mean_tokens", "truncated_share", "no_answer_share"} <= record.facts.keys()
    assert "pass_at" not in record.facts


def test_overhead_is_the_part_of_a_lap_in_which_nothing_was_built(run):
    records = list(run.store.records("sums"))
    stamps = [datetime.fromisoformat(record.created_at).timestamp() for record in records]
    round_time = RoundTime(min(stamps) - 1000, max(stamps) + 1)
    built = sum(record.seconds for record in records)
    assert overhead_seconds(records, round_time) == pytest.approx(
        round_time.ended - round_time.began - built, abs=0.01
    )
    earlier = RoundTime(min(stamps) - 1000, min(stamps) - 900)  # what others built is not taken off
    assert overhead_seconds(records, earlier) == 100


def test_what_was_built_side_by_side_is_taken_off_the_overhead_once(run):
    record = next(iter(run.store.records("sums")))

    def built(ended: float, seconds: float) -> ArtifactRecord:
        created_at = datetime.fromtimestamp(ended, UTC).isoformat()
        return replace(record, created_at=created_at, seconds=seconds)

    # 100 to 112 | 110 to 118, 111 to 113 inside it, 120 to 130, one that is not finished in time
    records = [built(112, 20), built(118, 8), built(113, 2), built(130, 10), built(150, 12)]
    assert overhead_seconds(records, RoundTime(100, 140)) == 2 + 8


def test_the_overhead_stands_in_the_reports_log_and_changes_no_identity(fake_run):
    plain, timed = fake_run(rounds=1), fake_run(rounds=1)
    shutil.rmtree(Path(timed.store.root) / "sums" / "round-01" / "report")
    now = time.time()
    again = round_report.publish(timed, 1, RoundTime(now, now + 7))
    assert again.content == plain.record(plain.at.round_report(1)).content
    told = [summarise(run.store, "sums")[1].overhead_seconds for run in (plain, timed)]
    assert told == [None, 7.0]
