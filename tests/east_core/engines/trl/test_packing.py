import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.engines.trl import packing
from east_core.engines.trl.attention import ROWS, use
from east_core.engines.trl.packing import (
    Packing,
    joined_rows,
    obstacle,
    padded_rows,
    rows_for,
    rows_leak,
    small_copy,
)
from east_core.engines.trl.trainers import (
    StepSums,
    WeightedDPOTrainer,
    WeightedKTOTrainer,
    WeightedSFTTrainer,
)
from east_core.errors import ConfigError
from tests.east_core.engines.trl.small_models import SIZES

MIXED = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES)),
    "mistral, window of 4": (MistralForCausalLM, MistralConfig(**SIZES, sliding_window=4)),
    "gemma-2": (Gemma2ForCausalLM, Gemma2Config(**SIZES, head_dim=8, sliding_window=4)),
    "gemma-3": (Gemma3ForCausalLM, Gemma3TextConfig(**SIZES, head_dim=8, **MIXED)),
    "phi-3, window of 4": (
        Phi3ForCausalLM,
        Phi3Config(**SIZES, sliding_window=4, pad_token_id=0, eos_token_id=1),
    ),
    "gpt-2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2),
    ),
    "qwen3, experts": (
        Qwen3MoeForCausalLM,
        Qwen3MoeConfig(**SIZES, moe_intermediate_size=16, num_experts=4, num_experts_per_tok=2),
    ),
}
# They carry a state from token to token, or (gpt-oss) forget to mask joined rows.
REFUSED: dict[str, tuple[Any, Any]] = {
    "lfm2": (Lfm2ForCausalLM, Lfm2Config(**SIZES, layer_types=["conv", "full_attention"])),
    "mamba-2": (
        Mamba2ForCausalLM,
        Mamba2Config(
            vocab_size=64, hidden_size=32, num_hidden_layers=2, num_heads=8, head_dim=8,
            state_size=8, n_groups=1,
        ),
    ),
    "gpt-oss": (
        GptOssForCausalLM,
        GptOssConfig(**SIZES, head_dim=8, **MIXED, num_local_experts=4, num_experts_per_tok=2),
    ),
}  # fmt: skip
LENGTHS = (9, 3, 12, 7)


def made(kind):
    torch.manual_seed(0)
    model_class, config = kind
    return model_class(copy.deepcopy(config)).eval()


def micro_batch(lengths=LENGTHS):
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 64, mask.shape, generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def test_real_tokens_stand_row_after_row_and_positions_start_again():
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    packed = Packing.of(mask)
    values = torch.tensor([[1, 2, 3], [4, 0, 0], [5, 6, 0]])
    assert packed.joined(values).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert packed.positions().tolist() == [[0, 1, 2, 0, 0, 1]]
    assert packed.bounds()["cu_seq_lens_q"].tolist() == [0, 3, 4, 6]
    assert (packed.bounds()["max_length_q"], packed.lengths) == (3, (3, 1, 2))


def test_no_row_predicts_the_first_token_of_the_next():
    packed = Packing.of(torch.tensor([[1, 1], [1, 1]]))
    assert packed.labels(torch.tensor([[5, 6], [7, 8]])).tolist() == [[-100, 6, -100, 8]]


def test_values_of_the_next_tokens_return_to_their_rows():
    packed = Packing.of(torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0]]))
    # of the tokens 2, 3, 4, 5, 6; those of 4 and 5 begin a row and stand nowhere
    values = torch.tensor([[2.0, 3.0, 4.0, 5.0, 6.0]])
    assert packed.padded(values).tolist() == [[2, 3], [0, 0], [6, 0]]


@pytest.mark.parametrize("attention", [None, ROWS])
@pytest.mark.parametrize("name", FAMILIES)
def test_joined_rows_have_the_log_probabilities_and_gradients_of_padded_ones(name, attention):
    model = made(FAMILIES[name]).double()
    if "experts" in name:
        model.set_experts_implementation("eager")  # the grouped one has no fp64
    assert obstacle(model) is None
    add_fused_lm_head(model)
    found = []
    for forward, kind in ((model, None), (joined_rows(model), attention)):
        if kind is not None:
            use(kind, model)
        model.zero_grad()
        outputs = forward(**micro_batch(), fused_lm_head=True)
        (outputs.log_probs.sum(1) * torch.tensor([0.0, 0.1, 1.0, 10.0])).sum().backward()
        found.append((outputs, [each.grad.clone() for each in model.parameters()]))
    (padded, before), (joined, after) = found
    assert torch.equal(padded.label_mask, joined.label_mask)
    assert (padded.log_probs - joined.log_probs).abs().max() < 1e-6
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() <= 1e-6 * max(1, one.abs().max())
    assert joined.log_probs[0, 0] != 0  # the first that a row predicts


