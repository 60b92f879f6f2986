"""Whole runs on each kind of task: sampling in steps, weighing, training, scoring."""

import dataclasses
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from east_core.config import DatasetConfig, EvaluationRecipe, SamplingRecipe, SftRecipe
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Completion, Question, SampledQuestion
from east_core.reports import round_report
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.runs.weights import weight_files
from east_core.tables import read_tables
from east_core.testing.fakes import InstantTrainer
from east_core.weighting.weighed import WeighedQuestion
from flows.browser.app import browser_app
from tests.east_core.answers.sandboxed import needs_sandbox
from tests.east_core.conftest import finish, sums_config

LAST_WORD = """
def extract(completion, question):
    return completion.split()[-1]

def key(answer):
    return answer.strip(".").lower()
"""


def fenced(expression: str) -> str:
    return f"```python\ndef f(x):\n    return {expression}\n```"


# the grading, a gold answer, and completions: two right ones, two that say one wrong thing, another
KINDS: dict[str, tuple[dict[str, Any], Any, tuple[str, ...]]] = {
    "choice": ({}, "B", (r"\boxed{B}", r"\boxed{(B) cells}", r"\boxed{C}", r"\boxed{(C)}",
                         r"\boxed{D}")),
    "text": ({}, "Old Town", (r"\boxed{the old town}", r"\boxed{Old-Town}", r"\boxed{The bridge}",
                              r"\boxed{bridge}", r"\boxed{a road}")),
    "number": ({"relative": 0.01}, "9.81", (r"\boxed{9.8}", r"\boxed{9.81}", r"\boxed{7}",
                                            r"\boxed{7.0}", r"\boxed{8}")),
    "python": ({"functions": "mine"}, "blue", ("It is blue", "Blue.", "It is red", "Red", "green")),
    "code": ({"seconds": 2}, ["assert f(2) == 4", "assert f(3) == 9"],
             tuple(map(fenced, ("x * x", "x ** 2", "x + 2", "2 + x", "x")))),
}  # fmt: skip


@dataclasses.dataclass
class Scripted:
    """Gives every question the same completions, over and over."""

    texts: Sequence[str]

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        count = settings.samples_per_question
        texts = [self.texts[index % len(self.texts)] for index in range(count)]
        given = tuple(Completion(text, "stop", token_count=3) for text in texts)
        for shard in shards:
            yield [SampledQuestion(question, given) for question in shard]

    def release(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=needs_sandbox if kind == "code" else ()) for kind in KINDS]
)
def test_a_run_on_a_kind_of_task(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_report, "publish", lambda *_: None)  # pictures take most of the time
    settings, gold, texts = KINDS[kind]
    (tmp_path / "mine.py").write_text(LAST_WORD)
    rows = [{"id": f"q{n}", "question": f"Which, {n}?", "answer": gold} for n in range(3)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if kind == "python":
        settings = {**settings, "folder": str(tmp_path)}
    questions = DatasetConfig(
        path=str(path),
        answer_format="tests" if kind == "code" else "plain",
        grading={"kind": kind, **settings},
        allow_code_execution=kind == "code",
    )
    config = sums_config(
        tmp_path,
        rounds=2,
        questions=questions,
        benchmarks={"same": questions},
        sampling=SamplingRecipe(
            samples_per_question=10, adaptive={"first": 5, "step": 5, "tolerance_bits": 0.01}
        ),
        evaluation=EvaluationRecipe(samples_per_question=5),
        training=SftRecipe(global_batch_size=2),
    )
    run = Run.open(config)
    finish(run, Scripted(texts), InstantTrainer())
    weighed = weight_files(run, run.record("sums/round-02/weights"))
    for row in read_tables(weighed, WeighedQuestion):
        assert [(len(c.members), c.is_correct) for c in row.clusters if c.is_correct] == [(4, True)]
        assert sorted(len(c.members) for c in row.clusters) == [2, 4, 4]
        assert (row.kept, row.weight) == (True, 1.0)
    rounds = summarise(run.store, config.name)
    assert [summary.accuracy["same"].value for summary in rounds] == [1.0] * 3
    page = TestClient(browser_app(run.store)).get("/run/sums/samples/2")
    assert page.status_code == 200
    assert html.escape(texts[0].splitlines()[0], quote=False) in html.unescape(page.text)
