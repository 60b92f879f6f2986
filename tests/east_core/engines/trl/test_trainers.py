from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from trl.trainer.utils import add_fused_lm_head

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.engines.trl.rank import with_router
from east_core.engines.trl.trainers import (
    GlobalBatchSampler,
    StepSums,
    WeightedCollator,
    WeightedDPOTrainer,
    WeightedKTOTrainer,
    WeightedSFTTrainer,
    _Weighted,
    balanced,
    refuse_packing,
)
from east_core.errors import ConfigError


def batches(sampler, size=None):
    rows = list(sampler)
    size = size or sampler.batch_size
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def test_every_epoch_sees_every_example_once_in_another_order():
    sampler = GlobalBatchSampler(examples=8, batch_size=4, epochs=2.0, seed=5)
    first, second = list(sampler)[:8], list(sampler)[8:]
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second


def test_an_epochs_last_batch_is_completed_with_the_filler_row():
    sampler = GlobalBatchSampler(examples=5, batch_size=4, epochs=2.0, seed=5)
    whole, ragged = batches(sampler)[:2]
    assert sorted(whole + ragged[:1]) == list(range(5))
    assert ragged[1:] == [5, 5, 5]
    assert (sampler.steps, len(sampler)) == (4, 16)


def test_half_an_epoch_is_half_the_steps():
    assert GlobalBatchSampler(examples=16, batch_size=4, epochs=0.5, seed=0).steps == 2
    assert GlobalBatchSampler(examples=12, batch_size=4, epochs=1.5, seed=0).steps == 5


def test_the_order_is_that_of_accelerates_sampler():
    from accelerate.data_loader import SeedableRandomSampler

    stock = SeedableRandomSampler(range(12), data_seed=7)
    ours = GlobalBatchSampler(examples=12, batch_size=4, epochs=2.0, seed=7)
    assert list(ours) == [*stock, *stock]


def test_without_a_seed_rows_keep_their_order():
    sampler = GlobalBatchSampler(examples=4, batch_size=2, epochs=1.0, seed=None)
    assert list(sampler) == [0, 1, 2, 3]


def test_grouping_by_length_sorts_within_a_step_and_moves_nothing_between_steps():
    lengths = [5, 9, 2, 7, 7, 30, 1, 4, 8, 3, 2]  # of ten rows, then the filler's
    plain, grouped = (
        GlobalBatchSampler(examples=10, batch_size=4, epochs=2.0, seed=5, lengths=given)
        for given in (None, lengths)
    )
    assert [sorted(batch) for batch in batches(plain)] == [sorted(b) for b in batches(grouped)]
    for batch in batches(grouped):
        told = [lengths[row] for row in batch]
        assert told == sorted(told, reverse=True)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.integers(1, 4), st.integers(1, 5))
def test_joined_rows_are_dealt_out_evenly_and_none_is_lost(told, parts, rows):
    lengths = [*told, 2]
    size, examples = parts * rows, len(told)
    plain, dealt = (
        GlobalBatchSampler(examples, size, epochs=1.0, seed=5, lengths=lengths) for _ in range(2)
    )
    dealt.micro_batches = parts
    for before, after in zip(batches(plain, size), batches(dealt, size), strict=True):
        assert sorted(before) == sorted(after)
        tokens = [sum(lengths[row] for row in part) for part in batches(after, rows)]
        assert max(tokens) - min(tokens) <= max(lengths[row] for row in after)


def test_two_ranks_get_as_many_tokens():
    """Sorted, the first would have 36 of 48."""
    lengths = [12, 10, 8, 6, 5, 4, 2, 1]
    assert balanced(range(8), lengths, parts=2) == [0, 3, 4, 7, 1, 2, 5, 6]


def test_the_collator_keeps_weights_beside_the_rows():
    collate = WeightedCollator(lambda rows: {"rows": rows}, weight_scale=2.0)
    batch = collate([{"x": 1, "weight": 0.25, "is_counted": True}])
    assert batch["rows"] == [{"x": 1}]
    assert batch["weights"].dtype == torch.float32
    assert (batch["weights"].tolist(), batch["is_counted"].tolist()) == ([0.5], [True])


def test_a_steps_sums_leave_fillers_out():
    sums = StepSums()
    batch = {"weights": torch.tensor([2.0, 0.0]), "is_counted": torch.tensor([True, False])}
    sums.add(torch.tensor([3.0, 9.0]), torch.tensor([4, 4]), torch.tensor(10), batch)
    assert sums.vector(torch.device("cpu")).tolist() == [3.0, 2.0, 4.0, 1.0, 4.0, 10.0]


