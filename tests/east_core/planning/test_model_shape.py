"""Parameter counts of published models, from their published sizes."""

import json
from pathlib import Path

import pytest

from east_core.config import ModelConfig
from east_core.errors import ConfigError, DataError
from east_core.planning.model_shape import parse_shape, shape_of, shape_of_size

LLAMA_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
LLAMA_1B = {
    **LLAMA_8B,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "head_dim": 64,
    "tie_word_embeddings": True,
}
LLAMA_70B = {
    **LLAMA_8B,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}
QWEN2_HALF_B = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA_8B, 8_030_261_248),  # Llama-3.1-8B's safetensors
        (LLAMA_1B, 1_235_814_400),  # Llama-3.2-1B
        (LLAMA_70B, 70_553_706_496),  # Llama-3.1-70B
        (QWEN2_HALF_B, 494_032_768),  # Qwen2.5-0.5B
    ],
)
def test_parameters_are_counted_to_the_last_one(config: dict[str, int], parameters: int) -> None:
    assert parse_shape(config, "m").parameters == parameters


def test_the_seed_models_parameters_are_those_of_its_file() -> None:
    from safetensors import safe_open

    from east_core.inputs.questions import builtin_path

    with safe_open(builtin_path("seed_model") / "model.safetensors", "np") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    counted = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)
    assert shape_of(ModelConfig()).parameters == counted


def test_a_model_known_by_its_size_looks_like_llama() -> None:
    known, guessed = parse_shape(LLAMA_8B, "m"), shape_of_size(8.03e9, 4096, 32)
    assert guessed.intermediate == known.intermediate
    assert guessed.kv_width == known.kv_width


def test_local_folders_and_wrapped_text_models(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"text_config": LLAMA_1B}))
    assert shape_of(ModelConfig(name=str(tmp_path))).layers == 16
    assert shape_of(ModelConfig(name=f"file://{tmp_path}")).layers == 16


def test_what_can_not_be_planned_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="no hidden_size; give --params") as told:
        shape_of(ModelConfig(name=str(tmp_path)))
    assert "\n" not in str(told.value)
    with pytest.raises(DataError, match=r"config\.json can't be read"):
        shape_of(ModelConfig(name=str(tmp_path / "absent")))
    with pytest.raises(ConfigError, match="mixture of experts"):
        parse_shape({**LLAMA_8B, "num_local_experts": 8}, "mixtral")
    with pytest.raises(ConfigError, match="too few"):
        shape_of_size(1e8, 8192, 80)
