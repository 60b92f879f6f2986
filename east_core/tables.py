"""Tables on disk: Parquet with one row for each record, streamed in row groups.

A million questions pass through as an iterator and never stand in memory at once. The columns
are the fields of the record's dataclass, so pandas and `datasets` open the files directly.
"""

import dataclasses
import itertools
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from east_core.errors import DataError
from east_core.records import TokenIds

ROWS_PER_GROUP = 1024
_IDS_LEVEL = 9  # of zstd
_ROWS_AT_ONCE = 64  # that are Python objects at the same time when a file is read
_SCALARS: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    TokenIds: pa.list_(pa.field("item", pa.int32(), nullable=False)),
}
Row = TypeVar("Row")
# What pyarrow raises for a file that is cut off or damaged.
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, TypeError)


def schema_of(record: type[Any]) -> pa.Schema:
    """The Arrow schema of a dataclass: scalars, token ids, optional ones, tuples, dataclasses."""
    return pa.schema(list(_fields_of(record)))


def write_table(path: Path | BinaryIO, record: type[Row], rows: Iterable[Row]) -> int:
    """Write `rows` as one Parquet file and return their number; never holds more than a group."""
    schema, count, stream = schema_of(record), 0, iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd", **_packing(schema)) as writer:
        while group := list(itertools.islice(stream, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_arrays(_columns(group, record), schema=schema))
            count += len(group)
    return count


def read_table(path: Path | BinaryIO, record: type[Row]) -> Iterator[Row]:
    """Yield the records of a Parquet file written by `write_table`, some rows at a time.

    A column that the file lacks, because it is older than the field, is the field's default.
    Raises DataError where the field has none.
    """
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=_ROWS_AT_ONCE):
            yield from _values(batch.to_struct_array(), record)


def read_tables(paths: Iterable[Path], record: type[Row]) -> Iterator[Row]:
    """The records of several files, in the order of `paths`."""
    return itertools.chain.from_iterable(read_table(path, record) for path in paths)


def _packing(schema: pa.Schema) -> dict[str, Any]:
    """How columns of token ids are packed, where there are any.

    A dictionary hides the sequences that zstd would find: without one, and at a higher level, the
    ids of the demo's samples take 64% of the bytes.
    """
    paths = [path for field in schema for path in _leaves(field.name, field.type)]
    ids = {path: _IDS_LEVEL for path, kind in paths if kind == pa.int32()}
    others = [path for path, kind in paths if path not in ids]
    return {"use_dictionary": others, "compression_level": ids} if ids else {}


def _leaves(path: str, arrow: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The columns of a Parquet file that a field of this type becomes, and their types."""
    if pa.types.is_list(arrow):
        yield from _leaves(f"{path}.list.element", arrow.value_type)
    elif pa.types.is_struct(arrow):
        for field in arrow:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path, arrow


def _fields_of(record: type[Any]) -> Iterator[pa.Field]:
    hints = typing.get_type_hints(record)
    for spec in dataclasses.fields(record):
        yield pa.field(spec.name, *_arrow_type(hints[spec.name]))


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool]:
    """The Arrow type of an annotation, and whether the column may hold nulls."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _arrow_type(_present(hint))[0], True
    if origin is tuple:
        return pa.list_(pa.field("item", *_arrow_type(typing.get_args(hint)[0]))), False
    if origin is typing.Literal:
        return pa.string(), False
    if dataclasses.is_dataclass(hint):
        return pa.struct(list(_fields_of(typing.cast(type[Any], hint)))), False
    return _SCALARS[hint], False


def _present(hint: Any) -> Any:
    """The type of an optional value where it is there."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint
    return next(each for each in typing.get_args(hint) if each is not type(None))


def _columns(rows: Sequence[Any], record: type[Any]) -> list[pa.Array]:
    hints = typing.get_type_hints(record)
    names = [spec.name for spec in dataclasses.fields(record)]
    return [_column([getattr(row, name) for row in rows], hints[name]) for name in names]


def _column(values: Sequence[Any], hint: Any) -> pa.Array:
    """Values of one field as an Arrow array."""
    kind, is_null = _present(hint), [value is None for value in values]
    arrow, _ = _arrow_type(kind)
    if kind is TokenIds:
        packed = b"".join(bytes(value) for value in values if value is not None)
        flat = pa.array(np.frombuffer(packed, np.int32), pa.int32())
        return _lists(values, flat, arrow, is_null)
    if typing.get_origin(kind) is tuple:
        items = [item for value in values if value is not None for item in value]
        return _lists(values, _column(items, typing.get_args(kind)[0]), arrow, is_null)
    if dataclasses.is_dataclass(kind):
        columns = _columns(values, typing.cast(type[Any], kind))
        return pa.StructArray.from_arrays(columns, fields=list(arrow))
    return pa.array(values, arrow)


def _lists(
    values: Sequence[Any], flat: pa.Array, arrow: pa.DataType, is_null: Sequence[bool]
) -> pa.Array:
    lengths = (0 if value is None else len(value) for value in values)
    offsets = pa.array(list(itertools.accumulate(lengths, initial=0)), pa.int32())
    mask = pa.array(is_null, pa.bool_()) if any(is_null) else None
    return pa.ListArray.from_arrays(offsets, flat, type=arrow, mask=mask)


def _values(array: pa.Array, hint: Any) -> list[Any]:
    """An Arrow array as values of a field: the inverse of `_column`."""
    kind = _present(hint)
    if kind is TokenIds:
        flat = array.flatten().to_numpy(zero_copy_only=False)
        return [
            None if cut is None else TokenIds.from_bytes(flat[cut].tobytes())
            for cut in _cuts(array)
        ]
    if typing.get_origin(kind) is tuple:
        items = _values(array.flatten(), typing.get_args(kind)[0])
        return [None if cut is None else tuple(items[cut]) for cut in _cuts(array)]
    if dataclasses.is_dataclass(kind):
        return _records(array, typing.cast(type[Any], kind))
    return array.to_pylist()  # type: ignore[no-any-return]


def _cuts(array: pa.Array) -> Iterator[slice | None]:
    """Where each list lies in the flattened array; None for a null."""
    start = 0
    for length in array.value_lengths().to_pylist():
        yield None if length is None else slice(start, start + length)
        start += length or 0


def _records(array: pa.Array, record: type[Any]) -> list[Any]:
    hints = typing.get_type_hints(record)
    there = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
    fields = [
        _values(there[spec.name], hints[spec.name])
        if spec.name in there
        else itertools.repeat(_default(spec, record))
        for spec in dataclasses.fields(record)
    ]
    return [record(*row) for row in itertools.islice(zip(*fields, strict=False), len(array))]


def _default(spec: "dataclasses.Field[Any]", record: type[Any]) -> Any:
    if spec.default is dataclasses.MISSING:
        raise DataError(
            f"a table of {record.__name__} has no column {spec.name!r}; it is of another kind, or "
            "of another version of the project"
        )
    return spec.default
