"""Averages of safetensors files, by files made here and read back by the library."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from east_core.errors import DataError
from east_core.inputs import tensors
from east_core.inputs.tensors import (
    read_tensors,
    round_to_bfloat16,
    weight_files,
    widen_bfloat16,
    write_average,
)

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
ODD = [0.0, -0.0, 1.0, 1e-41, -3.0e-5, 65504.0, 0.1, float("inf"), float("nan")]


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of a test take several steps, and the last one is short."""
    monkeypatch.setattr(tensors, "_STEP", 7)


def model(path: Path, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    made = {
        "a": torch.randn(5, 9, generator=random).to(dtype),
        "b.scalar": torch.randn((), generator=random).to(dtype),
        "c.empty": torch.empty(0, 3, dtype=dtype),
        "d.odd": torch.tensor(ODD).to(dtype),
        "e.steps": torch.arange(20),
    }
    save_file(made, path, metadata={"format": "pt"})
    return made


def bits(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.contiguous().view(-1).view(torch.uint8).tolist())


def averaged(folder: Path, *parts: tuple[float, str]) -> dict[str, torch.Tensor]:
    """The average of files in a folder, laid out as the last one."""
    given = [(weight, read_tensors([folder / name])) for weight, name in parts if weight]
    write_average(folder / parts[-1][1], folder / "out", given)
    return load_file(folder / "out")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.3, 0.7), (0.1, 0.9)])
def test_a_model_and_itself_average_to_itself(
    tmp_path: Path, dtype: torch.dtype, weights: tuple[float, float]
) -> None:
    made = model(tmp_path / "x", 1, dtype)
    found = averaged(tmp_path, (weights[0], "x"), (weights[1], "x"))
    numbers = {name: ~torch.isnan(t) for name, t in made.items()}
    exact = dtype != torch.float64 or weights == (0.5, 0.5)
    for name, tensor in made.items():
        there, wanted = found[name][numbers[name]], tensor[numbers[name]]
        if exact:
            assert bits(there) == bits(wanted), name
        else:  # sums of float64 are float64 themselves
            torch.testing.assert_close(there, wanted, rtol=1e-15, atol=0)
        assert torch.isnan(found[name][~numbers[name]]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_of_one_gives_that_checkpoint_byte_for_byte(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    for name, seed in (("x", 1), ("y", 2)):
        model(tmp_path / name, seed, dtype)
    for weights, same in (((1, 0), "x"), ((0, 1), "y")):
        averaged(tmp_path, (weights[0], "x"), (weights[1], "y"))
        assert (tmp_path / "out").read_bytes() == (tmp_path / same).read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_those_of_torch(tmp_path: Path, dtype: torch.dtype) -> None:
    x, y, z = (model(tmp_path / name, seed, dtype) for seed, name in enumerate("xyz"))
    found = averaged(tmp_path, (0.2, "x"), (0.3, "y"), (0.5, "z"))
    for name in ("a", "b.scalar", "c.empty"):
        wide = 0.2 * x[name].double() + 0.3 * y[name].double() + 0.5 * z[name].double()
        assert bits(found[name]) == bits(wide.to(dtype)), name


def test_types_may_differ_and_the_last_one_counts(tmp_path: Path) -> None:
    x, y = model(tmp_path / "x", 1, torch.bfloat16), model(tmp_path / "y", 2)
    wide = 0.25 * x["a"].double() + 0.75 * y["a"].double()
    assert bits(averaged(tmp_path, (0.25, "x"), (0.75, "y"))["a"]) == bits(wide.float())
    assert bits(averaged(tmp_path, (0.75, "y"), (0.25, "x"))["a"]) == bits(wide.bfloat16())


def test_bfloat16_is_rounded_as_torch_does_it() -> None:
    upper = np.arange(0, 2**16, 5, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=np.uint32)
    values = (upper[:, None] | lower).ravel().view(np.float32)
    theirs = torch.from_numpy(values).bfloat16()
    is_number = ~np.isnan(values)  # a NaN of torch's has other bits on other machines
    ours = round_to_bfloat16(values)[is_number]
    assert np.array_equal(ours, theirs.view(torch.uint16).numpy()[is_number])
    back = widen_bfloat16(round_to_bfloat16(values))
    assert np.array_equal(back, theirs.float().numpy(), equal_nan=True)


def test_whole_numbers_must_be_the_same(tmp_path: Path) -> None:
    for name, steps in (("x", 3), ("y", 4)):
        save_file({"steps": torch.arange(steps, steps + 9)}, tmp_path / name)
    with pytest.raises(DataError, match=r"steps is I64 \[9\]: can't be averaged, and differs"):
        averaged(tmp_path, (0.5, "x"), (0.5, "y"))


def write_index(folder: Path, weight_map: object) -> None:
    (folder / tensors.INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))


def test_the_index_tells_the_shards(tmp_path: Path) -> None:
    for name in ("one", "two", "stray"):
        model(tmp_path / f"{name}.safetensors", 1)
    write_index(tmp_path, {"a": "two.safetensors", "b": "one.safetensors", "c": "two.safetensors"})
    assert [file.name for file in weight_files(tmp_path)] == ["one.safetensors", "two.safetensors"]
    with pytest.raises(DataError, match=r"two\.safetensors holds .*, and so does .*one"):
        read_tensors(weight_files(tmp_path))


@pytest.mark.parametrize(
    ("weight_map", "says"),
    [
        ({"a": "gone.safetensors"}, r"names gone\.safetensors: not there"),
        ({"a": "../x.safetensors"}, r"names \.\./x\.safetensors: not there"),
        ({}, "names no file"),
        (["a"], "is no index"),
        ({"a": 3}, "is no index"),
    ],
)
def test_a_wrong_index_is_refused(tmp_path: Path, weight_map: object, says: str) -> None:
    (tmp_path / "model").mkdir()
    model(tmp_path / "x.safetensors", 1)
    write_index(tmp_path / "model", weight_map)
    with pytest.raises(DataError, match=says):
        weight_files(tmp_path / "model")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, "not where its header says"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "not where its header says"),
        ({"shape": [2], "data_offsets": [0, 8]}, "does not say what w is"),
        ({"dtype": "F32", "shape": "two", "data_offsets": [0, 8]}, "does not say what w is"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, entry: dict[str, object], says: str) -> None:
    header = json.dumps({"w": entry}).encode()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(DataError, match=says):
        read_tensors([tmp_path / "x"])
