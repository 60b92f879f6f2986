"""Memory of a sampling engine, and how many sequences it has room for."""

from collections.abc import Iterator

from east_core.planning.basis import Basis
from east_core.planning.figures import BF16, FP32, GIB, Estimate, Kind

PREFILL_TOKENS = 16_384  # tokens in one forward pass of vLLM on large GPUs


def engine_memory(basis: Basis) -> Iterator[Estimate]:
    """Bytes of one GPU of a sampling engine (or of a CPU engine), and what fits into them."""
    resources, s = basis.config.resources, basis.shape
    parallel, width = resources.tensor_parallel, _width(basis)
    weights = width * s.parameters / parallel
    yield _of_engine("weights", weights, f"{width} B x {s.parameters:,} / {parallel}")
    if basis.device == "cuda":
        work, assumed = _work_space(basis), basis.assumed
        yield _of_engine("work space", work, f"{PREFILL_TOKENS:,} tokens' layer, logits")
        budget = resources.engine_memory * assumed.gpu.memory - assumed.device_baseline
        cache = budget - weights - work
        formula = f"{resources.engine_memory:.0%} of {assumed.gpu.name} - baseline - the above"
    else:
        cache, formula = resources.kv_cache_gib * GIB, "resources.kv_cache_gib"
    yield _of_engine("KV cache", cache, formula)
    yield from _room(basis, cache)
    if basis.device == "cpu":
        total = 2 * weights + cache + basis.assumed.engine_baseline
        yield _of_engine(
            "peak", total, "weights, the file that they are read from, cache, libraries"
        )


def kv_bytes(basis: Basis) -> float:
    """KV cache of one token on one GPU, in bytes."""
    heads = max(basis.shape.kv_heads / basis.config.resources.tensor_parallel, 1)
    return 2 * basis.shape.layers * heads * basis.shape.head_size * _width(basis)


def mean_context(basis: Basis) -> float:
    """Tokens that a sequence holds in the cache on average while it grows."""
    return basis.work.prompt_tokens + basis.work.completion_tokens / 2


def _of_engine(name: str, value: float, formula: str, kind: Kind = "bytes") -> Estimate:
    return Estimate("sampling engine", name, value, kind, formula)


def _width(basis: Basis) -> int:
    return BF16 if basis.device == "cuda" else FP32


def _work_space(basis: Basis) -> float:
    """A layer's tensors of one prefill, and the logits of all sequences."""
    resources, s = basis.config.resources, basis.shape
    layer = PREFILL_TOKENS * BF16 * 2 * (s.hidden + s.intermediate / resources.tensor_parallel)
    return layer + 2 * FP32 * basis.most_sequences * s.vocabulary


def _room(basis: Basis, cache: float) -> Iterator[Estimate]:
    """What a cache of so many bytes has room for."""
    s, each = basis.shape, kv_bytes(basis)
    formula = f"2 x {s.layers} layers x KV heads x {s.head_size} x {_width(basis)} B"
    yield _of_engine("KV cache a token", each, formula)
    fit = max(cache, 0) / each
    longest = min(basis.work.prompt_tokens + basis.config.sampling.max_tokens, s.context)
    yield _of_engine("tokens in the cache", fit, "cache / bytes a token", "tokens")
    yield _of_engine("sequences at full length", fit / longest, f"of {longest} tokens", "number")
    most, mean = basis.most_sequences, mean_context(basis)
    formula = f"min(max_sequences {most}, tokens / mean context {mean:.0f})"
    yield _of_engine("sequences at a time", min(most, fit / mean), formula, "number")
