r"""What of a completion is its answer, and what is the thinking before it.

Reasoning models think first and then answer. Only what follows the end of the thinking counts: a
number that was considered on the way is no answer, and a completion that was cut off while it was
thinking has none.

The families' marks, as their chat templates (TRL's) and vLLM's reasoning parsers have them:

    <think> ... </think>                         DeepSeek-R1, Qwen3, QwQ, GLM, Nemotron ...
    <seed:think>, <mm:think>, <ifm|think> ...    Seed-OSS, MiniMax-M3, K2
    <reasoning>, <thought>, <thinking>           R1-Zero-like prompts, EXAONE Deep
    <|begin_of_thought|> ... <|end_of_thought|>  OpenThinker, Sky-T1
    [THINK] ... [/THINK]                         Magistral
    <|START_THINKING|> ... <|END_THINKING|>      Command A Reasoning
    <|channel>thought ... <channel|>             Gemma 4
    channels analysis, commentary -> final       gpt-oss, also where special tokens are left out
    to=self -> to=user                           Muse Glimmer
    Here is my thought process: -> response:     Granite 3.2
    <|inner_prefix|> ... <|inner_suffix|>        Apertus

Many templates begin the thinking inside the prompt; such a completion has an end mark alone, or
none where it was cut off. `opens_thinking` finds that out from a rendered prompt.
"""

import re
from dataclasses import dataclass

_TAG = r"(?:seed:|mm:|ifm\|)?(?:think|thinking|thought|reasoning)(?:_fast|_faster)?"
_STARTS = (
    rf"<{_TAG}>",
    r"<\|begin_of_thought\|>",
    r"\[THINK\]",
    r"<\|START_THINKING\|>",
    r"<\|channel>thought",
    r"<\|channel\|>(?:analysis|commentary)",
    r"\Aanalysis(?=[A-Z])",
    r"to=self<\|message\|>",
    r"<\|open\|>think<\|sep\|>",
    r"<\|inner_prefix\|>",
    r"◁think▷",
    r"Here(?:'s| is) my thought process:",
)
_ENDS = (
    rf"</{_TAG}>",
    r"<\|end_of_thought\|>",
    r"\[/THINK\]",
    r"<\|END_THINKING\|>",
    r"<channel\|>",
    r"<\|channel\|>final(?:<\|message\|>)?",
    r"assistantfinal",
    r"to=user<\|message\|>",
    r"<\|close\|>think<\|sep\|>",
    r"<\|inner_suffix\|>",
    r"◁/think▷",
    r"Here(?:'s| is) my response:",
)
_MARK = re.compile(f"(?P<start>{'|'.join(_STARTS)})|(?P<end>{'|'.join(_ENDS)})")
_IN_MARKS = ("think", "THINK", "thought", "reasoning", "|>", "<|", "to=", "analysis", "final",
             "my response:")  # fmt: skip
"""Every mark holds one of these: a text without any, the usual case, is searched no further."""
_WRAPPER = re.compile(
    r"</?response>|<\|(?:begin|end)_of_solution\|>|<\|(?:START|END)_RESPONSE\|>"
    r"|<\|(?:open|close)\|>(?:response|message)<\|sep\|>|<\|(?:end|return|eot|eom)\|>|<turn\|>"
)


@dataclass(frozen=True)
class Thinking:
    """How a model's thinking is told from its answer.

    `end` is the one mark that ends the thinking; None: the known families' marks. `is_open` tells
    that the prompt has begun the thinking: a completion without an end mark is all thinking then.
    """

    end: str | None = None
    is_open: bool = False


MARKS_ALONE = Thinking()


def answering_part(text: str, thinking: Thinking = MARKS_ALONE) -> str | None:
    """What follows the end of the thinking; None where the thinking does not end.

    All of a text that does not think. Takes time linear in the text's length.
    """
    if thinking.end is not None:
        _, mark, rest = text.rpartition(thinking.end)
        return rest if mark else None
    marks = list(_MARK.finditer(text)) if any(part in text for part in _IN_MARKS) else []
    if not marks:
        return None if thinking.is_open else text
    last = marks[-1]
    return _WRAPPER.sub("", text[last.end() :]) if last["end"] else None


def is_mark(token: str) -> bool:
    """Whether a token by itself begins or ends the thinking of a known family."""
    return _MARK.fullmatch(token) is not None


def opens_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends inside the thinking: its last mark begins one.

    Only what follows the question counts; `prompt` is the part that asks the model to go on.
    """
    marks = [match.lastgroup for match in _MARK.finditer(prompt)]
    return bool(marks) and marks[-1] == "start"
