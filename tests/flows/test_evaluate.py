"""Evaluating any checkpoint, with a scripted sampler; questions, store and Prefect are real."""

import json
from pathlib import Path

import pytest

from east_core.runs.summary import summarise
from east_core.store import Store
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model
from flows.evaluate import EvaluationForm, evaluate
from flows.self_training import self_training_form
from flows.server.forms import RunForm
from tasks.engines import Engines, use_engines

pytestmark = pytest.mark.usefixtures("prefect_api")


def questions(folder: Path) -> str:
    file = folder / "questions.jsonl"
    rows = ({"question": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(40))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_a_round_of_a_run_scores_as_it_did_in_the_run(tmp_path: Path) -> None:
    shared = {"store": str(tmp_path / "store"), "benchmarks": {"sums": questions(tmp_path)}}
    form = RunForm(
        name="line",
        rounds=1,
        model=str(write_model(tmp_path / "model", 0.4)),
        questions=questions(tmp_path),
        **shared,
    )
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training_form(form)
        evaluate(EvaluationForm(name="again", checkpoint="run:line/round-01", **shared))
    store = Store(shared["store"])
    (scored,) = summarise(store, "again")
    assert scored.accuracy["sums"] == summarise(store, "line")[1].accuracy["sums"]
