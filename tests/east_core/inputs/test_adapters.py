"""Adapters merged into a model's files: the numbers, their types, and what does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from east_core.errors import DataError
from east_core.inputs import adapters
from east_core.inputs.adapters import (
    ADAPTER_CONFIG,
    ADAPTER_FILE,
    MERGE_FILE,
    is_adapter,
    make_whole,
    read_adapter,
    trained_config,
    write_merged,
)

Weights = dict[str, torch.Tensor]
RANK, SCALE = 3, 1.7


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of a test take several steps, and the last one is short."""
    monkeypatch.setattr(adapters, "_STEP", 20)


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def base(folder: Path, dtype: torch.dtype = torch.float32) -> Weights:
    """A model in two files, with a tokenizer, an earlier README and an artifact's record."""
    folder.mkdir()
    one = {"up": random(7, 5, seed=1, dtype=dtype), "norm": torch.ones(5, dtype=dtype)}
    two = {"down": random(5, 7, seed=2, dtype=dtype), "steps": torch.arange(4)}
    save_file(one, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})
    save_file(two, folder / "model-00002-of-00002.safetensors", metadata={"format": "pt"})
    places = dict.fromkeys(one, "model-00001-of-00002.safetensors")
    places |= dict.fromkeys(two, "model-00002-of-00002.safetensors")
    index = json.dumps({"weight_map": places})
    (folder / "model.safetensors.index.json").write_text(index)
    (folder / "config.json").write_text(
        json.dumps({"a": 1, "torch_dtype": str(dtype).removeprefix("torch.")})
    )
    for name in ("tokenizer.json", "README.md", "_record.json"):
        (folder / name).write_text(name)
    return {**one, **two}


def adapter(
    folder: Path, names: dict[str, tuple[int, int]], dtype: str = "float32", *, transposed: str = ""
) -> Weights:
    """An adapter of matrices by the shape of their weights; what it adds, in float64."""
    folder.mkdir()
    held, told, added = {}, {}, {}
    for seed, (name, shape) in enumerate(names.items()):
        out, width = shape[::-1] if name == transposed else shape
        a, b = random(RANK, width, seed=10 + seed), random(out, RANK, seed=20 + seed)
        held |= {f"{name}.A": a, f"{name}.B": b}
        is_transposed = name == transposed
        told[name] = {"a": f"{name}.A", "b": f"{name}.B", "scale": SCALE}
        told[name]["is_transposed"] = is_transposed
        product = SCALE * (b.double() @ a.double())
        added[name] = product.T if is_transposed else product
    save_file(held, folder / ADAPTER_FILE)
    (folder / MERGE_FILE).write_text(json.dumps({"dtype": dtype, "weights": told}))
    return added


def merged(model: Path, out: Path, *folders: Path) -> Weights:
    out.mkdir()
    write_merged(model, [read_adapter(folder) for folder in folders], out)
    return {n: t for file in sorted(out.glob("*.safetensors")) for n, t in load_file(file).items()}


TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.mark.parametrize("trained_in", TYPES)
@pytest.mark.parametrize("kept_in", [torch.float32, torch.bfloat16])
def test_a_weight_is_the_sum_rounded_once_in_the_type_of_training(
    tmp_path: Path, kept_in: torch.dtype, trained_in: str
) -> None:
    before, dtype = base(tmp_path / "model", kept_in), TYPES[trained_in]
    shapes = {"up": (7, 5), "down": (5, 7)}
    added = adapter(tmp_path / "one", shapes, trained_in, transposed="down")
    after = merged(tmp_path / "model", tmp_path / "out", tmp_path / "one")
    assert after.keys() == before.keys()
    for name in shapes:
        wanted = before[name].to(dtype).double() + added[name]
        assert after[name].dtype == dtype
        # a sum in another order may round the other way: one unit in the last place
        torch.testing.assert_close(after[name].double(), wanted, atol=1e-6, rtol=_unit(dtype))
    assert torch.equal(after["norm"], before["norm"].to(dtype))
    assert torch.equal(after["steps"], before["steps"])


