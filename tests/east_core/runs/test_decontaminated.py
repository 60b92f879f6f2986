"""What a run makes of training questions that stand in one of its benchmarks."""

import json
from pathlib import Path

from east_core.config import DatasetConfig
from east_core.records import Question
from east_core.runs import start
from east_core.runs.addresses import QUESTIONS_FILE
from east_core.runs.run import Run
from east_core.tables import read_table
from tests.east_core.conftest import sums_config

WORDS = ("melons", "ropes", "seeds", "bowls", "bricks")


def opened(folder: Path, **changes: object) -> Run:
    """A run on five questions, of which the benchmark has the last two, with another name."""
    rows = [
        {"id": f"q{i}", "question": f"Ann has {i} {things}. How many {things}?", "answer": str(i)}
        for i, things in enumerate(WORDS)
    ]
    copies = [{**row, "question": row["question"].replace("Ann", "Bob")} for row in rows[3:]]
    for name, table in (("train", rows), ("test", copies)):
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    questions = DatasetConfig.model_validate({"path": str(folder / "train.jsonl"), **changes})
    benchmarks = {"sums": DatasetConfig(path=str(folder / "test.jsonl"))}
    return Run.open(sums_config(folder, questions=questions, benchmarks=benchmarks))


def frozen(run: Run) -> list[str]:
    record = run.record(run.at.questions)
    return [q.id for q in read_table(run.store.fetch(record) / QUESTIONS_FILE, Question)]


def test_they_are_told_and_change_nothing_by_default(tmp_path: Path) -> None:
    run = opened(tmp_path)
    start.freeze_benchmarks(run)
    record = start.freeze_questions(run)
    assert frozen(run) == ["q0", "q1", "q2", "q3", "q4"]
    assert "decontaminate" not in record.recipe
    assert record.inputs == {}
    assert set(record.facts) == {"questions", "without_gold_answer", "longest_bytes"}
    told = start.overlaps_told(run)
    assert told is not None
    assert told.endswith("leaves them out: 2 in sums (q3 = q3, q4 = q4)")


def test_left_out_they_are_in_the_lineage(tmp_path: Path) -> None:
    run = opened(tmp_path, decontaminate=True)
    start.freeze_benchmarks(run)
    record = start.freeze_questions(run)
    assert frozen(run) == ["q0", "q1", "q2"]
    assert record.facts["in_benchmark"] == {"q3": ["sums", "q3"], "q4": ["sums", "q4"]}
    assert record.facts["questions"] == 3
    assert record.recipe["decontaminate"] is True
    assert record.input_addresses == {"benchmark sums": run.at.benchmark("sums")}
    assert "are left out: 2 in sums" in str(start.overlaps_told(run))
    assert start.freeze_questions(run) == record


def test_where_none_stands_in_a_benchmark_nothing_is_told(tmp_path: Path) -> None:
    run = opened(tmp_path, limit=3)
    start.freeze_benchmarks(run)
    start.freeze_questions(run)
    assert start.overlaps_told(run) is None
