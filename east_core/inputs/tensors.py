"""Safetensors files read and written a million numbers at a time, and their weighted averages.

A file (huggingface.co/docs/safetensors) is eight bytes with the header's length, a JSON header
with each tensor's type, shape and `data_offsets`, then the data. It is read and written here, as
the library writes a file only from all of its tensors in memory, and numpy has no bfloat16.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from east_core.errors import DataError

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
# The types that are averaged, as numpy reads them; bfloat16 is the upper half of a float32.
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_STEP = 2**20  # numbers at a time: 8 MiB a checkpoint in float64


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies: `size` bytes from `start` on in `file`; `dtype` as safetensors says."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    def same_layout(self, other: "Tensor") -> bool:
        """Whether both have one shape, and types that can be averaged."""
        floats = self.dtype in FLOATS and other.dtype in FLOATS
        return self.shape == other.shape and (floats or self.dtype == other.dtype)

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


Tensors = Mapping[str, Tensor]


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: one, or the shards that its index names.

    Raises DataError where there are none, or where the index names what is not there.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise DataError(f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}")
    try:
        names = set(json.loads((folder / INDEX_FILE).read_text("utf-8"))["weight_map"].values())
        missing = [name for name in names if Path(name).name != name]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / INDEX_FILE} is no index of safetensors files") from None
    missing += [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        raise DataError(f"{folder / INDEX_FILE} names {min(missing, default='no file')}: not there")
    return [folder / name for name in sorted(names)]


def read_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    """The tensors of a model's files by name, in the order of their bytes.

    Raises DataError where a file is cut off or holds a tensor that another one holds too.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        if problem := safetensors_problem(file):
            raise DataError(f"{file} {problem}; download or copy it again")
        for name, tensor in tensors_in(file):
            if name in found:
                raise DataError(f"{file} holds {name}, and so does {found[name].file}")
            found[name] = tensor
    return found


def safetensors_problem(path: Path) -> str | None:
    """Why a file of weights can't be whole; None where its length is what its header says.

    The format (huggingface.co/docs/safetensors): eight bytes with the header's length, a JSON
    header with each tensor's `data_offsets`, then the data.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            return f"is cut off in its header ({size} bytes)"
        raw = stream.read(length)
    try:
        tensors = json.loads(raw)
        ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
        entry = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "has no safetensors header"
    return None if entry == size else f"has {size} bytes where its header says {entry}"


def write_average(source: Path, target: Path, parts: Sequence[tuple[float, Tensors]]) -> int:
    """Write the weighted average of the tensors in `source`, laid out as there; how many numbers.

    `parts` are weights (each above 0, sum 1) and the tensors of the model that each belongs to.
    Sums are float64 and are rounded once to the type that the tensor has in `source`, half to
    even; so equal tensors come out as they are, bit for bit. Tensors that are no floats must be
    the same in all parts: DataError otherwise.
    """
    total = 0
    with source.open("rb") as stream, target.open("wb") as out:
        out.write(stream.read(8 + _header_length(stream)))
        for name, shape in tensors_in(source):
            given = [(weight, tensors[name]) for weight, tensors in parts]
            if shape.dtype in FLOATS:
                _write_floats(out, shape, given)
            else:
                _write_equal(out, name, [tensor for _, tensor in given])
            total += math.prod(shape.shape)
    return total


def write_header(tensors: Tensors, types: Mapping[str, str]) -> bytes:
    """The beginning of a file that holds these tensors, in their order, as those types."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        dtype, start = types[name], end
        is_float = dtype in FLOATS
        end += _width(dtype) * math.prod(tensor.shape) if is_float else tensor.size
        entries[name] = {
            "dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]
        }  # fmt: skip
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data begins at a multiple of eight, as the library has it
    return struct.pack("<Q", len(text)) + text