def _unit(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def test_the_bytes_do_not_depend_on_how_much_is_merged_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base(tmp_path / "model")
    adapter(tmp_path / "one", {"up": (7, 5)})
    pieces = merged(tmp_path / "model", tmp_path / "pieces", tmp_path / "one")
    monkeypatch.setattr(adapters, "_STEP", 10**6)
    whole = merged(tmp_path / "model", tmp_path / "whole", tmp_path / "one")
    assert all(torch.equal(pieces[name], whole[name]) for name in whole)


@pytest.mark.parametrize("trained_in", ["float32", "bfloat16"])
def test_a_chain_in_one_go_is_the_chain_step_by_step(tmp_path: Path, trained_in: str) -> None:
    base(tmp_path / "model")
    adapter(tmp_path / "one", {"up": (7, 5)}, trained_in)
    adapter(tmp_path / "two", {"up": (7, 5), "down": (5, 7)}, trained_in)
    at_once = merged(tmp_path / "model", tmp_path / "both", tmp_path / "one", tmp_path / "two")
    merged(tmp_path / "model", tmp_path / "first", tmp_path / "one")
    in_steps = merged(tmp_path / "first", tmp_path / "second", tmp_path / "two")
    assert all(torch.equal(at_once[name], in_steps[name]) for name in at_once)


def test_an_adapter_is_made_the_whole_model_in_its_place(tmp_path: Path) -> None:
    base(tmp_path / "model")
    adapter(tmp_path / "one", {"up": (7, 5)})
    (tmp_path / "one" / ADAPTER_CONFIG).write_text("{}")
    (tmp_path / "one" / "training.jsonl").write_text("{}")
    merged(tmp_path / "model", tmp_path / "whole", tmp_path / "one")
    make_whole(tmp_path / "one", tmp_path / "model")
    files = {file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()}
    assert files.pop("training.jsonl") == b"{}"
    assert files == {file.name: file.read_bytes() for file in (tmp_path / "whole").iterdir()}
    make_whole(tmp_path / "one", tmp_path / "no model")  # is whole: stays as it is
    assert (tmp_path / "one" / "config.json").read_bytes() == files["config.json"]


def test_all_but_the_weights_is_the_models_own(tmp_path: Path) -> None:
    base(tmp_path / "model", torch.bfloat16)
    adapter(tmp_path / "one", {"up": (7, 5)})
    merged(tmp_path / "model", tmp_path / "out", tmp_path / "one")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names - {
        "README.md",
        "_record.json",
    }
    assert (tmp_path / "out/tokenizer.json").read_text() == "tokenizer.json"
    assert json.loads((tmp_path / "out/config.json").read_text()) == {"a": 1, "dtype": "float32"}
    theirs = (tmp_path / "model/config.json").read_bytes()
    assert trained_config(tmp_path / "model", "bfloat16") == theirs, "byte for byte"


def test_a_folder_is_an_adapter_where_there_is_no_model_in_it(tmp_path: Path) -> None:
    base(tmp_path / "model")
    adapter(tmp_path / "one", {"up": (7, 5)})
    assert is_adapter(tmp_path / "one")
    assert not is_adapter(tmp_path / "model")
    (tmp_path / "one/config.json").write_text("{}")
    assert not is_adapter(tmp_path / "one")


@pytest.mark.parametrize(
    ("names", "has"),
    [({"up": (5, 7)}, r"has F32 \[7, 5\]"), ({"gone": (2, 2)}, "has no such weight")],
)
def test_an_adapter_of_another_model_is_refused(
    tmp_path: Path, names: dict[str, tuple[int, int]], has: str
) -> None:
    base(tmp_path / "model")
    adapter(tmp_path / "one", names)
    with pytest.raises(DataError, match=has):
        merged(tmp_path / "model", tmp_path / "out", tmp_path / "one")


@pytest.mark.parametrize(
    "told",
    [
        "no JSON",
        "[]",
        '{"dtype": "float32"}',
        '{"dtype": "int8", "weights": {}}',
        '{"dtype": "float32", "weights": {"up": {}}}',
        '{"dtype": "float32", "weights": {"up": {"a": "up.A", "b": "x", "scale": 1}}}',
        json.dumps(
            {
                "dtype": "float32",
                "weights": {"up": {"a": "up.B", "b": "up.A", "scale": 1, "is_transposed": 0}},
            }
        ),
    ],
)
def test_a_damaged_adapter_is_one_line(tmp_path: Path, told: Any) -> None:
    adapter(tmp_path / "one", {"up": (7, 5)})
    (tmp_path / "one" / MERGE_FILE).write_text(told)
    with pytest.raises(DataError, match=r"merge\.json") as caught:
        read_adapter(tmp_path / "one")
    assert "\n" not in str(caught.value)
