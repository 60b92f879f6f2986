"""What identifies samples and checkpoints: settings that came later count once they are used."""

import pytest
from pydantic import ValidationError

from east_core.config import DatasetConfig, HarnessTask, RunConfig, SamplingRecipe
from east_core.protocols import GenerationSettings, PromptFormat

BEFORE = {
    "samples_per_question": 8,
    "temperature": 1.0,
    "top_p": 1.0,
    "max_tokens": 64,
    "system_prompt": "Reason.",
    "stop": ("\n\n",),
    "seed": 7,
}


def test_settings_that_came_later_leave_old_fingerprints_valid() -> None:
    assert GenerationSettings(**BEFORE).identity() == BEFORE
    kept = {"samples_per_question", "temperature", "top_p", "max_tokens", "system_prompt", "stop"}
    assert set(SamplingRecipe().identity()) == kept | {"adaptive"}
    assert set(RunConfig().identity()["sampling"]) == kept | {"adaptive"}


def test_a_grading_is_left_out_while_it_is_mathematics() -> None:
    assert "grading" not in DatasetConfig().identity()
    assert "grading" not in RunConfig().identity()["benchmarks"]["word-problems"]
    chosen = DatasetConfig(grading={"kind": "choice"})
    assert chosen.identity()["grading"] == {"kind": "choice"}


def test_settings_that_are_used_count() -> None:
    plain = GenerationSettings(**BEFORE)
    used = [
        GenerationSettings(**BEFORE, top_k=20),
        GenerationSettings(**BEFORE, min_p=0.1),
        GenerationSettings(**BEFORE, repetition_penalty=1.1),
        GenerationSettings(**BEFORE, stop_token_ids=(5,)),
        GenerationSettings(**BEFORE, max_context=512),
        GenerationSettings(**BEFORE, thinking_budget=512),
        GenerationSettings(**BEFORE, thinking_budget=512, thinking_end="[/THINK]"),
        GenerationSettings(**BEFORE, prompt=PromptFormat(date="2026-11-25")),
        GenerationSettings(**BEFORE, prompt=PromptFormat(options={"enable_thinking": False})),
    ]
    told = [settings.identity() for settings in (plain, *used)]
    assert all(one != other for i, one in enumerate(told) for other in told[:i])


def test_the_room_that_an_engine_has_does_not_count() -> None:
    assert GenerationSettings(**BEFORE, needed_context=512).identity() == BEFORE
    assert GenerationSettings(**BEFORE, logprobs=True).identity() == BEFORE


def test_decontamination_counts_once_it_is_asked_for() -> None:
    assert "decontaminate" not in DatasetConfig().identity()
    assert DatasetConfig(decontaminate=True).identity()["decontaminate"] is True


def test_a_benchmark_is_not_decontaminated() -> None:
    with pytest.raises(ValidationError, match="set decontaminate under questions"):
        RunConfig(benchmarks={"sums": DatasetConfig(path="a.jsonl", decontaminate=True)})


def test_the_demos_questions_are_no_benchmark_or_set_by_default() -> None:
    with pytest.raises(ValidationError, match="benchmark 'sums' has no path: name its questions'"):
        RunConfig.model_validate({"benchmarks": {"sums": {"limit": 5}}})
    with pytest.raises(ValidationError, match="set 'sums' has no path: name its questions'"):
        RunConfig.model_validate({"questions": {"sets": {"sums": {"share": 1}}}})


def test_a_harness_task_is_what_it_asks_and_not_where_or_how_fast() -> None:
    task = HarnessTask(task="gsm8k")
    elsewhere = HarnessTask(task="gsm8k", include_path="tasks", backend="vllm", batch_size=4)
    assert elsewhere.asked() == task.asked()
    others = [
        {"metric": "exact_match"},
        {"num_fewshot": 0},
        {"limit": 5},
        {"apply_chat_template": False},
        {"system_prompt": "Reason."},
        {"max_tokens": 512},
        {"seed": 0},
    ]
    told = [HarnessTask.model_validate({"task": "gsm8k", **other}).asked() for other in others]
    assert all(one != task.asked() for one in told)


def test_settings_are_read_again_as_they_were() -> None:
    task = HarnessTask(task="arc_easy", metric="acc_norm,none", batch_size=8)
    run = RunConfig(benchmarks={"ours": DatasetConfig(path="a.jsonl"), "theirs": task})
    assert RunConfig.model_validate_json(run.model_dump_json()) == run