def test_the_routers_loss_is_that_of_padded_rows():
    model = made(FAMILIES["qwen3, experts"])
    add_fused_lm_head(model)
    padded, joined = (
        forward(**micro_batch(), fused_lm_head=True, output_router_logits=True).aux_loss.item()
        for forward in (model, joined_rows(model))
    )
    assert joined == pytest.approx(padded, rel=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_trial_finds_that_rows_of_these_families_can_be_joined(name):
    assert not rows_leak(small_copy(made(FAMILIES[name])))


def job(mode, device="cpu", zero_stage=2):
    recipe = SimpleNamespace(precision="fp32")
    resources = SimpleNamespace(packing=mode, zero_stage=zero_stage)
    return SimpleNamespace(resources=resources, device=device, recipe=recipe)


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_right_is_refused_by_name_where_it_is_asked_for(name):
    model = made(REFUSED[name])
    with pytest.raises(ConfigError, match=rf"packing is 'on', but {type(model).__name__}"):
        rows_for(job("on"), model)
    assert rows_for(job("auto", device="cuda"), model) is padded_rows


def test_a_model_that_can_not_be_tried_is_left_padded():
    model = made(FAMILIES["llama"])
    model.config.rope_parameters = {"rope_type": "none of these"}
    assert rows_for(job("auto", device="cuda"), model) is padded_rows
    with pytest.raises(ConfigError, match="two joined rows could not be tried on LlamaForCausalLM"):
        rows_for(job("on"), model)


def test_rows_are_joined_as_asked_each_attended_to_by_itself():
    model = made(FAMILIES["llama"])
    assert rows_for(job("off"), model) is padded_rows
    for mode in ("auto", "on"):
        model.set_attn_implementation("sdpa")
        assert rows_for(job(mode), model) is joined_rows
        assert model.config._attn_implementation == "sdpa_rows"


def test_behind_a_mask_rows_are_joined_only_where_that_is_asked_for():
    model = made(FAMILIES["llama"])
    model.set_attn_implementation("eager")
    assert rows_for(job("auto", device="cuda"), model) is padded_rows
    assert rows_for(job("on"), model) is joined_rows
    assert model.config._attn_implementation == "eager"


def test_on_a_gpu_the_kernel_comes_first(monkeypatch):
    model = made(FAMILIES["llama"])
    monkeypatch.setattr(packing, "has_varlen", lambda device: device == "cuda")
    monkeypatch.setattr(packing, "is_bf16", lambda _: True)
    assert rows_for(job("auto", device="cuda"), model) is joined_rows
    assert model.config._attn_implementation == "torch_varlen"
    other = made(FAMILIES["gemma-2"])  # its scores are capped
    assert rows_for(job("auto", device="cuda"), other) is joined_rows
    assert other.config._attn_implementation == "sdpa_rows"


def test_the_trial_leaves_the_random_numbers_alone():
    model = made(FAMILIES["llama"])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    rows_for(job("on"), model)
    assert torch.equal(torch.rand(1), expected)


def test_no_padding_is_computed():
    model = made(FAMILIES["llama"])
    add_fused_lm_head(model)
    seen = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    joined_rows(model)(**micro_batch((30, 1, 9)), fused_lm_head=True)
    assert seen == [(1, 40)]


def bare(trainer, recipe, rows):
    """A trainer of TRL's without what it is made of: enough for the share of a micro-batch."""
    trained = object.__new__(trainer)
    trained.recipe, trained._sums, trained._step_kl = recipe, StepSums(), torch.tensor(0.02)
    trained.aux_loss_enabled, trained._rows = False, rows
    return trained


@pytest.mark.parametrize(
    ("trainer", "recipe"),
    [
        (WeightedSFTTrainer, SftRecipe()),
        (WeightedSFTTrainer, SftRecipe(normalisation="example")),
        (WeightedDPOTrainer, DpoRecipe()),
        (WeightedDPOTrainer, DpoRecipe(variant="ipo")),
        (WeightedKTOTrainer, KtoRecipe()),
    ],
)
def test_every_loss_and_its_gradients_are_those_of_padded_rows(trainer, recipe):
    model = made(FAMILIES["llama"]).double()
    add_fused_lm_head(model)
    batch, pairs = micro_batch(), 2 if trainer is WeightedDPOTrainer else 4
    completion = batch["attention_mask"].clone()
    completion[:, :2] = 0
    batch |= {
        "labels": batch["input_ids"].masked_fill(completion == 0, -100),
        "completion_mask": completion,
        "label": torch.tensor([True, False, True, False]),
        "weights": torch.tensor([0.1, 10.0, 0.0, 1.0])[:pairs],
        "is_counted": torch.tensor([True] * (pairs - 1) + [False]),
        **{f"ref_{name}logps": -torch.ones(pairs) for name in ("", "chosen_", "rejected_")},
    }
    found = []
    for rows in (padded_rows, joined_rows):
        model.zero_grad()
        trained = bare(trainer, recipe, rows)
        share = trained._share(model, batch, torch.tensor(20))
        share.backward()
        gradients = [each.grad.clone() for each in model.parameters()]
        found.append((share.item(), gradients, trained._sums.vector(torch.device("cpu"))))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    assert torch.allclose(found[1][2], found[0][2], rtol=1e-6)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one - other).abs().max() <= 1e-6 * max(1, one.abs().max())
