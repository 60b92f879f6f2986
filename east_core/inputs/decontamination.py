"""Training questions that stand in a benchmark: copied, spelled otherwise, or with other names.

The field looks for runs of words in common: 13 words make a copy for GPT-3 (arXiv:2005.14165,
appendix C). Questions are shorter than that, and are told again with other people in them. So here
names are masked, runs are short (`RUN` words), and the share of runs in common decides (`LEAST`).
Questions are also made from templates, where another number makes another question: the numbers of
a copy are the same, and so is its answer.
"""

import itertools
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from east_core.answers.numbers import number_form
from east_core.errors import DataError
from east_core.records import Question

RUN = 3
LEAST = 0.5
# GPT-3's measure: a benchmark question that is so long may also stand within a longer text, if so
# much of it does.
PASSAGE, MOST = 13, 0.8
# Answers that are so near may be one number, rounded.
ROUNDED = 0.01

Run: TypeAlias = tuple[str, ...]

_NAME, _SOMEONE = "<name>", "<someone>"
_ENDS = frozenset('.?!:"')
_DROPPED = frozenset(["mr", "mrs", "ms", "miss", "dr", "dollar", "dollars"])
_PEOPLE = frozenset(["he", "she", "they", "him", "her", "them", "his", "hers", "their", "theirs"])
_SPELLINGS = {
    r"\dfrac": "frac",
    r"\tfrac": "frac",
    r"\times": "*",
    r"\cdot": "*",
    r"\leq": "le",
    r"\geq": "ge",
    r"\neq": "ne",
    "percent": "%",
} | {
    word: str(number)
    for number, word in enumerate(
        re.findall(
            r"\w+",
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen twenty",
        )
    )
}
_SIGNS = str.maketrans("’‘−–×·", "''--**")
_LAYOUT = re.compile(
    r"\\[,;:! ]|\\hspace\*?\{[^}]*\}|~"
    r"|\\(?:q?quad|left|right|displaystyle|text|textbf|textit|emph|mbox|mathrm|mathbf)(?![a-zA-Z])",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\\!|,\\!|\{,\})(?=\d{3}(?!\d))")
# between words ("five-year-old"), where it is no minus
_HYPHEN = re.compile(r"(?<=\w)-(?=[^\W\d_]{2})|(?<=[^\W\d_]{2})-(?=\w)")
_POSSESSIVE = re.compile(r"(?<=\w)'(?:s\b)?")
_SPACELESS = r"\u3040-\u30ff\u3400-\u9fff"  # Japanese and Chinese, where a sign is a word
_TOKEN = re.compile(rf"\d*\.?\d+|\\?[^\W\d_{_SPACELESS}]+|[{_SPACELESS}]|[-+*/=<>^%|]|[.?!:\"]")


@dataclass(frozen=True)
class Overlap:
    """A training question that stands in a benchmark, and as which question it stands there."""

    question: str
    benchmark: str
    copy_of: str


@dataclass(frozen=True)
class _Reading:
    """A question as it is compared: without layout, case and names, but for `words`."""

    words: tuple[str, ...]
    runs: frozenset[Run]
    numbers: Counter[str]
    answer: Fraction | str | None


class BenchmarkQuestions:
    """The questions of all benchmarks, asked which of them a training question is.

    Only these are held in memory; training questions may stream by.
    """

    def __init__(self, benchmarks: Mapping[str, Iterable[Question]]) -> None:
        owned = [(name, each) for name, questions in benchmarks.items() for each in questions]
        self._known = _words_that_are_no_names(_tokens(each.prompt) for _, each in owned)
        self._readings = [
            (name, each.id, reading)
            for name, each in owned
            for reading in _readings(each, self._known)
        ]
        self._index = _rarest_runs([reading for *_, reading in self._readings])

    def copied_by(self, question: Question) -> Overlap | None:
        """The benchmark question that this one is a copy of; of several, the most alike."""
        best, most = None, 0.0
        for reading in _readings(question, self._known):
            near = {number for run in reading.runs for number in self._index.get(run, ())}
            for number in sorted(near):
                name, copy_of, other = self._readings[number]
                likeness = _likeness(reading, other)
                if likeness > most:
                    best, most = Overlap(question.id, name, copy_of), likeness
        return best


@dataclass
class Screened:
    """Passes on training questions, and notes those that stand in a benchmark.

    With `leaves_out` those are not passed on.
    """

    questions: Iterable[Question]
    benchmarks: BenchmarkQuestions
    leaves_out: bool
    found: list[Overlap] = field(default_factory=list)

    def __iter__(self) -> Iterator[Question]:
        """Raises DataError where all are left out."""
        passed = 0
        for question in self.questions:
            if overlap := self.benchmarks.copied_by(question):
                self.found.append(overlap)
                if self.leaves_out:
                    continue
            passed += 1
            yield question
        if not passed:
            raise DataError(
                f"{told(self.found, left_out=True)}; none is left to train on: give other "
                "questions, or set questions.decontaminate to false"
            )


