"""lm-evaluation-harness as a child: what it is asked, and what is believed of its files.

The harness is a stand-in that writes its files (tests/lm_eval_stand_in.py), except in
tests/integration.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from east_core.config import HarnessTask, Resources
from east_core.engines.lm_eval import output as output_of
from east_core.engines.lm_eval.harness import LmEval
from east_core.engines.lm_eval.output import Output, chosen_metric, read_output
from east_core.errors import ConfigError, DataError, EngineError
from east_core.protocols import HarnessJob, ModelSource, PromptFormat
from east_core.testing.fakes import write_model
from tests import lm_eval_stand_in

STRICT = "exact_match,strict-match"
Written = Callable[..., Output]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Call it for what is read of the files that the stand-in writes, spoilt in the way named."""

    def write(failure: str = "", task: str = "sums", skill: float = 1.0) -> Output:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        options = [f"--tasks={task}", "--model=hf", f"--output_path={folder}", "--log_samples"]
        model = '--model_args={"pretrained": "somewhere"}'
        monkeypatch.setattr(sys, "argv", ["lm_eval", *options, model])
        monkeypatch.setenv("STAND_IN", failure)
        monkeypatch.setattr(lm_eval_stand_in, "skill_of", lambda _: skill)
        lm_eval_stand_in.main()
        return read_output(folder, HarnessTask(task=task), "last output: Bye")

    return write


def job(folder: Path, **changes: object) -> HarnessJob:
    return HarnessJob(
        task=HarnessTask.model_validate({"task": "sums", **changes}),
        metric=STRICT,
        model=ModelSource(write_model(folder / "a, model", 0.5), "0" * 64),
        prompt=PromptFormat(chat_template="{{ ours }}", options={"enable_thinking": False}),
        resources=Resources(device="cpu"),
        max_context=512,
    )


def quiet() -> LmEval:
    return LmEval(on_line=lambda _: None)


def test_a_survey_tells_the_questions_and_the_first_outcome_of_0_or_1(
    stand_in_lm_eval: Path,
) -> None:
    found = quiet().survey(HarnessTask(task="sums", limit=5, num_fewshot=3))
    assert found.metric == STRICT
    first = found.questions[0]
    assert (first.prompt, first.answer) == ("0 + 1 = ?", "1")
    assert [question.id.rsplit("-", 1)[0] for question in found.questions] == [
        f"sums-{number}" for number in range(5)
    ]
    config = {"task": "sums", "output_type": "generate_until", "doc_to_text": "{{question}}"}
    described = {**config, "process_docs": "<function docs>"}
    assert found.task == {"lm_eval": "0.4.12", "version": "3.0", "config": described}
    (call,) = map(json.loads, stand_in_lm_eval.read_text().splitlines())
    assert (call["model"], call["num_fewshot"], call["limit"]) == ("dummy", 0, 5.0)


def test_a_score_gives_each_question_its_outcome(tmp_path: Path, stand_in_lm_eval: Path) -> None:
    asked = job(
        tmp_path, system_prompt="-be brief", max_tokens=7, seed=3, include_path=str(tmp_path)
    )
    scored = quiet().score(asked)
    outcomes = [row.is_correct for row in scored.predictions]
    assert outcomes == [lm_eval_stand_in.is_right(number, 0.5) for number in range(40)]
    right = outcomes.index(True)
    assert scored.predictions[right].answer == str(right + 1)
    assert scored.predictions[outcomes.index(False)].answer is None  # [invalid]
    assert scored.setup == {"backend": "hf", "transformers": "5.19.0", "num_fewshot": 5}
    (call,) = map(json.loads, stand_in_lm_eval.read_text().splitlines())
    arguments = call["model_args"]
    assert arguments.pop("pretrained").endswith("/model")
    assert arguments == {
        "dtype": "float32",
        "max_length": 512,
        "chat_template_args": {"enable_thinking": False},
    }
    told = {name: call[name] for name in ("system_instruction", "gen_kwargs", "seed", "batch_size")}
    assert told == {
        "system_instruction": "-be brief",
        "gen_kwargs": "max_gen_toks=7",
        "seed": "3",
        "batch_size": "8",
    }
    assert call["apply_chat_template"]
    assert call["template"] == "{{ ours }}"
    assert call["cwd"] == str(tmp_path)


def test_choices_are_told_by_their_texts(written: Written) -> None:
    right, wrong = (written(task="letters", skill=skill).graded("acc,none")[0] for skill in (1, 0))
    assert right[0].completion == "-1.500  no\n-0.500  yes"
    assert (right[0].answer, right[0].target, right[1]) == ("yes", "yes", True)
    assert (wrong[0].answer, wrong[1]) == ("no", False)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, STRICT),
        ("exact_match", STRICT),
        ("exact_match,flexible", "exact_match,flexible"),
        ("bleu", "sums has no metric bleu; it has words,strict-match, exact_match,strict-match"),
        ("words", r"words,strict-match is not 0 or 1 .* those that are: exact_match,strict-match"),
    ],
)
def test_the_metric_is_the_one_that_is_named(
    written: Written, given: str | None, found: str
) -> None:
    task, metrics = HarnessTask(task="sums", metric=given), written().metrics()
    if given in (None, "exact_match", "exact_match,flexible"):
        assert chosen_metric(task, metrics) == found
    else:
        with pytest.raises(ConfigError, match=found):
            chosen_metric(task, metrics)


