"""Questions with gold answers, from GSM8K, MATH, or any JSONL, Parquet or hub data set.

Rows stream: nothing here holds a whole data set. A row without a question or a gold answer is an
error that names the file and the row, because a silent gap would change what is learned. A worked
solution that ends in no final answer (MATH has an empty \\boxed{}) gives a question without one:
`WithGold` leaves it out, counted and listed.
"""

import importlib.resources
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import fsspec

from east_core.answers.extraction import gold_answer, has_several_boxes
from east_core.config import DatasetConfig
from east_core.errors import DataError
from east_core.inputs.code_questions import prompt_with_tests, tests_of
from east_core.records import Question

BUILTIN, HUB = "builtin:", "hub:"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """Where a question's parts stand in a row: the first name that the row has is used."""

    question: tuple[str, ...]
    answer: tuple[str, ...]
    answer_format: Literal["plain", "gsm8k", "boxed", "tests"]
    id: tuple[str, ...] = ("id",)
    level: tuple[str, ...] = ("level",)
    subject: tuple[str, ...] = ("subject", "type")


DATASETS: dict[str, Columns] = {
    "gsm8k": Columns(("question",), ("answer",), "gsm8k"),
    "math": Columns(("problem", "question"), ("solution", "answer"), "boxed"),
    "mbpp": Columns(("text", "prompt"), ("test_list",), "tests", id=("task_id",)),
    "humaneval": Columns(("prompt",), ("test",), "tests", id=("task_id",)),
}


def builtin_path(name: str) -> Path:
    """The file or folder of the built-in demo that "builtin:NAME" stands for."""
    return Path(str(importlib.resources.files("east_core") / "demo" / name))


def load_questions(config: DatasetConfig, several: list[str] | None = None) -> Iterator[Question]:
    """The questions of a data set, in file order, at most `config.limit`.

    The ids of those whose gold solution boxes different things are added to `several`.

    `answer` is None where the data set has no gold answers (label-free training), and where a
    solution has no final answer in the expected format. Raises DataError naming the file and row
    of a missing question or gold answer, a repeated id, malformed JSON, or a data set without rows.
    """
    columns = DATASETS.get(config.format) or _columns_of_table(config)
    seen: dict[str, str] = {}
    numbered = itertools.islice(_rows(config), config.limit)
    for number, (where, row) in enumerate(numbered):
        question = _question(row, columns, where, f"{_stem(config.path)}-{number:06d}")
        if question.id in seen:
            raise DataError(f"{where}: id {question.id!r} stands at {seen[question.id]} already")
        seen[question.id] = where
        solution = _text(row, columns.answer) if several is not None else None
        if several is not None and solution and has_several_boxes(solution):
            several.append(question.id)
        yield question
    if not seen:
        raise DataError(f"{config.path}: the data set is empty; it needs at least one question")


def load_arrivals(
    config: DatasetConfig, behind: Mapping[str, int]
) -> Iterator[tuple[str, int, Question]]:
    """The questions in rows that a high-water mark does not cover: (file, row from 1, question).

    `behind` tells how many rows of each file are known; a file that it does not name is new.
    Files may be added anywhere, and rows at a file's end. Ids are made of file and row where the
    rows have none. Raises DataError where a file has fewer rows than are known, and as
    `load_questions` does.
    """
    columns = DATASETS.get(config.format) or _columns_of_table(config)
    for name, rows in _numbered_files(config):
        number, known = 0, behind.get(name, 0)
        for number, (where, row) in enumerate(rows, start=1):
            if number > known:
                yield name, number, _question(row, columns, where, f"{name}-{number:06d}")
        if number < known:
            raise DataError(
                f"{name} has {number} rows where {known} were used already; rows may be added, "
                "not taken away: restore it, or put the new questions into another file"
            )


def listing(path: str) -> list[tuple[str, ...]]:
    """What tells whether files of a data set have come or changed: name, size, time, ETag of each.

    Asked of the file system anew, whatever it remembers. Raises DataError where there is no file.
    """
    if path.startswith((HUB, BUILTIN)):
        return [(path,)]
    fsspec.core.url_to_fs(path)[0].invalidate_cache()
    told = ("size", "mtime", "LastModified", "last_modified", "ETag", "etag")
    return [
        (file.path, *(str(about[name]) for name in told if about.get(name) is not None))
        for file in _files(path)
        for about in [file.fs.info(file.path)]
    ]


def _numbered_files(config: DatasetConfig) -> Iterator[tuple[str, Iterator[tuple[str, Row]]]]:
    """The files of a data set by a name that stays the same where the folder is moved."""
    if config.path.startswith((HUB, BUILTIN)):
        yield config.path, _rows(config)
        return
    root = fsspec.core.url_to_fs(config.path.split("*")[0].rstrip("/"))[1]
    for file in _files(config.path):
        name = file.path.removeprefix(root).lstrip("/") or PurePosixPath(file.path).name
        yield name, _file_rows(file)


@dataclass
class WithGold:
    """Passes on the questions that have a gold answer, and lists the ids of the others.

    `several` lists those whose solution boxes different things: only the last box is the answer.
    """

    config: DatasetConfig
    without: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Question]:
        """The questions to train or test on; all of them in label-free training.

        Raises DataError where none is left.
        """
        passed = 0
        for question in load_questions(self.config, self.several):
            if question.answer is None and self.config.has_answers:
                self.without.append(question.id)
                continue
            passed += 1
            yield question
        if not passed:
            columns = DATASETS.get(self.config.format) or _columns_of_table(self.config)
            raise DataError(
                f"{self.config.path}: no solution ends in a final answer; answer format "
                f"{columns.answer_format!r} expects {_EXPECTED[columns.answer_format]}"
            )


