r"""Find the final answer in a response or in a gold solution. Pure text work: nothing is parsed.

Named policies say where an answer may stand:

    boxed      the last complete \boxed{...} (or \fbox{...}); nothing else counts
    hash       the last line "#### 72", as in GSM8K's solutions
    lenient    boxed, else hash, else <answer>72</answer>, else "the answer is ...", else a response
               that is only an answer

Of a reasoning model's completion only what follows the thinking is read (`thinking.py`).
Training candidates are read strictly ("boxed"), so that the model is taught to box its answer;
benchmarks are read leniently. No policy takes "the last number of the text": a response that
names no answer has none, and that outcome is counted. docs/answers.md has the reasons.
"""

import re
from collections.abc import Callable
from typing import Literal

from east_core.answers.canonical import canonical_form
from east_core.answers.grading import Grader

__all__ = [
    "AnswerPolicy",
    "GoldFormat",
    "Grader",
    "extract_answer",
    "gold_answer",
    "last_box",
]

AnswerPolicy = Literal["boxed", "hash", "lenient", "given"]
GoldFormat = Literal["plain", "gsm8k", "boxed"]

_BOX_COMMAND = re.compile(r"\\(?:boxed|fbox)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BOX_OR_BRACE = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\[\\{}]|(?P<open>\{)|(?P<close>\})")
_BRACELESS_BOX = re.compile(r"\\(?:boxed|fbox)\s+([^\s${}\\]{1,64}?)(?=[\s$.,;]|$)")
_HASH = re.compile(r"(?<!#)#{4}(?!#)([^\n]*)")
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.DOTALL | re.IGNORECASE)
_BOLD = r"(?:\*\*\s*)?"
_IS = (
    r"(?:is|are|was|=|:|equals|(?:will|would|should|must)\s+be|becomes|comes\s+(?:out\s+)?to(?:\s+be)?"
    r"|turns\s+out\s+to\s+be)"
)
_ANNOUNCED = re.compile(
    r"\b(?:answers?|results?|output|(?:correct|right|best)\s+(?:option|choice|one))"
    rf"(?:\s+to\s+[^.\n]{{1,80}}?)?\s*{_BOLD}(?:(?<=\s)|(?<=\*)|(?=[=:])){_IS}(?!\w)\s*(?::\s*)?{_BOLD}",
    re.IGNORECASE,
)
_HEADED = re.compile(
    r"(?:(?:^|\n)[\s*#]*(?:final\s+)?answer[\s*:]*|\bsolutions?\s+(?:is|are)\s*:?\s*)"
    r"(?=\$|\\\(|\\\[)",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"(?:n't|\b(?:not|never|if|whether|suppose|supposing|unless|assume|assuming|hardly|why))\s+"
    r"(?:(?:think|believe|mean|say|sure|clear|know|certain|we|i|that|the|your|my|his|her|a|an"
    r"|final|correct|right|only|possible|true)\s+)*\Z",
    re.IGNORECASE,
)
_LONGEST_DOUBT = 60
_NEGATED = re.compile(
    r"(?:not|n't|never|neither|no\s+longer|un(?:known|clear|certain)|wrong|incorrect|correct|right)\b",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"(?:not|n't)\s[^\n.;]{1,80}?(?:[.;,]\s*(?:but\s+)?(?:it|that)(?:\s+is|'s)\s+|,?\s+but\s+)",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:,?\s*(?:therefore|thus|hence|so|then|simply|just|exactly|precisely|indeed|clearly|obviously"
    r"|actually|approximately|about|roughly|of\s+course|in\s+fact|again|still|also|now|only|always"
    r"|given\s+by|equal\s+to|found\s+to\s+be|(?:the\s+)?(?:option|choice|letter)|the\s+(?:number|value))"
    r"\b\s*[,:]?\s*)+(?=\S)",
    re.IGNORECASE,
)
_FENCED = re.compile(r"```[\w+-]*[ \t]*\n?([^\n`]{1,200})\n?[ \t]*```")
_ONE_FORMULA = (
    r"(?:\$\$[^$]{1,1000}\$\$|\$[^$\n]{1,1000}\$(?:\s*\\?%)?|\\\((?:(?!\\\)).){1,1000}\\\)"
    r"|\\\[(?:(?!\\\])(?s:.)){1,1000}\\\])"
)
_FORMULA = re.compile(
    rf"{_ONE_FORMULA}(?:\s*(?:,\s*(?:and\b|or\b)?|and\b|or\b)\s*{_ONE_FORMULA}(?!\s+(?:is|are|was)\b))*"
)
_FORMULA_CHOSEN = re.compile(
    r"(?P<first>\$[^$\n]{1,200}\$|\\\((?:(?!\\\))[^\n]){1,200}\\\))(?P<second>)\s+is\s+(?:the|our|my)\s+"
    r"(?:(?:final|correct|required|desired)\s+)?(?:answer|solution|result)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r"(?:(?i:the|there|they|it|so|thus|therefore|hence)|[A-Z][a-z]+)\b[^\n]{1,150}\s"
    r"(?:is|are|was|were|equals)\s+(?P<rest>[^\n]+)"
)
_COMPARED = re.compile(r"\b(?:more|less|fewer|times|than|not)\b", re.IGNORECASE)
_LETTER_AND_CLAUSE = re.compile(
    r"(?:for\s+sure\s+|definitely\s+|clearly\s+)?\(?([A-Z])\)?,\s+(?!and\b|or\b)[a-z']{2,}\s+[a-z']+\s+\S+"
)
_LINE = re.compile(r"[^\n]{1,200}")
_SENTENCE_END = re.compile(
    r"[.;!?](?=\s|$)|\*\*|</answer>|\s(?:because|since|which|so|as|where|when|I hope)\b"
)
_CHOSEN = re.compile(
    r"(?:\b(?:option|choice|answer)\s+)?(?P<first>\([A-Z]\)|\b[A-Z]\b)\s+is\s+(?:the\s+)?"
    r"(?:(?:correct|right|best|final)(?:\s+(?:answer|option|choice|one))?|answer)\b"
    r"|\b(?:go\s+with|choose|pick|select|opt\s+for|think\s+it(?:\s+is|'s))\s+"
    r"(?:option\s+|choice\s+)?"
    r"(?P<second>\([A-Z]\)|[A-Z]\b)(?!')"
)
_LETTERED = re.compile(r"[A-Z]|\([A-Z]\)[^\n]*|[A-Z][.):](?:\s[^\n]*)?")
_CLAUSE = re.compile(
    r"(?:that|not|if|whether|to|we|you|they|he|she|it|there|this|these|how|what|in|on|at|by|for"
    r"|found|obtained|given|let|first|ok|okay|sure|well|hmm+|wait|yeah|i|sorry|step)\b",
    re.IGNORECASE,
)
_SLIP = re.compile(r"\\(?:boxed|fbox)|<answer>|\banswer", re.IGNORECASE)
_VERDICT = re.compile(r"(yes|no|true|false)\b[,.:;]", re.IGNORECASE)
_REFUSAL = re.compile(
    r"(?:\\text\{)?\s*(?:no answer|n/?a|unknown|i (?:don't|do not|can't|cannot) \w+|\?+"
    r"|(?:your |the |final )*answer)\s*\.?\s*\}?",
    re.IGNORECASE,
)
_LONGEST_BARE_ANSWER = 64
_LONGEST_LINE = 200
_MOST_WORDS = 8
_MOST_BARE_WORDS = 3


def extract_answer(text: str, policy: AnswerPolicy) -> str | None:
    """The final answer of `text` under `policy`, or None where there is none.

    Takes time linear in the length of the text, whatever it holds.
    """
    answer = _FINDERS[policy](text)
    return None if answer is None or _REFUSAL.fullmatch(answer) else answer


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


def has_several_boxes(solution: str) -> bool:
    """Whether a solution boxes different things, of which only the last is taken for its answer."""
    inner = (content for content in _complete_boxes(solution) if not _BOX_COMMAND.search(content))
    return len(set(inner)) > 1


def _last_complete_box(text: str) -> str | None:
    return next(reversed(_complete_boxes(text)), None)


def _complete_boxes(text: str) -> list[str]:
    """One pass with a stack: a thousand unclosed boxes cost no more than one."""
    stack: list[int | None] = []
    found = []
    for token in _BOX_OR_BRACE.finditer(text):
        if token["box"]:
            stack.append(token.end())
        elif token["open"]:
            stack.append(None)
        elif token["close"] and stack:
            start = stack.pop()
            content = "" if start is None else text[start : token.start()].strip()
            if content:
                found.append(content)
    return found


def _last_braceless_box(text: str) -> str | None:
    matches = _BRACELESS_BOX.findall(text)
    return str(matches[-1]) if matches else None


def _last_hash(text: str) -> str | None:
    lines = [line.strip() for line in _HASH.findall(text)]
    return next(filter(None, reversed(lines)), None)


def _last_tagged(text: str) -> str | None:
    """What stands in the last <answer>...</answer>: an answer, or a text that holds one."""
    contents = [content.strip() for content in _TAGGED.findall(text)]
    last = next(filter(None, reversed(contents)), None)
    if last is None:
        return None
    is_short = "\n" not in last and len(last) <= _LONGEST_LINE
    return _in_tag(last) or (last if is_short else None)


def _in_tag(text: str) -> str | None:
    return last_box(text) or _last_hash(text) or _last_stated(text)


def _last_stated(text: str) -> str | None:
    """The last answer that is announced: "the answer is ...", "B is correct", "I'd go with B".

    What an "answer is not ..." or "if the answer is ..." names is no answer.
    """
    marks = (match for pattern in (_ANNOUNCED, _HEADED) for match in pattern.finditer(text))
    announced = sorted((match.start(), match.end()) for match in marks)
    chosen = sorted(
        (
            match
            for pattern in (_CHOSEN, _FORMULA_CHOSEN)
            for match in pattern.finditer(text)
            if not _is_unsure(text, match.start())
        ),
        key=re.Match.start,
    )
    for start, end in reversed(announced):
        later = [match for match in chosen if match.start() >= start]
        if later and (found := _chosen(later[-1])):
            return found
        if not _is_unsure(text, start) and (found := _stated(text, end)):
            return found
    return _chosen(chosen[-1]) if chosen else None


def _is_unsure(text: str, start: int) -> bool:
    return _UNSURE.search(text, max(0, start - _LONGEST_DOUBT), start) is not None


def _chosen(match: re.Match[str]) -> str | None:
    """The formula or letter; "I" is none but in parentheses, for it begins sentences."""
    found = match["first"] or match["second"]
    return None if found == "I" else found


def _stated(text: str, start: int) -> str | None:
    """What is stated at `start`: a formula, code, or words up to the sentence's end."""
    instead = _INSTEAD.match(text, start)
    if instead:
        start = instead.end()
    elif _NEGATED.match(text, start):
        return None
    lead = _LEAD.match(text, start)
    start = lead.end() if lead else start
    for pattern in (_FORMULA, _FENCED, _LINE):
        match = pattern.match(text, start)
        if match is not None:
            stated = match[match.lastindex or 0]
            if pattern is _LINE:
                letter = _LETTER_AND_CLAUSE.match(stated)
                stated = letter[1] if letter else _SENTENCE_END.split(stated, maxsplit=1)[0]
                stated = _value_in(stated) or stated
            if found := _if_answer(stated, words=0 if pattern is _FORMULA else _MOST_WORDS):
                return found
    return None


def _value_in(sentence: str) -> str | None:
    """34 in "The largest n is 34", where that is what was announced."""
    match = _SENTENCE.match(sentence.strip())
    rest = match["rest"] if match else ""
    return None if len(rest.split()) > 3 or _COMPARED.search(rest) else _if_answer(rest, words=0)


def _first_found(text: str) -> str | None:
    return (
        last_box(text)
        or _last_hash(text)
        or _last_tagged(text)
        or _last_stated(text)
        or _bare_answer(text)
    )


def _bare_answer(text: str) -> str | None:
    """A response that is nothing but an answer, such as "0.5", "$(1, 2)$", "(B) mitochondria"."""
    stripped = text.strip()
    fenced = _FENCED.fullmatch(stripped)
    stripped = fenced[1].strip() if fenced else stripped
    if _SLIP.search(stripped):
        return None  # a box that was not found is not an answer but a slip
    if _FORMULA.fullmatch(stripped):
        return stripped
    if len(stripped) > _LONGEST_BARE_ANSWER:
        return None
    return _if_answer(stripped, words=_MOST_BARE_WORDS)


_FINDERS: dict[AnswerPolicy, Callable[[str], str | None]] = {
    "boxed": last_box,
    "hash": _last_hash,
    "lenient": _first_found,
    "given": lambda text: text.strip() or None,
}


def _is_announcement(text: str) -> bool:
    """Whether `text` ends where it has announced an answer, as "the answer is" does."""
    announced = [match.end() for match in _ANNOUNCED.finditer(f"{text} ")]
    return bool(announced) and announced[-1] > len(text)


def _if_answer(text: str, words: int) -> str | None:
    """`text` if it reads as mathematics, as the choice of a letter, or as so many words."""
    answer = text.strip().strip("*`").strip()
    verdict = _VERDICT.match(answer)
    if verdict:
        return verdict[1]
    answer = answer.rstrip(".,;:").strip()
    if not answer or _is_announcement(answer):
        return None
    if canonical_form(answer).is_mathematical or _LETTERED.fullmatch(answer):
        return answer
    is_phrase = len(answer.split()) <= words and not _CLAUSE.match(answer)
    return answer if is_phrase and "\n" not in answer else None
