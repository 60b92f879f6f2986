"""The sizes of a decoder-only transformer: enough to count parameters and bytes without weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from east_core.config import ModelConfig
from east_core.errors import ConfigError, DataError
from east_core.inputs.questions import BUILTIN, builtin_path

CONFIG = "config.json"
_EXPERTS = ("num_local_experts", "num_experts")
_COVERED_EXPERTS = ("qwen3_moe", "mixtral", "gpt_oss")
_GEMMA_3 = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": True,
}
# What a family's config class fills in where the makers' config.json is silent (transformers 5.19).
_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma": {**_GEMMA_3, "hidden_size": 3072, "vocab_size": 256_000, "num_key_value_heads": 16},
    "gemma2": {**_GEMMA_3, "vocab_size": 256_000, "max_position_embeddings": 8192},
    "gemma3": _GEMMA_3,
    "gemma3_text": _GEMMA_3,
    "gpt_oss": {"head_dim": 64},
}
# What a model that is only known by its size is taken to look like: Llama 3's proportions.
HEAD_SIZE, KV_HEADS, VOCABULARY, CONTEXT = 128, 8, 128_256, 131_072


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder (Llama, Qwen, Mistral, Gemma, mixtures of experts, GPT-2 ...).

    `heads` x `head_size` may differ from `hidden`; `kv_heads` are the groups of grouped-query
    attention; `tied`: the LM head is the embedding. `parameters` is their number; of a
    mixture of experts all are counted, as memory does (a token computes with a part of them).
    """

    hidden: int
    layers: int
    intermediate: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    tied: bool
    parameters: int

    @property
    def query_width(self) -> int:
        """Width of a layer's queries."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of a layer's keys, and of its values."""
        return self.kv_heads * self.head_size

    @property
    def embedding(self) -> int:
        """Parameters of the embedding table."""
        return self.vocabulary * self.hidden


def shape_of(model: ModelConfig) -> ModelShape:
    """The shape that a model's config.json tells, wherever the model is; no weights are read.

    Raises DataError where there is none, ConfigError for what the formulas do not cover.
    """
    return parse_shape(_read_config(model), model.name)


def shape_of_size(parameters: float, hidden: int, layers: int) -> ModelShape:
    """A model with so many parameters in Llama 3's proportions; raises ConfigError if none has."""
    heads = max(hidden // HEAD_SIZE, 1)
    kv_heads = min(KV_HEADS, heads)
    attention = 2 * hidden * HEAD_SIZE * (heads + kv_heads)
    left = parameters - 2 * VOCABULARY * hidden - layers * attention
    intermediate = round(left / (3 * hidden * layers))
    if intermediate < 1:
        raise ConfigError(
            f"--params {parameters:.3g} are too few for --hidden {hidden} and --layers {layers} "
            f"with a vocabulary of {VOCABULARY:,}; check the three"
        )
    config = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": HEAD_SIZE,
        "intermediate_size": intermediate,
        "vocab_size": VOCABULARY,
    }
    return replace(_parsed(config), parameters=round(parameters))


def parse_shape(config: Mapping[str, Any], name: str) -> ModelShape:
    """The shape in a config.json of Transformers; `name` names the model in errors."""
    outer = config.get("model_type")
    config = config.get("text_config", config)
    kind = config.get("model_type", outer)
    config = {**_DEFAULTS.get(str(kind), {}), **config, "model_type": kind}
    if config["model_type"] == "gpt2":
        return _gpt2(config)
    if any(config.get(key) for key in _EXPERTS) and kind not in _COVERED_EXPERTS:
        raise ConfigError(
            f"model {name} is a mixture of experts, which the formulas do not cover; plan with a "
            "dense model of its size: --params, --hidden and --layers"
        )
    try:
        return _parsed(config)
    except KeyError as missing:
        raise DataError(
            f"model {name}: its {CONFIG} has no {missing.args[0]}; give --params, --hidden and "
            "--layers"
        ) from None


