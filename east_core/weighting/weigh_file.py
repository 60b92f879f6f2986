"""Weigh a file of responses on its own, without store, models or workflow: `east weigh`.

One line (JSONL) or row (Parquet) for each question:

    {"id": "q1", "question": "...", "gold": "72", "responses": ["... #### 72", "... \\\\boxed{70}"]}

`gold` is the final answer, or a solution that ends in it; of programs it is their tests. Answers
that were extracted already stand in `answers` in place of `responses` (null: none), in every line
or in none. `finish_reasons` and `mean_logprobs`, one for each response, are used where they are
given; other fields are not looked at. The lines of the output are those of the input, in its order.
The output appears whole or not at all.
"""

import dataclasses
import itertools
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.answers.code.tests import NoTests, read_tests, tests_text
from east_core.answers.extraction import AnswerPolicy, extract_answer
from east_core.answers.gold import GoldTrials
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, Grading
from east_core.answers.patterns import AnswerPattern
from east_core.answers.thinking import MARKS_ALONE, answering_part
from east_core.errors import DataError
from east_core.records import Completion, FinishReason, Question, SampledQuestion
from east_core.tables import read_table, write_table
from east_core.weighting.round_statistics import RoundStatistics, RoundTotals
from east_core.weighting.strategies import DifficultyWeighting, LabelFree, Weighting
from east_core.weighting.weighed import WeighedQuestion
from east_core.weighting.weighing import Weigher, WeighingRules, finish

