"""LoRA checkpoints as their adapters alone, and the whole model made of one.

Training that leaves all but a few low-rank matrices as they were (arXiv:2106.09685) is stored as
these: a trained weight is W + s B A of the weight W that it began from. The sum is taken here in
float64, in one order and element by element, and rounded once: so every machine makes the same
bytes, which libraries for matrices do not promise.

An adapter is three files: `adapter_model.safetensors` and `adapter_config.json` as peft writes and
reads them, and `merge.json`, which says for each weight what is added to it.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from east_core.errors import DataError
from east_core.inputs.tensors import (
    FLOATS,
    INDEX_FILE,
    WEIGHTS_FILE,
    Tensor,
    as_float64,
    blocks_of,
    read_numbers,
    read_tensors,
    rounded,
    tensors_in,
    weight_files,
    write_header,
)

ADAPTER_FILE, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MERGE_FILE = "merge.json"
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json")
_NOT_KEPT = ("config.json", "README.md", ".gitattributes")
_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_STEP = 2**17  # numbers at a time: what a core's cache holds
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LowRank:
    """What is added to a weight (out, in): scale * B A of b (out, rank) and a (rank, in).

    Where the layer keeps its weight transposed (in, out), so is the product.
    """

    a: Tensor
    b: Tensor
    scale: float
    is_transposed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight."""
        out, width = self.b.shape[0], self.a.shape[1]
        return (width, out) if self.is_transposed else (out, width)

    def factors(self) -> tuple[Numbers, Numbers]:
        """Two matrices whose product has the weight's shape; the scale is in the first."""
        a, b = (read_numbers(t, 0, math.prod(t.shape)).reshape(t.shape) for t in (self.a, self.b))
        left, right = (a.T, b.T) if self.is_transposed else (b, a)
        return self.scale * left, right


