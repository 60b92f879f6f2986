"""What records state reads as people write it."""

import dataclasses

from east_core.reports.text import FOR_PROGRAMS, LABELS, labelled_facts
from east_core.weighting.round_statistics import RoundStatistics


def test_every_statistic_of_a_round_has_words_of_its_own() -> None:
    fields = {field.name for field in dataclasses.fields(RoundStatistics)}
    assert fields - FOR_PROGRAMS - LABELS.keys() == set()
    assert not any("_" in label.replace("max_tokens", "") for label in LABELS.values())


def test_facts_are_told_as_people_write_them() -> None:
    facts = {
        "label_free": False,
        "histogram_bin_bits": 0.5,
        "entropy_histogram": [1, 2],
        "weight_quantiles": {"p0": 0.5, "p100": 2.0, "p25": 0.75, "p5": 0.625},
        "dropped": {"all_wrong": 3, "unanimous": 1},
        "accuracy": {"value": 0.25, "low": 0.125, "high": 0.5, "n": 8},
        "examples": 12,
    }
    assert list(labelled_facts(facts)) == [
        ("accuracy", "0.25"),
        ("dropped questions", "all wrong 3, unanimous 1"),
        ("examples", "12"),
        ("trained without gold answers", "no"),
        ("weights, p0", "0.5"),
        ("weights, p5", "0.625"),
        ("weights, p25", "0.75"),
        ("weights, p100", "2"),
    ]
