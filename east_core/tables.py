"""Tables on disk: Parquet with one row for each record, streamed in row groups.

A million questions pass through as an iterator and never stand in memory at once. The columns
are the fields of the record's dataclass, so pandas and `datasets` open the files directly.
"""

import dataclasses
import itertools
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1024
_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
}
Row = TypeVar("Row")


def schema_of(record: type[Any]) -> pa.Schema:
    """The Arrow schema of a dataclass: scalars, optional scalars, tuples, nested dataclasses."""
    return pa.schema(list(_fields_of(record)))


def write_table(path: Path | BinaryIO, record: type[Row], rows: Iterable[Row]) -> int:
    """Write `rows` as one Parquet file and return their number; never holds more than a group."""
    schema, count, stream = schema_of(record), 0, iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(itertools.islice(stream, ROWS_PER_GROUP)):
            table = pa.Table.from_pylist([dataclasses.asdict(row) for row in group], schema)  # type: ignore[call-overload]
            writer.write_table(table)
            count += len(group)
    return count


def read_table(path: Path | BinaryIO, record: type[Row]) -> Iterator[Row]:
    """Yield the records of a Parquet file written by `write_table`, a row group at a time."""
    build = _builder(record)
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=ROWS_PER_GROUP):
            for row in batch.to_pylist():
                yield build(row)


def read_tables(paths: Iterable[Path], record: type[Row]) -> Iterator[Row]:
    """The records of several files, in the order of `paths`."""
    return itertools.chain.from_iterable(read_table(path, record) for path in paths)


def _fields_of(record: type[Any]) -> Iterator[pa.Field]:
    hints = typing.get_type_hints(record)
    for spec in dataclasses.fields(record):
        yield pa.field(spec.name, *_arrow_type(hints[spec.name]))


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool]:
    """The Arrow type of an annotation, and whether the column may hold nulls."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next(argument for argument in arguments if argument is not type(None))
        return _arrow_type(inner)[0], True
    if origin is tuple:
        return pa.list_(pa.field("item", *_arrow_type(arguments[0]))), False
    if origin is typing.Literal:
        return pa.string(), False
    if dataclasses.is_dataclass(hint):
        return pa.struct(list(_fields_of(typing.cast(type[Any], hint)))), False
    return _SCALARS[hint], False


def _builder(record: type[Any]) -> Any:
    """A function that turns a dict of plain values back into `record`."""
    hints = typing.get_type_hints(record)
    converters = {
        spec.name: converter
        for spec in dataclasses.fields(record)
        if (converter := _converter(hints[spec.name])) is not None
    }

    def build(row: dict[str, Any]) -> Any:
        for name, converter in converters.items():
            row[name] = converter(row[name])
        return record(**row)

    return build


def _converter(hint: Any) -> Any:
    """How a stored value becomes a field's value; None where it already is."""
    if typing.get_origin(hint) is tuple:
        inner = _converter(typing.get_args(hint)[0])
        return tuple if inner is None else lambda values: tuple(map(inner, values))
    if dataclasses.is_dataclass(hint):
        return _builder(typing.cast(type[Any], hint))
    return None