def _parsed(config: Mapping[str, Any]) -> ModelShape:
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_size = config.get("head_dim") or hidden // heads
    intermediate, vocabulary = config["intermediate_size"], config["vocab_size"]
    tied = bool(config.get("tie_word_embeddings", False))
    attention = 2 * hidden * head_size * (heads + kv_heads)
    layer = attention + _small(config, hidden, heads * head_size, kv_heads * head_size)
    layer += _feed_forward(config, hidden, intermediate) + _norms(config) * hidden
    tables = vocabulary * hidden * (1 if tied else 2)
    return ModelShape(
        hidden=hidden,
        layers=layers,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=vocabulary,
        context=config.get("max_position_embeddings", CONTEXT),
        tied=tied,
        parameters=tables + layers * layer + hidden,
    )


def _feed_forward(config: Mapping[str, Any], hidden: int, intermediate: int) -> int:
    """Parameters of a layer's gated feed-forward block, or of all its experts and their router."""
    experts = next((int(config[key]) for key in _EXPERTS if config.get(key)), 0)
    if not experts:
        return 3 * hidden * intermediate
    width = config.get("moe_intermediate_size") or intermediate
    biases = 2 * width + hidden + 1 if config["model_type"] == "gpt_oss" else 0
    return experts * (3 * hidden * width + hidden + biases)


def _norms(config: Mapping[str, Any]) -> int:
    """Norms of the model's width in a layer: Gemma 2 and 3 have them before and behind blocks."""
    return 4 if config.get("model_type") in ("gemma2", "gemma3", "gemma3_text") else 2


def _small(config: Mapping[str, Any], hidden: int, query_width: int, kv_width: int) -> int:
    """Small vectors of an attention block: biases, norms of queries and keys, gpt-oss's sinks."""
    kind, head = config.get("model_type"), int(config.get("head_dim") or HEAD_SIZE)
    if kind == "gpt_oss":
        return query_width + 2 * kv_width + hidden + query_width // head
    if kind == "qwen2" or config.get("attention_bias"):
        return query_width + 2 * kv_width
    if kind in ("qwen3", "qwen3_moe", "gemma3", "gemma3_text"):
        return 2 * head
    return query_width + kv_width if kind == "olmo2" else 0


def _gpt2(config: Mapping[str, Any]) -> ModelShape:
    """GPT-2: learned positions, biases everywhere, a feed-forward block without a gate."""
    hidden, layers, heads = config["n_embd"], config["n_layer"], config["n_head"]
    inner, context = config.get("n_inner") or 4 * hidden, config.get("n_positions", 1024)
    attention = 4 * hidden * hidden + 4 * hidden
    layer = attention + 2 * hidden * inner + inner + hidden + 4 * hidden
    tables = (config["vocab_size"] + context) * hidden
    return ModelShape(
        hidden=hidden,
        layers=layers,
        intermediate=inner,
        heads=heads,
        kv_heads=heads,
        head_size=hidden // heads,
        vocabulary=config["vocab_size"],
        context=context,
        tied=True,
        parameters=tables + layers * layer + 2 * hidden,
    )


def _read_config(model: ModelConfig) -> dict[str, Any]:
    try:
        text = _config_text(model)
        config: dict[str, Any] = json.loads(text)
    except Exception as error:  # no network, no such repository, each filesystem's own ...
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"model {model.name}: its {CONFIG} can't be read ({reason}); check model.name, or give "
            "--params, --hidden and --layers"
        ) from error
    return config


def _config_text(model: ModelConfig) -> str:
    name = model.name
    if name.startswith(BUILTIN):
        return (builtin_path(name.removeprefix(BUILTIN)) / CONFIG).read_text("utf-8")
    if "://" in name:
        import fsspec

        with fsspec.open(f"{name.rstrip('/')}/{CONFIG}", "rt", encoding="utf-8") as stream:
            return str(stream.read())
    local = Path(name).expanduser()
    if local.is_dir() or name.startswith((".", "/", "~")):
        return (local / CONFIG).read_text("utf-8")
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, CONFIG, revision=model.revision)).read_text("utf-8")
