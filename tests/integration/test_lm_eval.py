"""The real lm-evaluation-harness in an environment of its own, on tasks over built-in questions.

EAST_LM_EVAL_PYTHON names the Python that has it (docs/evaluation.md); without it these are skipped.
"""

import json
import os
from pathlib import Path

import pytest

from east_core.config import SYSTEM_PROMPT, EvaluationRecipe, HarnessTask, Resources, RunConfig
from east_core.engines.lm_eval.environment import PYTHON, packages
from east_core.engines.lm_eval.harness import LmEval
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import ConfigError
from east_core.evaluation.estimates import compare_outcomes
from east_core.inputs.questions import builtin_path
from east_core.records import Prediction
from east_core.runs import scores, start
from east_core.runs.harness_tasks import freeze_tasks, score_task
from east_core.runs.predictions import read_outcomes, read_predictions
from east_core.runs.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
COUNT = 30
# The same text as on the page that says how to write one.
GENERATED = """
task: our_word_problems
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n\\n\\n"], do_sample: false, max_gen_toks: 96}
filter_list:
  - name: boxed
    filter:
      - {function: regex, regex_pattern: 'boxed\\{(.*?)\\}'}
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
CHOICES = """
task: our_choices
dataset_path: json
dataset_kwargs: {data_files: {test: test.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{['none', answer]}}"
doc_to_target: 1
metric_list: [{metric: acc}, {metric: acc_norm}]
"""
BOTH = "group: ours\ntask: [our_word_problems, our_choices]\n"
DEGREES = GENERATED.replace("exact_match, aggregation: mean", "bleu, aggregation: bleu").replace(
    "our_word_problems", "our_degrees"
)
HARNESS = LmEval(on_line=lambda _: None)


@pytest.fixture(scope="module")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = os.environ.get(PYTHON)
    if not python or "lm_eval" not in packages(python):
        pytest.skip(f"lm-evaluation-harness is not there: {PYTHON} names no Python that has it")
    folder = tmp_path_factory.mktemp("tasks")
    for name, text in (("g", GENERATED), ("c", CHOICES), ("b", BOTH), ("d", DEGREES)):
        (folder / f"{name}.yaml").write_text(text)
    lines = builtin_path("test.jsonl").read_text().splitlines(keepends=True)
    (folder / "test.jsonl").write_text("".join(lines[:COUNT]))
    return folder


def task(folder: Path, name: str, **changes: object) -> HarnessTask:
    given = {"task": name, "include_path": str(folder), **changes}
    return HarnessTask.model_validate(given)


def in_order(rows: list[Prediction]) -> list[tuple[str, bool]]:
    """The text and grade of each row; the harness's answers lack the space at their ends."""
    return [(row.completion.strip(), row.is_correct) for row in rows]


def test_a_checkpoint_scores_as_on_the_same_questions_of_ours(
    tmp_path: Path, tasks_folder: Path
) -> None:
    theirs = task(tasks_folder, "our_word_problems", system_prompt=SYSTEM_PROMPT)
    ours = {"path": str(tasks_folder / "test.jsonl")}
    config = RunConfig.model_validate(
        {
            "store": str(tmp_path),
            "benchmarks": {"ours": ours, "theirs": theirs},
            "evaluation": EvaluationRecipe(max_tokens=96),
            "resources": Resources(device="cpu", engines=1, kv_cache_gib=0.25),
        }
    )
    run = Run.open(config)
    start.claim(run)
    start.register_base_model(run)
    start.freeze_benchmarks(run)
    freeze_tasks(run, HARNESS)
    with VllmSampler(config.resources) as sampler:
        first = scores.score(run, 0, "ours", sampler)
        second = score_task(run, 0, "theirs", HARNESS, sampler)
    rows = [read_predictions(run.store, each) for each in (first, second)]
    assert in_order(rows[0]) == in_order(rows[1])
    assert 0 < second.facts["accuracy"]["value"] == first.facts["accuracy"]["value"] < 1
    assert second.facts["harness"]["metric"] == "exact_match,boxed"
    assert second.facts["mean_tokens"]["value"] > 10
    outcomes = read_outcomes(run.store, second)
    assert compare_outcomes(outcomes, outcomes).n == COUNT


def test_choices_are_read_with_their_texts(tasks_folder: Path) -> None:
    found = HARNESS.survey(task(tasks_folder, "our_choices", limit=5))
    assert found.metric == "acc,none"
    rows = list(map(json.loads, builtin_path("test.jsonl").read_text().splitlines()[:5]))
    for row, question, answered in zip(rows, found.questions, found.predictions, strict=True):
        assert (question.prompt, question.answer) == (row["question"], row["answer"])
        assert answered.answer in ("none", row["answer"])
        assert answered.is_correct == (answered.answer == row["answer"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ours", "task ours is 2 tasks, .*: our_choices, our_word_problems"),
        ("our_degrees", "our_degrees has no outcome that is 0 or 1 .*bleu,boxed"),
        ("our_word_problem", "failed on task our_word_problem .*Tasks not found: our_word_prob"),
    ],
)
def test_what_is_no_benchmark_is_refused_in_one_line(
    tasks_folder: Path, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        HARNESS.survey(task(tasks_folder, name))
    assert "\n" not in str(refused.value)