def widen_bfloat16(halves: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """The numbers that bfloat16 bits stand for."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def round_to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16, half to even, as torch rounds; NaN stays NaN (0x7FC0)."""
    bits = values.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def _header_length(stream: BinaryIO) -> int:
    """The header's length in bytes; the stream is at its beginning before and after."""
    length: int = struct.unpack("<Q", stream.read(8))[0]
    stream.seek(0)
    return length


def tensors_in(file: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one file in the order of their bytes, which they fill without a gap."""
    with file.open("rb") as stream:
        begin = 8 + _header_length(stream)
        header = json.loads(stream.read(begin)[8:])
    header.pop("__metadata__", None)
    end = begin
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        try:
            first, last = entry["data_offsets"]
            shape = tuple(map(int, entry["shape"]))
            tensor = Tensor(file, str(entry["dtype"]), shape, begin + first, last - first)
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{file}: its header does not say what {name} is") from None
        if tensor.start != end or not _fills(tensor):
            raise DataError(f"{file}: the bytes of {name} are not where its header says")
        end += tensor.size
        yield name, tensor


def _width(dtype: str) -> int:
    """Bytes of a number."""
    return np.dtype(FLOATS[dtype]).itemsize


def _fills(tensor: Tensor) -> bool:
    """Whether a tensor has as many bytes as its shape and type need."""
    if tensor.dtype not in FLOATS:
        return tensor.size >= 0
    return tensor.size == _width(tensor.dtype) * math.prod(tensor.shape)


def _write_floats(out: BinaryIO, shape: Tensor, given: Sequence[tuple[float, Tensor]]) -> None:
    """Write the weighted sum; a single part of the same type is copied, whatever its bits."""
    if len(given) == 1 and given[0][1].dtype == shape.dtype:
        out.writelines(blocks_of(given[0][1], 1, shape.size))
        return
    numbers = math.prod(shape.shape)
    readers = [blocks_of(t, t.size // numbers if numbers else 1, numbers) for _, t in given]
    for blocks in zip(*readers, strict=True):
        pairs = zip(given, blocks, strict=True)
        terms = (weight * as_float64(block, t.dtype) for (weight, t), block in pairs)
        total = next(terms)  # not 0 + ...: that would turn -0.0 into 0.0
        for term in terms:
            total += term
        out.write(rounded(total, shape.dtype))


def _write_equal(out: BinaryIO, name: str, given: Sequence[Tensor]) -> None:
    for blocks in zip(*(blocks_of(tensor, 1, tensor.size) for tensor in given), strict=True):
        if len(set(blocks)) > 1:
            raise DataError(f"{name} is {given[0]}: can't be averaged, and differs between rounds")
        out.write(blocks[0])


def blocks_of(tensor: Tensor, width: int, numbers: int) -> Iterator[bytes]:
    """A tensor's bytes, at most `_STEP` of its `numbers` (of `width` bytes each) at a time."""
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start)
        for done in range(0, numbers, _STEP):
            yield stream.read(min(_STEP, numbers - done) * width)


def read_numbers(tensor: Tensor, first: int, count: int) -> npt.NDArray[np.float64]:
    """`count` of the tensor's numbers from number `first` on, in the order of their bytes."""
    width = _width(tensor.dtype)
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.start + first * width)
        return as_float64(stream.read(count * width), tensor.dtype)


def as_float64(block: bytes, dtype: str) -> npt.NDArray[np.float64]:
    """The numbers in bytes of a type that safetensors names ("BF16")."""
    values = np.frombuffer(block, FLOATS[dtype])
    return (widen_bfloat16(values) if dtype == "BF16" else values).astype(np.float64)


def rounded(values: npt.NDArray[np.float64], dtype: str) -> bytes:
    """Numbers as the bytes of a type, each rounded to the nearest, half to even."""
    if dtype == "BF16":
        return round_to_bfloat16(values.astype(np.float32)).astype("<u2").tobytes()
    return values.astype(FLOATS[dtype]).tobytes()
