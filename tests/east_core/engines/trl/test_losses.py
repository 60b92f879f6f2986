import math

import pytest
import torch

from east_core.engines.trl.losses import (
    dpo_losses,
    kl_estimate,
    kto_losses,
    sft_loss,
    weighted_mean,
)

LOGPS = torch.tensor([[-1.0, -2.0, 0.0], [-4.0, 0.0, 0.0]])  # two labels, then one
COUNTS = torch.tensor([2, 1])
WEIGHTS = torch.tensor([0.5, 1.5])


def test_token_normalised_sft_by_hand():
    loss = sft_loss(LOGPS, WEIGHTS, COUNTS, 3, "token")
    assert loss.item() == pytest.approx((0.5 * 3 + 1.5 * 4) / 3)


def test_example_normalised_sft_by_hand():
    loss = sft_loss(LOGPS, WEIGHTS, COUNTS, 2, "example")
    assert loss.item() == pytest.approx((0.5 * 3 / 2 + 1.5 * 4 / 1) / 2)


def test_the_mean_loss_times_the_mean_weight_is_another_number():
    wrong = -LOGPS.sum() / 3 * WEIGHTS.mean()
    assert sft_loss(LOGPS, WEIGHTS, COUNTS, 3, "token").item() != pytest.approx(wrong.item())


@pytest.mark.parametrize("normalisation", ["token", "example"])
def test_shares_of_a_step_add_up(normalisation):
    count = 3 if normalisation == "token" else 2
    whole = sft_loss(LOGPS, WEIGHTS, COUNTS, count, normalisation)
    rows = [
        sft_loss(LOGPS[i : i + 1], WEIGHTS[i : i + 1], COUNTS[i : i + 1], count, normalisation)
        for i in range(2)
    ]
    assert sum(rows).item() == pytest.approx(whole.item())


def test_a_filler_row_changes_nothing():
    filler = (torch.zeros(1, 3), torch.zeros(1), torch.zeros(1, dtype=torch.long))
    padded = [torch.cat(pair) for pair in zip((LOGPS, WEIGHTS, COUNTS), filler, strict=True)]
    for normalisation in ("token", "example"):
        loss = sft_loss(*padded, 2, normalisation)
        assert loss.equal(sft_loss(LOGPS, WEIGHTS, COUNTS, 2, normalisation))


def test_dpo_of_a_model_against_itself_is_log_2():
    zero = torch.zeros(3)
    torch.testing.assert_close(dpo_losses(zero, zero, beta=0.1), torch.full((3,), math.log(2)))


def test_dpo_by_hand():
    (loss,) = dpo_losses(torch.tensor([2.0]), torch.tensor([-1.0]), beta=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.5 * 3)))


def test_ipo_averages_over_tokens_and_aims_at_its_margin():
    chosen, rejected = torch.tensor([4.0]), torch.tensor([-3.0])
    lengths = torch.tensor([4]), torch.tensor([3])
    (loss,) = dpo_losses(chosen, rejected, beta=0.25, variant="ipo", lengths=lengths)
    assert loss.item() == pytest.approx((1 + 1 - 2) ** 2)


def test_kto_by_hand():
    ratios, labels = torch.tensor([1.0, 1.0]), torch.tensor([True, False])
    losses = kto_losses(ratios, labels, torch.tensor(0.5), 2.0, 1.5, 0.5)
    assert losses.tolist() == pytest.approx(
        [1.5 * (1 - 1 / (1 + math.exp(-1))), 0.5 * (1 - 1 / (1 + math.exp(1)))]
    )


def test_kto_of_a_model_against_itself_is_one_half():
    zero = torch.zeros(2)
    losses = kto_losses(zero, torch.tensor([True, False]), torch.tensor(0.0), beta=0.1)
    assert losses.tolist() == [0.5, 0.5]


def test_the_kl_estimate_is_never_negative_and_carries_no_gradient():
    ratios = torch.tensor([-3.0, 1.0], requires_grad=True)
    assert kl_estimate(ratios.sum(), 2).item() == 0.0
    assert kl_estimate(-ratios.sum(), 2).item() == 1.0
    assert not kl_estimate(ratios.sum(), 2).requires_grad


def test_weighted_mean_divides_by_the_whole_step():
    share = weighted_mean(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0]), 8)
    assert share.item() == 0.5
