"""Which checkpoints an engine may take in place of the one that it was built for."""

import json
from pathlib import Path
from typing import Any

import pytest

from east_core.config import Resources
from east_core.engines.probe import Probe
from east_core.engines.vllm.sampler import VllmSampler, fits_in_place
from east_core.protocols import ModelSource

LLAMA = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "dtype": "float32"}


def model(folder: Path, **config: Any) -> ModelSource:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**LLAMA, **config}))
    return ModelSource(folder, folder.name)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [({}, True), ({"dtype": "bfloat16"}, True), ({"hidden_size": 128}, False)],
)
def test_weights_of_the_same_architecture_fit(
    tmp_path: Path, changed: dict[str, Any], fits: bool
) -> None:
    one, other = model(tmp_path / "one"), model(tmp_path / "other", **changed)
    assert fits_in_place(one, other) is fits


def test_a_model_whose_experts_a_reload_does_not_reach_is_started_anew(tmp_path: Path) -> None:
    gpt_oss = {"architectures": ["GptOssForCausalLM"]}
    one, other = (model(tmp_path / name, **gpt_oss) for name in ("one", "other"))
    assert not fits_in_place(one, other)


def test_only_what_a_probe_can_tell_is_taken_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint has one; of a base model the engine that was started with it has told."""
    base, trained, foreign = (model(tmp_path / name) for name in ("base", "trained", "foreign"))
    Probe([1, 2], [-0.5]).write(trained.folder)
    sampler = VllmSampler(Resources(device="cpu"))
    sampler._probes[base] = Probe([1, 2], [-0.25])
    started: list[ModelSource] = []
    monkeypatch.setattr(sampler, "_start", started.append)
    monkeypatch.setattr(sampler, "_load", lambda _: True)
    for source in (base, trained, base, foreign, trained):
        sampler._serve(source)
    assert started == [base, foreign]
