"""`east check` tells the context that the run will ask its engines for."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from east_core.config import HarnessTask, Resources
from east_core.errors import ConfigError
from east_core.runs import start
from east_core.runs.room import needed_context
from east_core.runs.run import Run
from flows.commands import check
from tests.east_core.conftest import sums_config

FACTS = SimpleNamespace(
    architecture="Fake",
    context=100_000,
    vocabulary=300,
    turn_end=(0, "<end>"),
    stops={0: "<end>"},
    recommended={},
)


def _bytes_of(prompts: Iterable[str], *_: object) -> Iterator[int]:
    return (len(prompt.encode()) for prompt in prompts)


def test_the_context_that_is_told_is_the_one_that_the_run_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SimpleNamespace(facts=FACTS, prompt_lengths=_bytes_of)
    monkeypatch.setattr(check, "_inspected", lambda *_: model)
    monkeypatch.setattr("flows.commands.check.base_model.check_model_folder", lambda *_: None)
    run = Run.open(sums_config(tmp_path, rounds=1))
    lines = list(check.check_run(run.config))
    told = [line for line in lines if line.startswith("context")]
    assert any("greedy only; evaluation.samples_per_question = 8 adds" in each for each in lines)
    start.freeze_questions(run)
    start.freeze_benchmarks(run)
    assert told[0].endswith(f"the engine keeps {needed_context(run)}")


def test_the_questions_that_stand_in_a_benchmark_are_told_and_not_counted(tmp_path: Path) -> None:
    config = sums_config(tmp_path, rounds=1)
    count, told, _ = check._check_overlaps(config)
    assert count == 40
    assert "questions.decontaminate = true leaves them out: 40 in sums (q0 = q0, " in told
    few = config.questions.model_copy(update={"limit": 10})
    clean = config.questions.model_copy(update={"decontaminate": True})
    changed = {"questions": clean, "benchmarks": {"few": few}}
    count, told, _ = check._check_overlaps(config.model_copy(update=changed))
    assert count == 30
    assert "are left out: 10 in few" in told


def test_a_task_of_the_harness_is_surveyed_and_held_against_the_training_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in_lm_eval: Path
) -> None:
    model = SimpleNamespace(facts=FACTS, prompt_lengths=_bytes_of)
    monkeypatch.setattr(check, "_inspected", lambda *_: model)
    monkeypatch.setattr("flows.commands.check.base_model.check_model_folder", lambda *_: None)
    config = sums_config(tmp_path, benchmarks={"theirs": HarnessTask(task="sums", limit=30)})
    told = list(check.check_run(config))
    assert not any("greedy only" in line for line in told)  # they are sampled as the task says
    of_task = "lm_eval 0.4.12, task sums 3.0: 30 questions, right by exact_match,strict-match"
    assert f"benchmark  ok: theirs: {of_task}" in told
    assert any(line.startswith("overlap ") and "30 in theirs" in line for line in told)
    assert len(stand_in_lm_eval.read_text().splitlines()) == 1
    unknown = {"benchmarks": {"theirs": HarnessTask(task="summs")}}
    with pytest.raises(ConfigError, match=r"failed on task summs .*ValueError: Tasks not found"):
        list(check.check_run(config.model_copy(update=unknown)))


@pytest.mark.parametrize(
    ("device", "settings", "is_told"),
    [
        ("cuda", {}, True),
        ("cpu", {}, False),
        ("cuda", {"zero_stage": 0}, False),
        ("cuda", {"processes": 2}, False),
        ("cuda", {"offload": "optimizer"}, False),
    ],
)
def test_a_lone_gpu_is_told_that_there_is_nothing_to_shard(
    monkeypatch: pytest.MonkeyPatch, device: str, settings: dict[str, object], is_told: bool
) -> None:
    monkeypatch.setattr(check, "device_of", lambda _: device)
    assert check._shards_nothing(Resources.model_validate(settings)) == is_told
