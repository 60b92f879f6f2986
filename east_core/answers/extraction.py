r"""Find the final answer in a response or in a gold solution. Pure text work: nothing is parsed.

Named policies say where an answer may stand:

    boxed      the last complete \boxed{...} (or \fbox{...}); nothing else counts
    hash       the last line "#### 72", as in GSM8K's solutions
    lenient    boxed, else hash, else "the answer is ...", else a response that is only an answer

Training candidates are read strictly ("boxed"), so that the model is taught to box its answer;
benchmarks are read leniently. No policy takes "the last number of the text": a response that
names no answer has none, and that outcome is counted. docs/answers.md has the reasons.
"""

import re
from collections.abc import Callable
from typing import Literal

from east_core.answers.canonical import canonical_form
from east_core.answers.grading import Grader
from east_core.records import Completion

__all__ = [
    "AnswerPolicy",
    "GoldFormat",
    "Grader",
    "completion_answer",
    "extract_answer",
    "gold_answer",
    "last_box",
]

AnswerPolicy = Literal["boxed", "hash", "lenient"]
GoldFormat = Literal["plain", "gsm8k", "boxed"]

_BOX_COMMAND = re.compile(r"\\(?:boxed|fbox)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BOX_OR_BRACE = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\[\\{}]|(?P<open>\{)|(?P<close>\})")
_BRACELESS_BOX = re.compile(r"\\(?:boxed|fbox)\s+([^\s${}\\]{1,64}?)(?=[\s$.,;]|$)")
_HASH = re.compile(r"(?<!#)#{4}(?!#)([^\n]*)")
_ANNOUNCED = re.compile(
    r"\b(?:answer|result)\s*(?:\*\*\s*)?(?:is|are|=|:)\s*(?::\s*)?(?:\*\*\s*)?", re.IGNORECASE
)
_STATEMENT = re.compile(
    r"\$\$[^$]{1,1000}\$\$|\$[^$\n]{1,1000}\$(?:\s*\\?%)?|\\\(.{1,1000}?\\\)"
    r"|\\\[.{1,1000}?\\\]|[^\n]{1,200}"
)
_SENTENCE_END = re.compile(r"[.;!?](?=\s|$)|\*\*|\s(?:because|since|which|so|as|I hope)\b")
_REFUSAL = re.compile(
    r"(?:\\text\{)?\s*(?:no answer|n/?a|unknown|i (?:don't|do not|can't|cannot) \w+|\?+"
    r"|(?:your |the |final )*answer)\s*\.?\s*\}?",
    re.IGNORECASE,
)
_LONGEST_BARE_ANSWER = 64
_MOST_WORDS = 3


def extract_answer(text: str, policy: AnswerPolicy) -> str | None:
    """The final answer of `text` under `policy`, or None where there is none.

    Takes time linear in the length of the text, whatever it holds.
    """
    answer = _FINDERS[policy](text)
    return None if answer is None or _REFUSAL.fullmatch(answer) else answer


def completion_answer(completion: Completion, policy: AnswerPolicy) -> str | None:
    """The answer of a completion; one cut off at max_tokens is read strictly.

    "#### 7" at the end of a truncated text may have been on its way to "#### 72"; a closed box
    can no longer grow, so it counts among the clusters (it is never a training target).
    """
    truncated = completion.finish_reason == "length"
    return extract_answer(completion.text, "boxed" if truncated else policy)


def gold_answer(solution: str, format: GoldFormat) -> str | None:  # noqa: A002
    r"""The final answer of a data set's solution: plain text, "#### 72", or \boxed{...}."""
    if format == "plain":
        return solution.strip() or None
    return _last_hash(solution) if format == "gsm8k" else last_box(solution)


def last_box(text: str) -> str | None:
    r"""The content of the last complete, non-empty \boxed{...}; of nested boxes the innermost.

    Escaped braces (\{ and \}) do not count, and an unclosed box is passed over. A text without
    a complete box may box one token without braces, as TeX allows ("\boxed 2", twice in MATH).
    """
    if not _BOX_COMMAND.search(text):
        return None
    *_, last = [None, *_BOX.finditer(text)]
    content = _closing_content(text, last.end()) if last else None
    return content or _last_complete_box(text) or _last_braceless_box(text)


def _closing_content(text: str, start: int) -> str | None:
    """What stands between the brace at `start` and its partner."""
    depth = 0
    for token in _BOX_OR_BRACE.finditer(text, start):
        depth += 1 if token["open"] or token["box"] else -1 if token["close"] else 0
        if depth == 0:
            return text[start + 1 : token.start()].strip() or None
    return None


def _last_complete_box(text: str) -> str | None:
    """One pass with a stack: a thousand unclosed boxes cost no more than one."""
    stack: list[int | None] = []
    found = None
    for token in _BOX_OR_BRACE.finditer(text):
        if token["box"]:
            stack.append(token.end())
        elif token["open"]:
            stack.append(None)
        elif token["close"] and stack:
            start = stack.pop()
            content = "" if start is None else text[start : token.start()].strip()
            found = content or found
    return found


def _last_braceless_box(text: str) -> str | None:
    matches = _BRACELESS_BOX.findall(text)
    return str(matches[-1]) if matches else None


def _last_hash(text: str) -> str | None:
    lines = [line.strip() for line in _HASH.findall(text)]
    return next(filter(None, reversed(lines)), None)


def _last_stated(text: str) -> str | None:
    """What follows the last "answer is", as a formula in dollars or up to the sentence's end."""
    end = max((match.end() for match in _ANNOUNCED.finditer(text)), default=None)
    statement = None if end is None else _STATEMENT.match(text, end)
    if statement is None:
        return None
    stated = statement[0]
    if stated[0] not in "$\\":
        stated = _SENTENCE_END.split(stated, maxsplit=1)[0]
    return _if_answer(stated, words=_MOST_WORDS)


def _first_found(text: str) -> str | None:
    return last_box(text) or _last_hash(text) or _last_stated(text) or _bare_answer(text)


def _bare_answer(text: str) -> str | None:
    """A response that is nothing but an answer, such as "0.5" or "$(1, 2)$"."""
    stripped = text.strip()
    if len(stripped) > _LONGEST_BARE_ANSWER or _BOX_COMMAND.search(stripped):
        return None  # a box that was not found is not an answer but a slip
    return _if_answer(stripped, words=0)


_FINDERS: dict[AnswerPolicy, Callable[[str], str | None]] = {
    "boxed": last_box,
    "hash": _last_hash,
    "lenient": _first_found,
}


def _if_answer(text: str, words: int) -> str | None:
    """`text` if it reads as mathematics, as the letter of a choice, or as so many words."""
    answer = text.strip().rstrip(".,;:").strip()
    if not answer:
        return None
    form = canonical_form(answer)
    is_choice = form.kind == "text" and len(form.latex) == 1
    is_phrase = form.kind == "text" and len(form.latex.split()) <= words
    return answer if form.is_mathematical or is_choice or is_phrase else None
