import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

from east_core.engines.trl import attention
from east_core.engines.trl.attention import (
    ROWS,
    VARLEN,
    fits_varlen,
    has_varlen,
    use,
    varlen_attention,
)
from east_core.engines.trl.packing import joined_rows
from tests.east_core.engines.trl.small_models import SIZES


def row_by_row(q, k, v, bounds, window=None, scale=None):
    """What the kernel computes, one row after another: (L, heads, size)."""
    rows = []
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)[None]
        seen = (distance >= 0) & (distance <= (window if window is not None else end))
        one = (each[start:end].transpose(0, 1)[None] for each in (q, k, v))
        attended = scaled_dot_product_attention(*one, seen, scale=scale, enable_gqa=True)
        rows.append(attended[0].transpose(0, 1))
    return torch.cat(rows)


def of_2_13(
    q, k, v, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
):
    assert enable_gqa or q.shape[1] == k.shape[1]
    assert cu_q is cu_k
    assert max_q == max_k == (cu_q[1:] - cu_q[:-1]).max()
    assert window_size[1] == 0  # causal
    return row_by_row(q, k, v, cu_q, None if window_size[0] < 0 else window_size[0], scale)


def of_2_11(q, k, v, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
    assert q.shape == k.shape == v.shape
    return of_2_13(q, k, v, cu_q, cu_k, max_q, max_k, scale=scale, window_size=window_size)


def of_2_10(q, k, v, cu_q, cu_k, max_q, max_k, is_causal=False):
    assert is_causal
    assert q.shape == k.shape == v.shape
    return row_by_row(q, k, v, cu_q)


def mistral(window):
    torch.manual_seed(0)
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=window)).double().eval()


def batch():
    mask = torch.tensor([[1] * 9 + [0] * 3, [1] * 3 + [0] * 9, [1] * 12, [1] * 7 + [0] * 5])
    ids = torch.randint(1, 64, mask.shape, generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


@pytest.mark.parametrize(
    ("kernel", "window"), [(of_2_13, None), (of_2_13, 4), (of_2_11, 4), (of_2_10, None)]
)
def test_the_kernel_of_each_pytorch_gives_the_padded_log_probabilities(monkeypatch, kernel, window):
    monkeypatch.setattr(attention, "_kernel", lambda: kernel)
    model = mistral(window)
    add_fused_lm_head(model)
    padded = model(**batch(), fused_lm_head=True).log_probs
    assert fits_varlen(model)
    use(VARLEN, model)
    joined = joined_rows(model)(**batch(), fused_lm_head=True).log_probs
    assert (joined - padded).abs().max() < 1e-6
    still_padded = model(**batch(), fused_lm_head=True).log_probs
    assert (still_padded - padded).abs().max() < 1e-6


def test_what_the_kernel_has_not_does_not_fit(monkeypatch):
    monkeypatch.setattr(attention, "_kernel", lambda: of_2_13)
    assert not fits_varlen(Gemma2ForCausalLM(Gemma2Config(**SIZES)))  # a soft cap of the scores
    model = mistral(4)
    for name, value in (("attention_dropout", 0.1), ("head_dim", 12), ("head_dim", 320)):
        before = getattr(model.config, name)
        setattr(model.config, name, value)
        assert not fits_varlen(model)
        setattr(model.config, name, before)
    for dropout, fits in ((0.1, False), (0.0, True)):
        config = GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=64, attn_pdrop=dropout)
        assert fits_varlen(GPT2LMHeadModel(config)) == fits
    monkeypatch.setattr(attention, "_kernel", lambda: of_2_10)
    assert not fits_varlen(model)  # no windows there
    assert fits_varlen(mistral(None))


def test_a_machine_without_a_gpu_has_no_kernel():
    assert not has_varlen("cpu")


@pytest.mark.parametrize("name", [VARLEN, ROWS])
def test_rows_without_their_bounds_are_an_error_and_never_one_row(monkeypatch, name):
    monkeypatch.setattr(attention, "_kernel", lambda: of_2_13)
    model = mistral(None)
    use(name, model)
    ids, positions = torch.ones(1, 5, dtype=torch.long), torch.tensor([[0, 1, 2, 0, 1]])
    with pytest.raises(NotImplementedError, match=r"MistralAttention does not get the bounds"):
        model(input_ids=ids, position_ids=positions, use_cache=False)


def test_a_cap_or_sinks_that_come_with_the_call_are_an_error():
    states = torch.zeros(1, 2, 3, 8)
    joined, bounds = torch.empty(1, 1, 0, 0), torch.tensor([0, 3])
    for name in ("softcap", "s_aux"):
        with pytest.raises(NotImplementedError, match=name):
            varlen_attention(
                torch.nn.Identity(),
                states,
                states,
                states,
                joined,
                cu_seq_lens_q=bounds,
                **{name: 1},
            )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("window", [None, 4])
def test_on_a_gpu_pytorchs_own_kernel_gives_the_padded_log_probabilities(window):
    model = mistral(window).to("cuda", torch.bfloat16)
    add_fused_lm_head(model)
    rows = {name: value.cuda() for name, value in batch().items()}
    padded = model(**rows, fused_lm_head=True).log_probs.float()
    assert has_varlen("cuda")
    use(VARLEN, model)
    joined = joined_rows(model)(**rows, fused_lm_head=True).log_probs.float()
    assert (joined - padded).norm() < 0.02 * padded.norm()
