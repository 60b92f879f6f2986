"""How an engine is built: its context is what is asked for, where the model has that much."""

import json
from pathlib import Path
from typing import Literal

import pytest

from east_core.config import Resources
from east_core.engines.vllm.batching import BatchPolicy
from east_core.engines.vllm.options import EngineOptions
from east_core.engines.vllm.sampler import context_for
from east_core.inputs.context import own_context
from east_core.protocols import GenerationSettings, ModelSource


@pytest.mark.parametrize(
    ("asked", "needed", "context"),
    [
        (None, None, None),  # the model's own
        (None, 900, 900),
        (512, 900, 512),  # the user's word counts
        (None, 131072, None),
        (200000, 900, None),  # never more than the model has
    ],
)
def test_an_engine_has_room_for_what_is_needed(
    tmp_path: Path, asked: int | None, needed: int | None, context: int | None
) -> None:
    config = {"text_config": {"max_position_embeddings": 131072}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = GenerationSettings(
        8, 1.0, 1.0, 64, None, (), 0, max_context=asked, needed_context=needed
    )
    assert context_for(ModelSource(tmp_path, "m"), settings) == context
    options = EngineOptions.from_resources(Resources(device="cpu"), False, context)
    assert options.llm_arguments().get("max_model_len") == context


@pytest.mark.parametrize(
    "config",
    [
        {"max_position_embeddings": 1024},
        {"text_config": {"max_position_embeddings": 1024}},
        {"n_positions": 1024},  # GPT-2's name
        {"max_seq_len": 1024},  # MPT's
    ],
)
def test_the_models_own_context_is_found_by_each_familys_name(
    tmp_path: Path, config: dict[str, object]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = GenerationSettings(8, 1.0, 1.0, 64, None, (), 0, needed_context=2048)
    assert own_context(tmp_path) == 1024
    assert context_for(ModelSource(tmp_path, "m"), settings) is None
    assert own_context(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("device", "asked", "given"), [("cuda", None, None), ("cuda", 64, 64), ("cpu", None, 256)]
)
def test_on_gpus_vllm_chooses_how_many_sequences_where_nobody_did(
    device: Literal["cuda", "cpu"], asked: int | None, given: int | None
) -> None:
    resources = Resources(device=device, max_sequences=asked)
    options = EngineOptions.from_resources(resources, trust_remote_code=False)
    assert options.llm_arguments().get("max_num_seqs") == given
    if device == "cuda":  # its queue never runs dry: vLLM takes 1,024 at a time on the largest
        assert BatchPolicy.of(resources, samples_per_question=8).size == (asked or 1024) // 8
