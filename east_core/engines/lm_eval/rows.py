"""A line of a harness's samples: one question, asked and filtered in one way."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_HASH = re.compile(r"[0-9a-f]{8,128}")
MAX_NUMBER = 2**53
# What the harness's filters give for an answer that they do not find.
_INVALID = "[invalid]"
_SHOWN_HASH = 8


@dataclass(frozen=True)
class Row:
    """What was asked and answered, and its outcomes by metric under one filter.

    `answer` is what the filter found; None where it found none.
    """

    number: int
    hash: str
    filter: str
    prompt: str
    target: str
    completion: str
    answer: str | None
    outcomes: Mapping[str, Any]
    is_generated: bool

    def question_id(self, task: str) -> str:
        """The same document of the same task has the same id, in any run."""
        return f"{task}-{self.number}-{self.hash[:_SHOWN_HASH]}"


def row_of(sample: Any) -> Row:
    """The row that a line of JSON describes.

    Raises ValueError, TypeError, KeyError, IndexError or AttributeError where it is none.
    """
    asked, filtered = _arguments(sample["arguments"]), sample["filtered_resps"]
    choices = _choices(asked, filtered)
    if choices is None:
        completion, answer = _first(sample["resps"]), _first(filtered)
    else:
        completion, answer = choices.described, choices.best
    target = _text(sample["target"])
    return Row(
        number=_number(sample["doc_id"]),
        hash=_matched(sample["doc_hash"]),
        filter=_name(sample["filter"]),
        prompt=asked[0][0],
        target=target if choices is None else choices.text_of(target),
        completion=completion,
        answer=None if answer.strip() in ("", _INVALID) else answer,
        outcomes={_name(each): sample.get(each) for each in sample["metrics"]},
        is_generated=choices is None,
    )


@dataclass(frozen=True)
class _Choices:
    """Continuations of a prompt, and the log-likelihood of each under the model."""

    texts: Sequence[str]
    scores: Sequence[float]

    @property
    def described(self) -> str:
        """A line for each."""
        pairs = zip(self.texts, self.scores, strict=True)
        return "\n".join(f"{score:.3f}  {text}" for text, score in pairs)

    @property
    def best(self) -> str:
        """The likeliest; how a metric compares them (by length, say) is the harness's business."""
        return max(zip(self.scores, self.texts, strict=True))[1]

    def text_of(self, target: str) -> str:
        """What a target says: the text of a choice, or its number."""
        if target not in self.texts and target.isdecimal() and int(target) < len(self.texts):
            return self.texts[int(target)]
        return target


def _choices(asked: Sequence[tuple[str, str | None]], filtered: Any) -> _Choices | None:
    """Where log-likelihoods were asked for: one for each continuation, or for each prompt.

    What is asked for behind these (the same continuations without the prompt) is left out.
    """
    prompt, continuation = asked[0]
    if continuation is None:
        return None
    texts = [text.strip() for before, text in asked if before == prompt and text is not None]
    if len(texts) == 1:
        texts = [before for before, text in asked if text == continuation]
    pairs = [(float(score), is_greedy) for score, is_greedy in filtered[: len(texts)]]
    return _Choices(texts, [score for score, _ in pairs])


def _arguments(given: Any) -> list[tuple[str, str | None]]:
    """The prompt of each request for the document, and its continuation; None: it is generated."""
    requests = [given[f"gen_args_{number}"] for number in range(len(given))]
    asked = [(_text(each["arg_0"]), each.get("arg_1")) for each in requests]
    if not asked:
        raise ValueError("nothing was asked")
    return [(prompt, _text(text) if isinstance(text, str) else None) for prompt, text in asked]


def _first(responses: Any) -> str:
    """The first of what a request gave, in lists of any depth."""
    while isinstance(responses, list):
        responses = responses[0]
    return _text(responses)


def _text(value: object) -> str:
    """Text as UTF-8 can hold it: JSON may have halves of surrogate pairs."""
    return str(value).encode("utf-8", "replace").decode()


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_NUMBER:
        raise ValueError(f"doc_id {str(value)[:40]!r} is no number of a document")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 100 or "," in value:
        raise ValueError(f"{str(value)[:40]!r} is no name of a metric or filter")
    return value


def _matched(value: object) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("doc_hash is no hash")
    return value