@pytest.mark.parametrize("name", ["packing", "padding_free"])
def test_merged_rows_are_refused(name):
    refuse_packing(SimpleNamespace(**{name: False}))
    with pytest.raises(ConfigError, match=f"TRL's {name} merges .* resources.packing saves"):
        refuse_packing(SimpleNamespace(**{name: True}))


class Mixture(_Weighted):
    """What the trainers add to a trainer of TRL's, without one."""

    def __init__(self, coefficient: float) -> None:
        self.aux_loss_enabled, self.router_aux_loss_coef = coefficient > 0, coefficient


def mixture_of_experts():
    config = Qwen3MoeConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, moe_intermediate_size=16,
        num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        num_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3MoeForCausalLM(config)
    add_fused_lm_head(model)
    return model


def test_the_routers_loss_is_a_mean_over_the_steps_micro_batches_by_their_units():
    model, ids = mixture_of_experts(), torch.randint(1, 64, (4, 9))
    labels = ids.clone()
    labels[:2, :6] = -100
    parts = [slice(0, 2), slice(2, 4)]  # 2 x 3 and 2 x 8 labels: the first of a row is given
    shares, aux = [], []
    for part in parts:
        batch = {"input_ids": ids[part], "attention_mask": torch.ones_like(ids[part])}
        outputs = Mixture(0.5)._forward(model, batch, labels[part])
        units, share = outputs.label_mask.sum(), torch.tensor(1.0)
        shares.append(Mixture(0.5)._with_router(share, outputs, units, torch.tensor(22)) - share)
        aux.append(model(**batch, output_router_logits=True).aux_loss)
        assert Mixture(0.0)._with_router(share, outputs, units, torch.tensor(22)) is share
        assert Mixture(0.0)._forward(model, batch, labels[part]).aux_loss is None
    expected = 0.5 * (aux[0] * 6 + aux[1] * 16) / 22
    assert sum(shares).item() == pytest.approx(expected.item(), rel=1e-5)
    sum(shares).backward()
    assert model.model.layers[0].mlp.gate.weight.grad.abs().sum() > 0


def test_a_model_without_experts_has_no_routers_loss():
    job = SimpleNamespace(recipe=SimpleNamespace(router_loss=0.01))
    config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(ConfigError, match=r"router_loss is 0.01, but LlamaForCausalLM has no"):
        with_router(job, LlamaForCausalLM(config))
    job.recipe.router_loss = 0
    assert with_router(job, mixture_of_experts())


def bare(trainer, recipe, coefficient):
    """A trainer of TRL's without what it is made of: enough for the share of a micro-batch."""
    made = object.__new__(trainer)
    made.recipe, made._sums, made._step_kl = recipe, StepSums(), torch.tensor(0.0)
    made.aux_loss_enabled, made.router_aux_loss_coef = coefficient > 0, coefficient
    return made


@pytest.mark.parametrize(
    ("trainer", "recipe", "part"),
    [
        (WeightedSFTTrainer, SftRecipe(), 12 / 24),
        (WeightedSFTTrainer, SftRecipe(normalisation="example"), 4 / 24),
        (WeightedDPOTrainer, DpoRecipe(), 2 / 24),
        (WeightedKTOTrainer, KtoRecipe(), 4 / 24),
    ],
)
def test_every_loss_adds_the_routers_to_its_share(trainer, recipe, part):
    model, ids = mixture_of_experts(), torch.randint(1, 64, (4, 9))
    pairs = 2 if trainer is WeightedDPOTrainer else 4
    mask = torch.ones_like(ids)
    mask[:, :6] = 0
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "completion_mask": mask,
        "labels": ids.masked_fill(mask == 0, -100),
        "label": torch.tensor([True, False] * 2),
        "weights": torch.ones(pairs),
        "is_counted": torch.ones(pairs, dtype=torch.bool),
        **{f"ref_{name}logps": torch.zeros(pairs) for name in ("", "chosen_", "rejected_")},
    }
    plain, routed = (
        bare(trainer, recipe, coefficient)._share(model, batch, torch.tensor(24))
        for coefficient in (0.0, 0.5)
    )
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    router = model(**given, output_router_logits=True).aux_loss
    assert (routed - plain).item() == pytest.approx(0.5 * router.item() * part, rel=1e-4)