_EXPECTED = {
    "plain": "a text",
    "tests": "tests",
    "gsm8k": "a last line '#### 72'",
    "boxed": "a \\boxed{...}",
}


def _columns_of_table(config: DatasetConfig) -> Columns:
    answer = (config.answer_column,) if config.answer_column else ()
    names = (config.id_column,) if config.id_column else ()
    return Columns((config.question_column,), answer, config.answer_format, names)


def _question(row: Row, columns: Columns, where: str, default_id: str) -> Question:
    prompt = _text(row, columns.question)
    if not prompt:
        raise DataError(f"{where}: no question in column {_names(columns.question)}{_has(row)}")
    return Question(
        id=_text(row, columns.id) or default_id,
        prompt=prompt_with_tests(prompt, row) if columns.answer_format == "tests" else prompt,
        answer=_gold(row, columns, where),
        level=_text(row, columns.level),
        subject=_text(row, columns.subject),
    )


def _gold(row: Row, columns: Columns, where: str) -> str | None:
    if not columns.answer:
        return None
    is_tests = columns.answer_format == "tests"
    solution = tests_of(row, columns.answer) if is_tests else _text(row, columns.answer)
    if not solution:
        raise DataError(f"{where}: no gold answer in column {_names(columns.answer)}{_has(row)}")
    if columns.answer_format == "tests":
        return solution
    return gold_answer(solution, columns.answer_format)


def _text(row: Row, names: Iterable[str]) -> str | None:
    """The first named column that is there, as stripped text; None where absent or empty."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    return (str(value).strip() or None) if value is not None else None


def _require_whole_characters(row: Row, where: str) -> Row:
    """JSON may spell half a character (a lone surrogate), which no file and no model can hold."""
    for name, value in row.items():
        try:
            f"{name}{value}".encode()
        except (UnicodeEncodeError, RecursionError) as error:
            what = "half a character (a lone surrogate)"
            if isinstance(error, RecursionError):
                what = "lists within lists without end"
            raise DataError(f"{where}: {what} in column {name!r}; mend that row") from error
    return row


def _names(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names))


def _has(row: Row) -> str:
    return f"; the row has {', '.join(map(repr, sorted(row))) or 'no columns'}"


def _stem(path: str) -> str:
    return PurePosixPath(path.removeprefix(HUB).removeprefix(BUILTIN)).stem.strip("*") or "question"


def _rows(config: DatasetConfig) -> Iterator[tuple[str, Row]]:
    """Each row with a name for error messages ("train.jsonl line 7")."""
    if config.path.startswith(HUB):
        yield from _hub_rows(config)
        return
    yield from file_rows(config.path)


def file_rows(path: str) -> Iterator[tuple[str, Row]]:
    """The rows of the files that a path, folder, glob or URL stands for, with their places.

    Raises DataError where there are none, or one can't be read.
    """
    if path.startswith(BUILTIN):
        path = str(builtin_path(path.removeprefix(BUILTIN)))
    for file in _files(path):
        yield from _file_rows(file)


def _hub_rows(config: DatasetConfig) -> Iterator[tuple[str, Row]]:
    import datasets

    name = config.path.removeprefix(HUB)
    try:
        rows = datasets.load_dataset(
            name, config.subset, split=config.split, revision=config.revision
        )
    except Exception as error:  # the hub client raises many kinds; each means the same to a user
        reason = str(error).splitlines()[0]
        raise DataError(f"hub data set {name!r} can't be loaded: {reason}") from error
    for number, row in enumerate(rows):
        yield f"{name} {config.split} row {number}", row


def _files(path: str) -> list[fsspec.core.OpenFile]:
    """The JSONL and Parquet files that a path, folder, glob or URL stands for, sorted."""
    filesystem, root = fsspec.core.url_to_fs(path)
    try:
        names = sorted(filesystem.glob(root)) if "*" in root else [root]
        if len(names) == 1 and filesystem.isdir(names[0]):
            names = sorted(filesystem.find(names[0]))
    except Exception as error:  # s3fs, gcsfs and others each have their own
        raise DataError(f"{path}: can't be listed: {error}") from error
    tables = [name for name in names if name.endswith((".jsonl", ".parquet"))]
    if not tables or not all(filesystem.exists(name) for name in tables):
        raise DataError(f"{path}: no .jsonl or .parquet file there; check the path")
    return [fsspec.core.OpenFile(filesystem, name) for name in tables]


def _file_rows(file: fsspec.core.OpenFile) -> Iterator[tuple[str, Row]]:
    name = PurePosixPath(file.path).name
    with file as stream:
        if name.endswith(".parquet"):
            yield from _parquet_rows(name, stream)
        else:
            yield from _jsonl_rows(name, stream)


def _jsonl_rows(name: str, stream: Iterable[bytes]) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(stream, start=1):
        where = f"{name} line {number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}); expected one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
        yield where, _require_whole_characters(row, where)


def _parquet_rows(name: str, stream: Any) -> Iterator[tuple[str, Row]]:
    import pyarrow.parquet as pq

    from east_core.tables import UNREADABLE

    numbers = itertools.count()
    try:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                yield f"{name} row {next(numbers)}", row
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: not a whole Parquet file ({reason}); copy it again") from error