def told(overlaps: Sequence[Overlap], left_out: bool, listed: int = 5) -> str:
    """How many training questions stand in which benchmark, the first by id, and the cure."""
    if not overlaps:
        return "no training question stands in a benchmark"
    names = Counter(each.benchmark for each in overlaps)
    counts = ", ".join(f"{count} in {name}" for name, count in names.items())
    pairs = ", ".join(f"{each.question} = {each.copy_of}" for each in overlaps[:listed])
    more = ", ..." if len(overlaps) > listed else ""
    what = (
        "are left out" if left_out else "are kept; questions.decontaminate = true leaves them out"
    )
    return f"training questions that stand in a benchmark {what}: {counts} ({pairs}{more})"


def _likeness(training: _Reading, benchmark: _Reading) -> float:
    """From `LEAST` to 1 for a copy, the share of runs in common; else 0.

    The same words make a copy whatever its answer; less does not where the answers differ ("What
    is the capital of France?" and "of Peru?").
    """
    if training.words == benchmark.words:
        return 1.0
    if _differ(training.answer, benchmark.answer):
        return 0.0
    common = len(training.runs & benchmark.runs)
    if training.numbers == benchmark.numbers:
        share = common / len(training.runs | benchmark.runs)
        return share if share >= LEAST else 0.0
    share = common / len(benchmark.runs)
    is_passage = len(benchmark.words) >= PASSAGE and benchmark.numbers <= training.numbers
    return share if is_passage and share >= MOST else 0.0


def _differ(a: Fraction | str | None, b: Fraction | str | None) -> bool:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return abs(a - b) > ROUNDED * max(abs(a), abs(b))
    return a is not None and b is not None and a != b


def _value(answer: str | None) -> Fraction | str | None:
    """The number that an answer is, else its words in one spelling."""
    if answer is None:
        return None
    written = _LAYOUT.sub("", _THOUSANDS.sub("", answer)).strip(" $.")
    form = number_form(re.sub(r"\\[dt]frac", r"\\frac", written))
    if form is not None and form.value is not None:
        return form.value
    return " ".join(_SPELLINGS.get(word, word) for word in _words(_tokens(answer)))


def _rarest_runs(readings: Sequence[_Reading]) -> Mapping[Run, Sequence[int]]:
    """By run, the questions that have it among as many of their rarest runs as must be looked at.

    What shares `LEAST` of n runs has at least one of any n - ceil(LEAST n) + 1 of them (prefix
    filtering; Chaudhuri et al., ICDE 2006), so the runs that many questions have are left out.
    """
    usual = Counter(run for reading in readings for run in reading.runs)
    index: dict[Run, list[int]] = defaultdict(list)
    for number, reading in enumerate(readings):
        rarest = sorted(reading.runs, key=lambda run: (usual[run], run))
        for run in rarest[: len(rarest) - math.ceil(LEAST * len(rarest)) + 1]:
            index[run].append(number)
    return index


def _words_that_are_no_names(prompts: Iterable[Sequence[str]]) -> frozenset[str]:
    """The words that are written small more often than large within a sentence."""
    balance: Counter[str] = Counter()
    for tokens in prompts:
        for before, token in zip((".", *tokens), tokens, strict=False):
            if token == token.lower():
                balance[token] += 1
            elif before not in _ENDS:
                balance[token.lower()] -= 1
    return frozenset(word for word, count in balance.items() if count > 0)


def _readings(question: Question, known: frozenset[str]) -> Iterator[_Reading]:
    """How a question may be read: the words that it writes large are names (Mark, Rose), or not.

    `known` are the words that are no names elsewhere.
    """
    tokens = _tokens(question.prompt)
    words, answer = _words(tokens), _value(question.answer)
    for names in dict.fromkeys([frozenset[str](), _written_large(tokens) & known]):
        masked = list(_masked(words, known, names))
        size = max(1, min(RUN, len(masked)))
        runs = frozenset(tuple(masked[at : at + size]) for at in range(len(masked) - size + 1))
        numbers = Counter(each for each in masked if each[-1].isdigit())
        yield _Reading(words, runs, numbers, answer)


def _words(tokens: Iterable[str]) -> tuple[str, ...]:
    small = (token.lower() for token in tokens)
    return tuple(word for word in small if word not in _ENDS and word not in _DROPPED)


def _written_large(tokens: Sequence[str]) -> frozenset[str]:
    """The words that begin large within a sentence, unless most of the text's do."""
    large = [
        token.lower()
        for before, token in itertools.pairwise(tokens)
        if token.istitle() and token[1:] and before not in _ENDS
    ]
    return frozenset(large if 2 * len(large) < len(tokens) else ())


def _masked(words: Iterable[str], known: frozenset[str], names: frozenset[str]) -> Iterator[str]:
    """Words in one spelling; a name of any length is one mark, and he, she and they are another."""
    last = ""
    for word in words:
        mark = _SPELLINGS.get(word, word).removeprefix("\\")
        if word in _PEOPLE:
            mark = _SOMEONE
        elif word[0].isalpha() and mark[0].isalpha() and (word not in known or word in names):
            mark = _NAME
        if (last, mark) != (_NAME, _NAME):
            yield f"0{mark}" if mark[0] == "." else mark
        last = mark


def _tokens(prompt: str) -> list[str]:
    """Numbers, words, operators and the ends of sentences, in their own case."""
    text = unicodedata.normalize("NFKC", prompt).translate(_SIGNS)
    text = _LAYOUT.sub(" ", _THOUSANDS.sub("", text))
    return _TOKEN.findall(_POSSESSIVE.sub("", _HYPHEN.sub(" ", text)))
