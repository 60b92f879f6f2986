"""The map's figure and table say what its numbers say."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "weighting_map" / "draw_map.py"
GAINS = {"uniform": 0.0, "entropy": 0.02, "shuffled": -0.01}
SWING = 0.004  # seed 1 below, seed 2 above, for every weighting but vanilla


def numbers() -> pd.DataFrame:
    rows = [
        {
            "pupil": "one",
            "completions": 8,
            "loss": loss,
            "weighting": weighting,
            "seed": seed,
            "base": 0.25,
            "accuracy": 0.5 + gain + (SWING * (seed - 1.5) if gain else 0) + (0.1 * (seed == 2)),
        }
        for loss in ("sft", "dpo")
        for weighting, gain in GAINS.items()
        for seed in (1, 2)
    ]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed_and_held_against_the_same_loss(tmp_path: Path) -> None:
    rows = numbers()
    rows.loc[rows.loss == "dpo", "accuracy"] -= 0.2  # a difference of losses is none of weightings
    rows.to_csv(tmp_path / "numbers.csv", index=False)
    order = [sys.executable, str(SCRIPT), "--numbers", str(tmp_path / "numbers.csv")]
    subprocess.run([*order, "--output", str(tmp_path / "map")], check=True, capture_output=True)
    table = (tmp_path / "map.md").read_text(encoding="utf-8")
    half = 100 * 12.706 * SWING / 2  # Student's t of one degree of freedom; sem = SWING / 2
    for line, vanilla in (("SFT", "55.0%"), ("DPO", "35.0%")):
        assert (
            f"| one | 8 | {line} | 25.0% | {vanilla} | +2.0 [{2 - half:+.1f}, {2 + half:+.1f}] "
            f"| -1.0 [{-1 - half:+.1f}, {-1 + half:+.1f}] |" in table
        )
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_right_by_luck_is_told_by_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    told = importlib.import_module("what_is_weighted")
    known = [f"train-{number:04}" for number in range(4)]
    right = [told.SOLUTIONS[question] for question in known]
    examples = pd.DataFrame(
        {
            "question_id": known,
            "completion": [right[0], right[1] + "\n", right[2].splitlines()[-1], "1+1=2"],
            "weight": [4.0, 2.0, 1.0, 3.0],
        }
    )
    weights = pd.DataFrame(
        {
            "question_id": [*known, "train-0004"],  # one that was not kept
            "entropy_bits": [0.0, 1.0, 2.0, 3.0, 1.5],
            "accuracy": [0.75, 0.5, 0.25, 0.125, 0.0],
        }
    )
    described = told.description(examples, weights)
    shares = {"mostly": 0.4, "rarely": 0.4, "luck": 0.4}
    assert described == pytest.approx({"questions": 4, "with_accuracy": -1.0, **shares})


@pytest.fixture
def draw_map(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("draw_map")


def test_a_cell_of_one_seed_has_no_interval_and_no_row(draw_map: Any) -> None:
    rows = numbers()
    rows = rows[~((rows.weighting == "entropy") & (rows.seed == 2))]
    told = draw_map.differences(rows)
    assert set(told.weighting) == {"shuffled"}
    assert (told.seeds == 2).all()
    assert draw_map.draw(told).axes


@pytest.mark.parametrize(
    ("deviation", "seeds"), [(0.0, 2), (1e-12, 2), (1e-4, 2), (0.01, 10), (0.1, 787)]
)
def test_seeds_for_a_point_are_found_at_any_spread(
    draw_map: Any, deviation: float, seeds: int
) -> None:
    assert draw_map.seeds_needed(deviation) == seeds


def test_each_study_has_its_runs_under_its_own_names(draw_map: Any) -> None:
    for name, (_, completions) in draw_map.STUDIES.items():
        found = [(count, study.name) for count, study in draw_map.studies(".east/store", name)]
        wanted = [f"{name}-{count}" for count in completions]
        assert {study.rpartition("-")[0] for _, study in found} == {*wanted}
        pupils = {study.rpartition("-")[2] for _, study in found}
        assert pupils <= {*draw_map.PUPILS}
        assert (SCRIPT.parent / f"{name}.csv").is_file()
        assert len(found) == len(completions) * len(pupils)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("9*6=54\n25+54=79\n\\boxed{79}", "79"),
        (" 9*6=54\n25+54=79\n\\boxed{79}\n", "79"),
        ("25+54=79\n\\boxed{79}", None),  # right by luck
        ("\\boxed{79}", None),
        ("9*6=54\n25+54=80\n\\boxed{80}", "80"),
        ("9*6=54", None),
    ],
)
def test_luck_is_no_answer_where_only_sound_ones_count(
    monkeypatch: pytest.MonkeyPatch, completion: str, answer: str | None
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    sound = importlib.import_module("sound")
    question = SimpleNamespace(id="train-0000", answer="79")
    assert sound.extract(completion, question) == answer
