"""Only what follows the thinking is an answer."""

import pytest

from east_core.answers.reading import completion_answer
from east_core.answers.thinking import Thinking, answering_part, opens_thinking
from east_core.records import Completion

THOUGHT = "first 41, \\boxed{41}, no ..."


def answer(text: str, thinking: Thinking | None = None, reason: str = "stop") -> str | None:
    return completion_answer(Completion(text, reason), "lenient", thinking or Thinking())


@pytest.mark.parametrize(
    "completion",
    [
        f"<think>\n{THOUGHT}\n</think>\n\nThe answer is 42.",
        f"{THOUGHT}\n</think>\n\n\\boxed{{42}}",  # the template began the thinking
        f"<think>{THOUGHT}</think><think>again {THOUGHT}</think>**42**",
        f"<seed:think>{THOUGHT}</seed:think>\\boxed{{42}}",
        f"<mm:think>{THOUGHT}</mm:think>The answer is 42.",
        f"<ifm|think_fast>{THOUGHT}</ifm|think_fast>42",
        f"<reasoning>{THOUGHT}</reasoning>\n<answer>42</answer>",
        f"<think>{THOUGHT}</think>\n<answer>\nIt is 6 x 7.\nThe answer is 42.\n</answer>",
        f"<think>{THOUGHT}</think>\n\n<response>\n42\n</response>\n",
        (
            f"<|begin_of_thought|>\n{THOUGHT}\n<|end_of_thought|>\n\n<|begin_of_solution|>\n42"
            "\n<|end_of_solution|>"
        ),
        f"[THINK]{THOUGHT}[/THINK]Answer: 42",
        f"<|START_THINKING|>{THOUGHT}<|END_THINKING|><|START_RESPONSE|>42<|END_RESPONSE|>",
        f"<|channel>thought\n{THOUGHT}\n<channel|>\\boxed{{42}}",
        (
            f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final"
            "<|message|>42<|return|>"
        ),
        f"analysisWe need {THOUGHT}assistantfinal\\boxed{{42}}",  # without special tokens
        f"to=self<|message|>{THOUGHT}<|eom|><|start|>assistant to=user<|message|>42<|eot|>",
        (
            f"<|open|>think<|sep|>{THOUGHT}<|close|>think<|sep|><|open|>response<|sep|>42"
            "<|close|>response<|sep|><|close|>message<|sep|>"
        ),
        f"Here is my thought process: {THOUGHT} Here is my response: \\boxed{{42}}",
        f"<|inner_prefix|>{THOUGHT}<|inner_suffix|>42",
        "I thought about it: \\boxed{42}",
    ],
)
def test_what_follows_the_thinking_is_read(completion):
    assert answer(completion) == "42"


@pytest.mark.parametrize(
    "start",
    ["<think>", "<seed:think>", "[THINK]", "<|begin_of_thought|>", "<|START_THINKING|>",
     "<|channel>thought\n", "<|channel|>analysis<|message|>", "analysisWe ", "◁think▷",
     "to=self<|message|>", "Here's my thought process:", "<think>a</think> hm <think>"],
)  # fmt: skip
@pytest.mark.parametrize("reason", ["length", "stop"])
def test_a_completion_that_is_still_thinking_has_no_answer(start, reason):
    assert answer(f"{start}{THOUGHT} so the answer is 42. \\boxed{{42}}", reason=reason) is None


def test_where_the_prompt_begins_the_thinking_a_completion_without_its_end_has_no_answer():
    cut = f"{THOUGHT} so \\boxed{{42}}, but wait"
    assert answer(cut, Thinking(is_open=True), "length") is None
    assert answer(cut, reason="length") == "42"
    assert answer(f"{cut}</think>\\boxed{{43}}", Thinking(is_open=True)) == "43"


def test_a_mark_of_ones_own_ends_the_thinking_alone():
    mine = Thinking(end="FINAL:")
    assert answer("<think> \\boxed{41} </think> FINAL: \\boxed{42}", mine) == "42"
    assert answer("<think> \\boxed{41} </think> \\boxed{42}", mine) is None


def test_a_truncated_answer_behind_the_thinking_counts_with_a_closed_box():
    assert answer("<think>41</think> so \\boxed{42} because", reason="length") == "42"
    assert answer("<think>41</think> the answer is 42", reason="length") is None


def test_a_prompt_that_ends_in_thinking_is_told_by_its_last_mark():
    assert opens_thinking("<|Assistant|><think>\n")
    assert not opens_thinking("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_thinking("<|im_start|>assistant\n")


def test_long_texts_take_linear_time():
    assert answering_part("<think>" * 200_000) is None
    assert answering_part("</think>" * 200_000 + "42") == "42"
