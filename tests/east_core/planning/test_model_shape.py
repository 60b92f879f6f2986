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


# As they stand on the hub: entries that are the class's defaults are left out.
GEMMA_2_9B = {
    "model_type": "gemma2",
    "hidden_size": 3584,
    "intermediate_size": 14336,
    "num_hidden_layers": 42,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "vocab_size": 256000,
}
GEMMA_3_1B = {
    "model_type": "gemma3_text",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "vocab_size": 262144,
}
GEMMA_3_4B = {
    "model_type": "gemma3",
    "text_config": {
        "model_type": "gemma3_text",
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
    },
}
QWEN3_30B_A3B = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
GPT_2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (GEMMA_2_9B, 9_241_705_984),  # Gemma-2-9B's safetensors
        (GEMMA_3_1B, 999_885_952),  # Gemma-3-1B
        (GEMMA_3_4B, 3_880_263_168),  # Gemma-3-4B without its vision tower and projector
        (QWEN3_30B_A3B, 30_532_122_624),  # Qwen3-30B-A3B
        (GPT_2, 124_439_808),  # GPT-2
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
        parse_shape({**LLAMA_8B, "num_local_experts": 8}, "unheard-of")
    with pytest.raises(ConfigError, match="too few"):
        shape_of_size(1e8, 8192, 80)
