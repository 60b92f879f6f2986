"""The example of a grader of one's own does what docs/grading.md says of it."""

import json
import re
from pathlib import Path

import pytest

from east_core.answers.grading import Grader
from east_core.config.toml_file import load_config
from flows.commands import check
from flows.commands.weigh import weigh

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_grader"
PAGE = (ROOT / "docs" / "grading.md").read_text("utf-8")


def test_the_page_shows_the_files_of_the_example() -> None:
    shown = re.findall(r"^```\w*\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for name in ("grader.py", "responses.jsonl"):
        assert (EXAMPLE / name).read_text("utf-8") in shown
    settings = next(block for block in shown if block.startswith("[questions.grading]"))
    run = (EXAMPLE / "run.toml").read_text("utf-8")
    assert all(table in run for table in settings.split("\n\n"))


def test_the_responses_are_graded_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLE)
    out = tmp_path / "weights.jsonl"
    weigh(Path("responses.jsonl"), out, grading="python:functions=grader", processes=1)
    stickers, prize = map(json.loads, out.read_text().splitlines())
    assert [c["count"] for c in stickers["clusters"]] == [3, 1, 1]
    assert [(c["count"], c["is_correct"]) for c in prize["clusters"]] == [(2, True), (2, False)]


def test_the_gold_answers_are_tried_as_the_page_says() -> None:
    config = load_config(EXAMPLE / "run.toml")
    with Grader(processes=1) as grader:
        line = check._check_questions(config.questions, grader)
    assert f"questions  ok: {line}".splitlines()[:3] == [
        row for row in PAGE.splitlines() if row.startswith(("questions  ok", "  train-"))
    ]
