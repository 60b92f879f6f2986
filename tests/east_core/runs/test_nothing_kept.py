"""A round that keeps no question: the run ends, and what is shown of it says why."""

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from east_core.errors import NothingToLearn
from east_core.records import Completion, FinishReason, SampledQuestion
from east_core.reports.html import render
from east_core.runs.run import Run
from east_core.runs.summary import summarise, summarise_records
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.commands import console
from tests.east_core.conftest import finish, sums_config


class Saying(ScriptedSampler):
    """Says one thing, in which GOLD is the right answer."""

    def __init__(self, text: str, finish_reason: FinishReason) -> None:
        super().__init__()
        self.text, self.finish_reason = text, finish_reason

    def sample(self, *arguments: Any) -> Iterator[list[SampledQuestion]]:
        for shard in super().sample(*arguments):
            yield [dataclasses.replace(item, completions=self._said(item)) for item in shard]

    def _said(self, item: SampledQuestion) -> tuple[Completion, ...]:
        text = self.text.replace("GOLD", item.question.answer or "")
        return tuple(
            dataclasses.replace(completion, text=text, finish_reason=self.finish_reason)
            for completion in item.completions
        )


@pytest.mark.parametrize(
    ("text", "finish_reason", "share", "setting"),
    [
        ("first, we add", "length", "100.0% truncated", "sampling.max_tokens"),
        ("The answer is GOLD.", "stop", "100.0% with an answer but no box", "training.targets"),
        ("So we add them, and that is all there is to say.", "stop", "100.0% without an answer",
         "sampling.system_prompt"),
        ("so \\boxed{-7}", "stop", "100.0% wrong", "model.name"),
        ("so \\boxed{GOLD}", "stop", "100.0% correct", "sampling.temperature"),
    ],
)  # fmt: skip
def test_what_is_shown_of_the_run_says_why(
    tmp_path, monkeypatch, text, finish_reason, share, setting
):
    run = Run.open(sums_config(tmp_path, rounds=1))
    for _ in range(2):  # started again, it ends the same way
        with pytest.raises(NothingToLearn, match=f"{share}.*{setting}"):
            finish(run, Saying(text, finish_reason), InstantTrainer())
    rounds = summarise(run.store, "sums")
    out = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=out, width=80))
    console.print_rounds("sums", rounds)
    for shown in (" ".join(out.getvalue().split()), render(run.store, "sums")):
        assert share in shown
        assert setting in shown


def test_the_shares_of_a_round_are_told_and_records_without_them_are_shown(fake_run):
    run = fake_run(rounds=1)
    last = summarise(run.store, "sums")[-1]
    assert last.completions == "0.0% truncated, 0.0% without an answer"
    old = [_without_shares(record) for record in run.store.records("sums")]
    assert summarise_records(old, "sums", "")[-1] == dataclasses.replace(
        last, unboxed_share=None, unboxed_correct_share=None, overhead_seconds=None
    )


def _without_shares(record: Any) -> Any:
    facts = {name: fact for name, fact in record.facts.items() if not name.startswith("unboxed")}
    return dataclasses.replace(record, facts=facts)