def test_a_task_without_right_and_wrong_is_refused(stand_in_lm_eval: Path) -> None:
    with pytest.raises(ConfigError, match=r"degrees has no outcome that is 0 or 1 .*bleu,none"):
        quiet().survey(HarnessTask(task="degrees"))


def test_a_share_that_a_stand_in_leaves_at_0_is_not_taken_for_right_and_wrong() -> None:
    zeros = {"rougeL,none": True, "f1,none": True, "acc,none": True}
    assert chosen_metric(HarnessTask(task="t"), zeros) == "acc,none"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("nan", "exact_match of document 3 is NaN, which is not 0 or 1"),
        ("half", r"exact_match of document 3 is 0\.5"),
        ("two", "exact_match of document 3 is 2"),
        ("a list", r"exact_match of document 3 is \[1\]"),
        ("no outcome", "exact_match of document 3 is None"),
        ("long", f"a line of more than {output_of.MAX_LINE_BYTES} bytes"),
        ("twice", "has a document twice"),
        ("path", "line 4 of samples_.* doc_hash is no hash"),
        ("negative", "line 4 .*doc_id '-1' is no number of a document"),
        ("nothing asked", "line 4 .*nothing was asked"),
        ("no lists", "line 4 of samples_sums"),
        ("no json", "line 4 of samples_sums"),
        ("a number", "line 4 of samples_sums"),
        ("deep", "line 4 of samples_sums"),
        ("binary", "line 4 of samples_sums"),
        ("empty line", "line 4 of samples_sums"),
        ("link", "samples_sums_.* is no regular file of its own folder"),
    ],
)
def test_what_can_t_be_believed_is_refused_in_one_line(
    written: Written, failure: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        written(failure).graded(STRICT)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_halves_of_surrogate_pairs_do_no_harm(written: Written) -> None:
    row, _ = written("surrogate").graded(STRICT)[3]
    assert (row.completion, row.target) == ("?", "?")


def test_missing_files_are_told_with_the_last_output(written: Written) -> None:
    with pytest.raises(EngineError, match=r"left 0 files samples_sums_\*.jsonl .*output: Bye"):
        written("no samples")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"configs": {}}', '{"configs": {"sums": 1}}'])
def test_results_that_can_t_be_believed_are_refused(written: Written, text: str) -> None:
    found = written()
    results = next(found.samples.parent.glob("results_*"))
    results.write_text(text)
    with pytest.raises(DataError, match=r"results_2026-11-25.json can't be read"):
        read_output(found.samples.parents[1], HarnessTask(task="sums"), "")


@pytest.mark.parametrize(
    ("task", "failure", "message"),
    [
        ("many", "", "task many is 2 tasks, each of which is a benchmark of its own: one, two"),
        ("summs", "", "failed on task summs .*ValueError: Tasks not found: summs"),
        ("sums", "crash", "failed on task sums .*: torch.OutOfMemoryError: CUDA out of memory"),
        ("sums", "loud", "failed on task sums .*Error: xxx"),
        ("sums", "silence", "left 0 files results_.*output: Could not save results"),
    ],
)
def test_check_refuses_what_could_not_be_scored(
    stand_in_lm_eval: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    failure: str,
    message: str,
) -> None:
    monkeypatch.setenv("STAND_IN", failure)
    with pytest.raises(ConfigError, match=message) as refused:
        quiet().survey(HarnessTask(task=task))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1_200


def test_a_folder_of_tasks_that_is_not_there_is_told(stand_in_lm_eval: Path) -> None:
    with pytest.raises(ConfigError, match="include_path /nowhere is no folder"):
        quiet().survey(HarnessTask(task="sums", include_path="/nowhere"))


def test_without_the_harness_the_way_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EAST_LM_EVAL_PYTHON", "/nowhere/python")
    with pytest.raises(ConfigError, match=r"no Python that can be started .*pip install .lm_eval"):
        quiet().survey(HarnessTask(task="sums"))
    monkeypatch.setattr("east_core.engines.lm_eval.environment.packages", lambda _: [])
    with pytest.raises(
        ConfigError, match="lm-evaluation-harness, which is not in EAST_LM_EVAL_PYTHON"
    ):
        quiet().survey(HarnessTask(task="sums"))


def test_vllm_is_asked_for_only_where_it_is(
    tmp_path: Path, stand_in_lm_eval: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["lm_eval", "vllm"]
    monkeypatch.setattr("east_core.engines.lm_eval.harness.packages", lambda _: there)
    assert quiet().score(job(tmp_path, backend="vllm")).setup["backend"] == "vllm"
    assert quiet().score(job(tmp_path)).setup["backend"] == "hf"  # on a CPU
    there.remove("vllm")
    with pytest.raises(ConfigError, match="backend vllm is not in"):
        quiet().score(job(tmp_path, backend="vllm"))


def test_a_harness_that_takes_too_long_is_ended(
    tmp_path: Path, stand_in_lm_eval: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "hang")
    asked = job(tmp_path)
    limited = Resources(device="cpu", stage_timeout_hours=2 / 3600)
    with pytest.raises(EngineError, match="took over 2 s on task sums; last output: "):
        quiet().score(HarnessJob(asked.task, STRICT, asked.model, asked.prompt, limited))