@dataclass(frozen=True, slots=True)
class Adapter:
    """What a training has changed: `changes` by the weight's name; `dtype` ("bfloat16") is the
    type of all weights in training, to which they were rounded before and are after it.
    """

    dtype: str
    changes: Mapping[str, LowRank]


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and not the model that it belongs to."""
    return (folder / ADAPTER_FILE).is_file() and not (folder / "config.json").is_file()


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder. Raises DataError where its files do not fit each other."""
    held = read_tensors([folder / ADAPTER_FILE])
    try:
        told = json.loads((folder / MERGE_FILE).read_text("utf-8"))
        changes = {name: _low_rank(held, each) for name, each in told["weights"].items()}
        adapter = Adapter(str(told["dtype"]), changes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{folder / MERGE_FILE} does not tell what {ADAPTER_FILE} adds") from None
    if adapter.dtype not in _DTYPES or not all(map(_is_low_rank, changes.values())):
        raise DataError(f"{folder / MERGE_FILE} and {ADAPTER_FILE} do not fit each other")
    return adapter


def write_merged(base: Path, adapters: Sequence[Adapter], out: Path) -> None:
    """Write the model of the folder `base`, trained by the adapters one after the other, to `out`.

    Weights lie in the files in which the base has them; tokenizer and template are the base's.
    Raises DataError where an adapter changes what the base has not.
    """
    files = weight_files(base)
    for adapter in adapters:
        _require_weights(base, read_tensors(files), adapter)
    with ThreadPoolExecutor() as pool:
        for file in files:
            _write_weights(file, out / file.name, adapters, pool)
    for source in files_beside_weights(base):
        shutil.copyfile(source, out / source.name)
    if not (base / WEIGHTS_FILE).is_file():
        shutil.copyfile(base / INDEX_FILE, out / INDEX_FILE)
    (out / "config.json").write_bytes(trained_config(base, adapters[-1].dtype))


def make_whole(folder: Path, base: Path) -> None:
    """Write the whole model in place of an adapter on `base`; what is whole stays as it is."""
    if not is_adapter(folder):
        return
    write_merged(base, [read_adapter(folder)], folder)
    for name in (ADAPTER_FILE, ADAPTER_CONFIG, MERGE_FILE):
        (folder / name).unlink()


def files_beside_weights(model: Path) -> Iterator[Path]:
    """The files that training keeps as they are, byte for byte: tokenizer, template, code ..."""
    for file in sorted(model.iterdir()):
        is_ours = file.name.startswith("_record")  # the store's own, beside an artifact's files
        is_weights = file.name.endswith(_WEIGHTS)
        if file.is_file() and not (is_ours or is_weights or file.name in _NOT_KEPT):
            yield file


def trained_config(model: Path, dtype: str) -> bytes:
    """The model's own config.json after training in `dtype` ("float32").

    Where the weights have another type than the model's had (a bf16 model trained in fp32, whose
    small steps bf16 would lose), its entry alone is changed.
    """
    theirs = (model / "config.json").read_bytes()
    config = json.loads(theirs)
    if config.get("dtype", config.get("torch_dtype")) == dtype:
        return theirs
    config.pop("torch_dtype", None)
    return (json.dumps({**config, "dtype": dtype}, indent=2) + "\n").encode()


def _low_rank(held: Mapping[str, Tensor], told: Mapping[str, Any]) -> LowRank:
    return LowRank(
        held[told["a"]], held[told["b"]], float(told["scale"]), bool(told["is_transposed"])
    )


def _is_low_rank(change: LowRank) -> bool:
    a, b = change.a, change.b
    is_matrix = len(a.shape) == len(b.shape) == 2 and {a.dtype, b.dtype} <= FLOATS.keys()
    return is_matrix and a.shape[0] == b.shape[1]


def _require_weights(base: Path, tensors: Mapping[str, Tensor], adapter: Adapter) -> None:
    for name, change in adapter.changes.items():
        found = tensors.get(name)
        if found is None or found.shape != change.shape or found.dtype not in FLOATS:
            has = "no such weight" if found is None else str(found)
            raise DataError(
                f"an adapter changes {name} {list(change.shape)}, and {base} has {has}: it was "
                "trained from another model"
            )


def _write_weights(source: Path, target: Path, adapters: Sequence[Adapter], pool: Executor) -> None:
    """Write a file of weights as the adapters leave them, in the order that they have there."""
    dtype = _DTYPES[adapters[-1].dtype]
    tensors = dict(tensors_in(source))
    with target.open("wb") as out:
        types = {name: dtype if t.dtype in FLOATS else t.dtype for name, t in tensors.items()}
        out.write(write_header(tensors, types))
        for name, tensor in tensors.items():
            out.writelines(_trained(tensor, name, adapters, pool))


def _trained(
    tensor: Tensor, name: str, adapters: Sequence[Adapter], pool: Executor
) -> Iterator[bytes]:
    """A tensor's bytes after training, some rows at a time."""
    if tensor.dtype not in FLOATS:
        yield from blocks_of(tensor, 1, tensor.size)
        return
    steps = [
        (_DTYPES[each.dtype], each.changes[name].factors() if name in each.changes else None)
        for each in adapters
    ]
    width = tensor.shape[-1] if tensor.shape else 1
    rows = math.prod(tensor.shape[:-1])
    at_once = max(1, _STEP // max(1, width))

    def made(first: int) -> bytes:
        return _rows_after(tensor, steps, first, min(at_once, rows - first))

    yield from pool.map(made, range(0, rows, at_once))


def _rows_after(
    tensor: Tensor,
    steps: Sequence[tuple[str, tuple[Numbers, Numbers] | None]],
    first: int,
    count: int,
) -> bytes:
    """Rows of a tensor after all steps, each of which rounds to its type before and after."""
    width = tensor.shape[-1] if tensor.shape else 1
    values, dtype = read_numbers(tensor, first * width, count * width), tensor.dtype
    for dtype, factors in steps:
        values = as_float64(rounded(values, dtype), dtype)
        if factors is not None:
            left, right = factors
            added = _product(left[first : first + count], right)
            values = as_float64(rounded(values + added.reshape(-1), dtype), dtype)
    return rounded(values, dtype)


def _product(left: Numbers, right: Numbers) -> Numbers:
    """left (rows, rank) times right (rank, width), summed over the rank in its order."""
    total = np.zeros((len(left), right.shape[1]))
    term = np.empty_like(total)
    for k, row in enumerate(right):
        total += np.multiply(left[:, k, None], row, out=term)
    return total
