"""Comparisons of made-up predictions, whose numbers can be worked out by hand."""

import json
import math

import pytest
from scipy.stats import ttest_rel

from east_core.errors import DataError
from east_core.evaluation.scores import ScoreTotals, scores_as_facts
from east_core.records import Prediction
from east_core.runs.addresses import COMPARISON_FILE, COMPARISON_TABLE, PREDICTIONS_FILE
from east_core.store import Stage, Store, materialize
from east_core.studies.comparison import (
    as_markdown,
    compare_study,
    over_seeds,
    publish_comparison,
)
from east_core.studies.study import StudyConfig
from east_core.tables import write_table

QUESTIONS = 100


def study_in(folder, **changes):
    return StudyConfig(
        **{"store": str(folder), "name": "s", "seeds": (1, 2, 3), "run": {"rounds": 1}, **changes}
    )


def score(study, arm, seed, number, correct):
    """Record scores as if the first `correct` questions were answered correctly."""
    rows = [Prediction(f"q{i}", "", "1", "1", i < correct, "stop", 1) for i in range(QUESTIONS)]

    def build(folder):
        totals = ScoreTotals()
        write_table(folder / PREDICTIONS_FILE, Prediction, totals.counting(rows))
        return scores_as_facts(totals.scores(0.95))

    materialize(
        Store(f"{study.store}/{study.name}"),
        Stage(
            f"{arm}-seed-{seed}/round-{number:02d}/scores/word-problems",
            "scores",
            recipe={"correct": correct},
        ),
        build,
    )


def finish(study, last):
    for arm, by_seed in last.items():
        for seed, correct in by_seed.items():
            score(study, arm, seed, 0, 10)
            score(study, arm, seed, 1, correct)


def test_intervals_over_seeds_by_hand():
    # 0.4, 0.5, 0.6: mean 0.5, standard deviation 0.1, t(0.975, 2) = 4.302653
    estimate = over_seeds([0.4, 0.5, 0.6])
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert (estimate.low, estimate.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)


def test_an_arm_is_compared_by_seed_and_by_question(tmp_path):
    study = study_in(tmp_path)
    finish(study, {"sft-uniform": {1: 40, 2: 60, 3: 50}, "sft-entropy-1": {1: 43, 2: 62, 3: 53}})
    comparison = compare_study(Store(f"{tmp_path}/s"), study)
    vanilla, east = comparison.arms
    assert vanilla.by_round[0].value == pytest.approx(0.1)
    assert vanilla.by_round[1].value == pytest.approx(0.5)
    assert east.by_seed[2] == [0.1, 0.62]
    (difference,) = comparison.differences
    assert difference.value == pytest.approx((0.03 + 0.02 + 0.03) / 3)
    assert difference.p_value == pytest.approx(
        ttest_rel([0.43, 0.62, 0.53], [0.40, 0.60, 0.50]).pvalue
    )
    # far sharper than the seeds' spread of 10 points: differences are paired by seed
    assert difference.over_seeds.low > 0
    assert vanilla.by_round[1].high - vanilla.by_round[1].low > 0.2
    assert difference.is_real
    assert "is better than sft-uniform by 2.7 points" in as_markdown(comparison)


def test_noise_is_told_as_noise(tmp_path):
    study = study_in(tmp_path)
    finish(study, {"sft-uniform": {1: 40, 2: 60, 3: 50}, "sft-entropy-1": {1: 45, 2: 56, 3: 52}})
    comparison = compare_study(Store(f"{tmp_path}/s"), study)
    assert not comparison.differences[0].is_real
    assert "can't be told apart" in as_markdown(comparison)


def test_p_values_are_corrected_for_the_number_of_arms(tmp_path):
    study = study_in(tmp_path, exponents=(1.0, 2.0))
    finish(
        study,
        {
            "sft-uniform": {1: 40, 2: 60, 3: 50},
            "sft-entropy-1": {1: 43, 2: 62, 3: 53},
            "sft-entropy-2": {1: 45, 2: 56, 3: 52},
        },
    )
    low, high = sorted(
        compare_study(Store(f"{tmp_path}/s"), study).differences, key=lambda row: row.p_value
    )
    assert low.p_holm == pytest.approx(2 * low.p_value)  # Holm: times 2, then times 1
    assert high.p_holm == pytest.approx(high.p_value)


def test_one_seed_is_judged_by_its_questions(tmp_path):
    study = study_in(tmp_path, seeds=(1,))
    finish(study, {"sft-uniform": {1: 40}, "sft-entropy-1": {1: 46}})
    comparison = compare_study(Store(f"{tmp_path}/s"), study)
    (difference,) = comparison.differences
    assert difference.over_seeds is None
    assert difference.p_value == pytest.approx(2 / 2**6)  # McNemar: 6 against 0
    assert comparison.arms[0].by_round[1].n == QUESTIONS


def test_unfinished_runs_are_named_and_do_not_count(tmp_path):
    study = study_in(tmp_path)
    finish(study, {"sft-uniform": {1: 40, 2: 60, 3: 50}, "sft-entropy-1": {1: 43, 2: 62}})
    score(study, "sft-entropy-1", 3, 0, 10)
    comparison = compare_study(Store(f"{tmp_path}/s"), study)
    assert comparison.missing == ["sft-entropy-1-seed-3"]
    assert comparison.differences[0].over_seeds.n == 2
    assert "Not finished, not counted: sft-entropy-1-seed-3." in as_markdown(comparison)


def test_without_a_finished_baseline_there_is_nothing_to_compare(tmp_path):
    study = study_in(tmp_path)
    finish(study, {"sft-entropy-1": {1: 43}})
    with pytest.raises(DataError, match="baseline 'sft-uniform'"):
        publish_comparison(Store(study.runs_store), study)


def test_the_comparison_is_an_artifact_that_grows_with_the_study(tmp_path):
    study = study_in(tmp_path, exponents=(-1.0, 0.0, 1.0))
    arms = ("sft-uniform", "sft-entropy-minus-1", "sft-entropy-0", "sft-entropy-1")
    finish(study, {arm: {1: 40, 2: 50} for arm in arms})
    record = publish_comparison(Store(study.runs_store), study)
    assert publish_comparison(Store(study.runs_store), study).address == record.address
    files = {file.path for file in record.files}
    assert {COMPARISON_FILE, COMPARISON_TABLE, "rounds-word-problems.svg"} <= files
    assert "exponents-sft-entropy-word-problems.png" in files
    told = json.loads((Store(f"{tmp_path}/s").fetch(record) / COMPARISON_FILE).read_text())
    assert told["differences"][0]["is_real"] is False
    finish(study, {arm: {3: 45} for arm in arms})
    assert publish_comparison(Store(study.runs_store), study).address != record.address


def test_what_weights_as_released_tell_is_said_beside_their_numbers(tmp_path):
    arms = ("uniform", "uniform_as_released", "entropy_as_released")
    study = study_in(tmp_path, weightings=arms)
    names = ("sft-uniform", "sft-uniform-as-released-1", "sft-entropy-as-released-1")
    finish(study, {name: {1: 40, 2: 41, 3: 42} for name in names})
    told = as_markdown(compare_study(Store(f"{study.store}/{study.name}"), study))
    assert "Weights as released have another mean than 1" in told
    plain = study_in(tmp_path, weightings=("uniform", "entropy"))
    assert "as released" not in as_markdown(
        compare_study(Store(f"{plain.store}/{plain.name}"), plain)
    )
