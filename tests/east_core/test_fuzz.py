"""Whatever a file holds, reading it gives values or one line, and never a traceback."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from east_core.config import DatasetConfig
from east_core.config.toml_file import load_config
from east_core.errors import ConfigError, DataError, EastError
from east_core.inputs.questions import load_questions
from east_core.store.manifest import decode_record

# The long run: EAST_FUZZ_EXAMPLES=100000 pytest -m slow tests/east_core/test_fuzz.py
LONG = 20_000
characters = st.characters(exclude_categories=())
texts = st.text(characters, max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
rows = st.dictionaries(st.sampled_from(["question", "answer", "id"]) | texts, values, max_size=5)
json_lines = st.lists(rows.map(json.dumps).map(str.encode) | st.binary(max_size=60), max_size=6)


def whole_parquet() -> bytes:
    stream = io.BytesIO()
    table = pa.table({"question": ["1+1?", "2+2?"] * 50, "answer": ["2", "4"] * 50})
    pq.write_table(table, stream)
    return stream.getvalue()


PARQUET = whole_parquet()
TOML = (Path(__file__).parents[2] / "east_core/demo/demo.toml").read_bytes()


@st.composite
def damaged(draw: Any, whole: bytes) -> bytes:
    """A file with a few bytes changed, or cut off, or both."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


def read_questions(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.write_bytes(data)
    dataset = DatasetConfig(path=str(path), question_column="question", answer_column="answer")
    try:
        for question in load_questions(dataset):
            question.prompt.encode()
    except DataError as error:
        one_line(error)


def read_config(folder: Path, data: bytes) -> None:
    path = folder / "run.toml"
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigError as error:
        one_line(error)


def read_record(data: bytes) -> None:
    try:
        decode_record(data, "there")
    except EastError as error:
        one_line(error)


def one_line(error: EastError) -> None:
    str(error).encode()
    assert len(str(error)) < 5000


KINDS = {
    "jsonl": json_lines.map(b"\n".join),
    "parquet": damaged(PARQUET),
    "toml": damaged(TOML) | st.binary(max_size=200),
    "record": rows.map(json.dumps).map(str.encode) | st.binary(max_size=200),
}


def read(kind: str, folder: Path, data: bytes) -> None:
    if kind == "toml":
        read_config(folder, data)
    elif kind == "record":
        read_record(data)
    else:
        read_questions(folder, f"q.{kind}", data)


def fuzz(kind: str, folder: Path, examples: int) -> None:
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

    @settings(max_examples=examples, deadline=None, suppress_health_check=quiet, database=None)
    @given(KINDS[kind])
    def try_it(data: bytes) -> None:
        read(kind, folder, data)

    try_it()


@pytest.mark.parametrize("kind", KINDS)
def test_no_input_is_a_traceback(kind: str, tmp_path: Path) -> None:
    fuzz(kind, tmp_path, 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_is_a_traceback_in_a_long_run(kind: str, tmp_path: Path) -> None:
    fuzz(kind, tmp_path, LONG)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("q.jsonl", b'{"question": "\\ud800", "answer": "1"}'),
        ("q.jsonl", b'{"question": "q", "\\udfff": "1"}'),
        ("q.jsonl", b"[" * 100_000),
        ("q.jsonl", b'{"question": ' + b"[" * 900 + b"]" * 900 + b"}"),
        ("q.parquet", PARQUET[: len(PARQUET) // 2]),
        ("q.parquet", PARQUET[:4] + b"\0" * 60 + PARQUET[64:]),
        ("q.parquet", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_known_damage_is_one_line(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    dataset = DatasetConfig(path=str(tmp_path / name), question_column="question")
    with pytest.raises(DataError):
        list(load_questions(dataset))
