"""The noise of each request: its own, the same in any batch, and drawn at once for all rows."""

import importlib

import pytest
import torch

pytest.importorskip("vllm")


def generators(*seeds: int) -> dict[int, torch.Generator]:
    return {row: torch.Generator().manual_seed(seed) for row, seed in enumerate(seeds)}


def test_a_request_gets_the_same_seeds_in_any_row_of_any_batch() -> None:
    noise = importlib.import_module("east_core.engines.vllm.request_noise")
    together, alone = generators(7, 8, 9), generators(8)
    moved = {5: torch.Generator().manual_seed(8)}
    for _ in range(4):
        three, one = noise.token_seeds(together, 3), noise.token_seeds(alone, 1)
        six = noise.token_seeds(moved, 6)
        assert three[1] == one[0] == six[5]


def test_seeds_of_rows_and_tokens_are_unrelated() -> None:
    """Neighbouring seeds are those of one question's samples: n of them in a row."""
    noise = importlib.import_module("east_core.engines.vllm.request_noise")
    rows = generators(*range(1000, 1256))
    seeds = torch.stack([noise.token_seeds(rows, 256) for _ in range(64)])
    assert len(seeds.unique()) == seeds.numel()
    assert (seeds >= 0).all()
    bits = (seeds[..., None] >> torch.arange(62)) & 1
    assert abs(bits.double().mean((0, 1)) - 0.5).max() < 0.02
    flips = (bits[1:] != bits[:-1]).double().mean(), (bits[:, 1:] != bits[:, :-1]).double().mean()
    assert max(abs(float(share) - 0.5) for share in flips) < 0.01


def test_rows_without_a_seed_of_their_own_are_pytorchs() -> None:
    noise = importlib.import_module("east_core.engines.vllm.request_noise")
    rows = {1: torch.Generator().manual_seed(3)}
    torch.manual_seed(0)
    first = noise.token_seeds(rows, 3)
    torch.manual_seed(0)
    assert torch.equal(first[[0, 2]], torch.randint(0, 2**31, (3,))[[0, 2]])


def test_tokens_are_drawn_as_the_probabilities_say() -> None:
    """The engine's own kernel under our seeds: frequencies within five standard errors."""
    importlib.import_module("east_core.engines.vllm.request_noise")
    from vllm.platforms import current_platform
    from vllm.v1.sample.ops.topk_topp_sampler import TopKTopPSampler

    current_platform.import_kernels()
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    draw, rows = TopKTopPSampler(), generators(*range(500))
    drawn = torch.cat(
        [
            draw.forward_cpu(probabilities.log().repeat(500, 1), rows, None, None)[0]
            for _ in range(40)
        ]
    )
    share = torch.bincount(drawn.flatten(), minlength=4) / drawn.numel()
    error = (probabilities * (1 - probabilities) / drawn.numel()).sqrt()
    assert (abs(share - probabilities) < 5 * error).all()