RESPONSES, ANSWERS = "responses", "answers"
FINISH_REASONS: tuple[FinishReason, ...] = ("stop", "length", "unknown")
Numbered = Iterator[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class ClusterLine:
    """An answer, how many responses gave it, and whether it is correct; None: no answer."""

    answer: str | None
    count: int
    is_correct: bool


@dataclass(frozen=True)
class WeighedLine:
    """One line of the output. A dropped question has the weight 0."""

    id: str
    clusters: tuple[ClusterLine, ...]
    entropy_bits: float
    accuracy: float
    rejected_share: float
    kept: bool
    drop_reason: str | None
    weight: float


@dataclass(frozen=True)
class LabelFreeLine(WeighedLine):
    """A line of the label-free mode; `pseudo_label` is the majority's answer, None without one.

    What `is_correct`, `accuracy` and `rejected_share` say holds against this label only.
    """

    pseudo_label: str | None


@dataclass(frozen=True)
class DifficultyLine(WeighedLine):
    """A line of the difficulty weighting; `example_count` is how many responses to train on."""

    example_count: int


def weigh_file(
    source: Path,
    out: Path,
    weighting: Weighting,
    policy: AnswerPolicy = "lenient",
    label_free: LabelFree | None = None,
    processes: int = 2,
    grading: Grading = MATH,
    answer_regex: re.Pattern[str] | None = None,
) -> RoundStatistics:
    """Weigh the questions of `source` (.jsonl or .parquet) into `out` (.jsonl or .parquet).

    `answer_regex` finds the answer of a response in place of the policy: the first group of its
    last match, or all of it where there is none. A response on which it takes seconds has no
    answer, and is counted as undecided.

    Unlike a training round, a file in which no question is kept is a result, not an error.
    Raises DataError naming the line for malformed input, and for paths that can't be used;
    ConfigError where the weighting is undefined. `out` is then left as it was.
    """
    grading.prepare()
    lines, write = _reader(source), _writer(out)
    is_label_free = label_free is not None
    lines, column = _column_of(lines)
    if column == ANSWERS or answer_regex is not None:
        policy = "given"
    line = _line_builder(weighting, is_label_free)
    with Grader(processes) as grader, _scratch(out) as folder:
        totals, weigher = (
            RoundTotals(grader, weighting),
            Weigher(WeighingRules(weighting, policy, label_free, grading=grading), grader),
        )
        pattern = None if answer_regex is None else AnswerPattern(answer_regex, grader)
        columns = _Columns(column, is_label_free, grading, pattern)
        first_pass, finished = Path(folder, "first_pass"), Path(folder, out.name)
        rows = (_question(where, row, columns) for where, row in lines)
        questions = GoldTrials(str(source), grading, grader).usable(rows, lambda row: row.question)
        write_table(first_pass, WeighedQuestion, totals.counting(weigher.weigh(questions)))
        if not totals.questions:
            raise DataError(f"{source} holds no questions; {_EXPECTED}")
        weighed = map(finish(weighting, totals.raw), read_table(first_pass, WeighedQuestion))
        write(finished, line.kind, map(line.build, totals.weighing(weighed)))
        finished.replace(out)
    return totals.statistics(is_label_free)


_EXPECTED = 'each line must be like {"id": "q1", "gold": "72", "responses": ["... \\\\boxed{72}"]}'


def _scratch(out: Path) -> "tempfile.TemporaryDirectory[str]":
    """A folder beside the output, so that the finished file moves into place in one step."""
    if out.is_dir():
        raise DataError(f"{out} is a folder; name a file that ends in .jsonl or .parquet")
    try:
        return tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-")
    except OSError as error:
        raise DataError(f"can't write to {out.parent}: {error.strerror}; choose --out") from error


# ---------------------------------------------------------------- input


def _reader(source: Path) -> Numbered:
    """Where each row stands ("line 3") and the row, from a file chosen by its ending."""
    readers = {".jsonl": _json_lines, ".parquet": _parquet_rows}
    read = readers.get(source.suffix)
    if read is None:
        raise DataError(f"{source} must end in .jsonl or .parquet")
    if not source.is_file():
        raise DataError(f"there is no file {source}; give the responses as .jsonl or .parquet")
    return read(source)


def _json_lines(source: Path) -> Numbered:
    with source.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{source}, line {number}", _json_row(f"{source}, line {number}", line)


def _json_row(where: str, line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "not JSON"
        raise DataError(f"{where}: {reason}; {_EXPECTED}") from error


def _parquet_rows(source: Path) -> Numbered:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as parquet:
            numbers = itertools.count(1)
            for batch in parquet.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield f"{source}, row {next(numbers)}", row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source} can't be read as Parquet: {error}") from error


@dataclass(frozen=True)
class _Columns:
    """What stands where in a row, and how it is read."""

    texts: str
    is_label_free: bool
    grading: Grading
    pattern: AnswerPattern | None

    def gold(self, where: str, row: Mapping[str, Any]) -> str | None:
        """The gold answer, for programs their tests; None in label-free mode."""
        if self.is_label_free:
            return None
        read = _tests if self.grading.kind == "code" else _gold
        return read(where, row.get("gold"))

    def read(
        self, question_id: str, texts: Sequence[str], reasons: Sequence[FinishReason]
    ) -> list[str]:
        """A question's responses, or the answers that the regular expression finds in them."""
        if self.pattern is None:
            return [*texts]
        read = [_read(text, reason) for text, reason in zip(texts, reasons, strict=True)]
        return [answer or "" for answer in self.pattern.answers(question_id, read)]


def _read(text: str, reason: FinishReason) -> str:
    """What of a response may hold its answer; nothing of one that was cut off."""
    return "" if reason == "length" else answering_part(text, MARKS_ALONE) or ""


def _column_of(lines: Numbered) -> tuple[Numbered, str]:
    """The lines, and whether responses or answers stand in the first of them."""
    first = next(lines, None)
    if first is None:
        return lines, RESPONSES
    has_answers = isinstance(first[1], Mapping) and first[1].get(ANSWERS) is not None
    return itertools.chain([first], lines), ANSWERS if has_answers else RESPONSES


def _question(where: str, row: Any, columns: _Columns) -> SampledQuestion:
    """The sampled question of a row; DataError says what is wrong with the row and where."""
    if not isinstance(row, Mapping):
        raise DataError(f"{where}: not an object; {_EXPECTED}")
    identity = row.get("id")
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        raise DataError(f"{where}: 'id' must be a text or a whole number; {_EXPECTED}")
    gold = columns.gold(where, row)
    question = Question(json.dumps(identity), str(row.get("question") or ""), gold)
    return SampledQuestion(question, _completions(where, question.id, row, columns))


def _gold(where: str, gold: Any) -> str:
    if isinstance(gold, bool) or not isinstance(gold, str | int | float) or not str(gold).strip():
        raise DataError(
            f"{where}: 'gold' must be the gold answer, as text or number; "
            "without gold answers use --label-free"
        )
    text = _printable(str(gold))
    return extract_answer(text, "boxed") or extract_answer(text, "hash") or text.strip()


def _tests(where: str, gold: Any) -> str:
    text = tests_text(gold)
    try:
        read_tests(text or "")
    except NoTests as error:
        raise DataError(f"{where}: 'gold' must be the tests of the program: {error}") from None
    return _printable(text or "")


def _completions(
    where: str, question_id: str, row: Mapping[str, Any], columns: _Columns
) -> tuple[Completion, ...]:
    name = columns.texts
    responses = row.get(name)
    if not isinstance(responses, list) or not responses:
        raise DataError(f"{where}: '{name}' must be a list with at least one text; {_EXPECTED}")
    if name == ANSWERS:
        responses = [_answer(where, answer) for answer in responses]
    if not all(isinstance(response, str) for response in responses):
        raise DataError(f"{where}: every one of '{name}' must be a text; {_EXPECTED}")
    reasons = _column(where, row, "finish_reasons", len(responses), _is_finish_reason)
    logprobs = _column(where, row, "mean_logprobs", len(responses), _is_logprob)
    reasons = [reason or "unknown" for reason in reasons]
    texts = columns.read(question_id, [*map(_printable, responses)], reasons)
    return tuple(
        Completion(text, reason, mean_logprob=logprob)
        for text, reason, logprob in zip(texts, reasons, logprobs, strict=True)
    )


def _answer(where: str, answer: Any) -> str:
    """An answer that was extracted before; none is an empty text."""
    if answer is None or isinstance(answer, str):
        return answer or ""
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise DataError(f"{where}: every one of 'answers' must be a text, a number or null")
    return str(answer)


def _column(
    where: str, row: Mapping[str, Any], name: str, length: int, is_valid: Callable[[Any], bool]
) -> list[Any]:
    """An optional column with one value, or null, for each response."""
    values = row.get(name)
    if values is None:
        return [None] * length
    if not isinstance(values, list) or len(values) != length:
        raise DataError(f"{where}: '{name}' must be a list as long as 'responses' ({length})")
    for value in values:
        if value is not None and not is_valid(value):
            raise DataError(f"{where}: {value!r} is not valid in '{name}'")
    return values


def _is_finish_reason(value: Any) -> bool:
    return value in FINISH_REASONS


def _is_logprob(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value <= 0


def _printable(text: str) -> str:
    """Half of a surrogate pair, which JSON can hold and UTF-8 can't, becomes a question mark."""
    return text.encode(errors="replace").decode()


# ---------------------------------------------------------------- output


@dataclass(frozen=True)
class _LineBuilder:
    kind: type[WeighedLine]
    added: Callable[[WeighedQuestion], dict[str, Any]]

    def build(self, row: WeighedQuestion) -> WeighedLine:
        clusters = (ClusterLine(c.answer, len(c.members), c.is_correct) for c in row.clusters)
        return self.kind(
            id=json.loads(row.question_id),
            clusters=tuple(clusters),
            entropy_bits=row.entropy_bits,
            accuracy=row.accuracy,
            rejected_share=row.rejected_share,
            kept=row.kept,
            drop_reason=row.drop_reason,
            weight=row.weight,
            **self.added(row),
        )


def _line_builder(weighting: Weighting, is_label_free: bool) -> _LineBuilder:
    if is_label_free:
        return _LineBuilder(LabelFreeLine, lambda row: {"pseudo_label": row.label})
    if isinstance(weighting, DifficultyWeighting):
        return _LineBuilder(DifficultyLine, lambda row: {"example_count": row.example_count})
    return _LineBuilder(WeighedLine, lambda _: {})


Writer = Callable[[Path, type[WeighedLine], Iterable[WeighedLine]], object]


def _writer(out: Path) -> Writer:
    writers: dict[str, Writer] = {".jsonl": _write_json_lines, ".parquet": _write_parquet}
    if out.suffix not in writers:
        raise DataError(f"{out} must end in .jsonl or .parquet; choose --out")
    return writers[out.suffix]


def _write_json_lines(path: Path, _: type[WeighedLine], lines: Iterable[WeighedLine]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(dataclasses.asdict(line), ensure_ascii=False) + "\n")


def _write_parquet(path: Path, kind: type[WeighedLine], lines: Iterable[WeighedLine]) -> None:
    """A column of texts for the ids, for Parquet's columns have one type."""
    write_table(path, kind, (dataclasses.replace(line, id=str(line.id)) for line in lines))
