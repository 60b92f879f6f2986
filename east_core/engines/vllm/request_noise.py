"""Each request's own noise, made for all rows of a step at once; takes effect by being imported.

A seed of its own makes a question's samples independent of the batch that they were generated in.
vLLM draws such noise by a call of each request's own generator for each of its tokens: on CPUs 8%
of the time with a small model. Here a token's noise is a hash of the request's seed and of how many
tokens it has had, by one vectorised computation a step.

east_core.engines.vllm.cpu_worker imports it in the process of each of an engine's workers.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor
from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler, apply_top_k_top_p

_STEP, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_POSITIVE = np.uint64(1)
_vllm_forward = TopKTopPSampler.forward_cpu
_tokens: WeakKeyDictionary[Generator, int] = WeakKeyDictionary()


def mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output function: neighbouring numbers become unrelated ones.

    Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014).
    """
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))


def token_seeds(generators: Mapping[int, Generator], rows: int) -> Tensor:
    """A seed for the next token of each row, (rows,), int64, not negative.

    Rows without a generator of their own get one of PyTorch's.
    """
    seeds = torch.randint(0, 2**31, (rows,), dtype=torch.long)
    counts = [_tokens.get(generator, 0) for generator in generators.values()]
    for generator, count in zip(generators.values(), counts, strict=True):
        _tokens[generator] = count + 1
    own = np.array([each.initial_seed() for each in generators.values()], dtype=np.uint64)
    mixed = mix(mix(own) + np.array(counts, dtype=np.uint64) * _STEP)
    seeds[list(generators)] = torch.from_numpy((mixed >> _POSITIVE).astype(np.int64))
    return seeds


def _forward(
    self: Any, logits: Tensor, generators: dict[int, Generator], k: Tensor | None, p: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """vLLM's forward_cpu, with the rows' seeds made at once."""
    keeps_logits = self.logprobs_mode.startswith("processed")
    if not generators or keeps_logits or self.use_fp64_gumbel:
        return _vllm_forward(self, logits, generators, k, p)
    logits = apply_top_k_top_p(logits, k, p).float()
    return torch.ops._C.fused_gumbel_argmax(logits, token_seeds(generators, len(logits))), None


TopKTopPSampler.forward_cpu = _forward  # type: ignore[method-assign]
