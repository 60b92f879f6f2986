"""Weighted SFT, DPO and KTO losses as pure functions: w_i * L_i, exactly.

Every `*_loss` returns a SHARE of one optimizer step's loss: the sum over the rows at hand, divided
by a count over the WHOLE step (all micro-batches of all ranks). Shares add up to the step's loss,
so gradients do not depend on how a global batch is cut into micro-batches and ranks. The mistake
to avoid is `mean(L) * mean(w)`, which gives each example its neighbours' weight.

Shapes: B rows in a micro-batch, T token positions. `weights` is (B,), fp32, of mean 1 over the
round; log-probabilities are natural logarithms; 0 stands at positions that are not labels.

Sources: EAST (arXiv:2503.23913) for w_i; DPO (arXiv:2305.18290, eq. 7); IPO (arXiv:2310.12036,
eq. 17); KTO (arXiv:2402.01306, eq. 8). Per-sequence forms agree with TRL 1.16.
"""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own convention
from torch import Tensor


def sft_loss(
    token_logps: Tensor,
    weights: Tensor,
    label_counts: Tensor,
    step_count: Tensor | int,
    normalisation: Literal["token", "example"],
) -> Tensor:
    """A micro-batch's share of the weighted negative log-likelihood.

    token:    sum_i w_i NLL_i / sum_i T_i     `step_count` is the step's number of label tokens
    example:  mean_i w_i NLL_i / T_i          `step_count` is the step's number of examples

    token_logps: (B, T-1); label_counts: (B,), T_i, 0 for a row that only fills up a batch.
    With w = 1 the first is TRL's loss bit for bit: rows are scaled before the very same sum.
    """
    scale = weights
    if normalisation == "example":
        scale = weights / label_counts.clamp(min=1)
    return -(token_logps * scale[:, None]).sum() / torch.as_tensor(step_count).clamp(min=1)


def dpo_losses(
    chosen_logratios: Tensor,
    rejected_logratios: Tensor,
    beta: float,
    variant: Literal["sigmoid", "ipo"] = "sigmoid",
    lengths: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Unweighted DPO or IPO loss of each pair, (B,).

    sigmoid:  -log sigma(beta (r_w - r_l)), with r = log pi(y|x) - log pi_ref(y|x)
    ipo:      (r_w / T_w - r_l / T_l - 1 / (2 beta))^2, log-ratios averaged over tokens as the
              authors confirmed to TRL

    Log-ratios are sums over the completion, (B,). `lengths` are the completions' token counts
    (chosen, rejected), needed for ipo. Where policy and reference agree, sigmoid gives log 2.
    """
    if variant == "sigmoid":
        return -F.logsigmoid(beta * (chosen_logratios - rejected_logratios))
    assert lengths is not None, "ipo averages log-ratios over tokens, so it needs lengths"
    chosen, rejected = lengths
    margin = chosen_logratios / chosen - rejected_logratios / rejected
    return (margin - 1 / (2 * beta)) ** 2


def kto_losses(
    logratios: Tensor,
    is_desirable: Tensor,
    kl: Tensor,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """KTO loss of each example, (B,), before the example's own weight.

    desirable:    lambda_D (1 - sigma(beta (r - z)))
    undesirable:  lambda_U (1 - sigma(beta (z - r)))

    with r the log-ratio of the completion, (B,), and z >= 0 the KL estimate `kl_estimate`, a
    scalar without gradient. is_desirable: (B,), bool.
    """
    sign = torch.where(is_desirable, 1.0, -1.0)
    scale = torch.where(is_desirable, desirable_weight, undesirable_weight)
    return scale * (1 - torch.sigmoid(beta * sign * (logratios - kl)))


def kl_estimate(sum_of_logratios: Tensor, count: Tensor | int) -> Tensor:
    """KTO's reference point z = max(0, mean log-ratio of mismatched pairs (x_i, y_j)), a scalar.

    The mean is not weighted: z is a property of the two models, not of the examples. Taken over
    a whole optimizer step, it does not depend on the batch layout; TRL takes it a micro-batch at
    a time.
    """
    mean = sum_of_logratios / torch.as_tensor(count).clamp(min=1)
    return mean.clamp(min=0).detach()


def weighted_mean(losses: Tensor, weights: Tensor, step_count: Tensor | int) -> Tensor:
    """A micro-batch's share of mean_i w_i L_i.

    losses, weights: (B,); `step_count` is the number of examples of the whole optimizer step.
    """
    return (weights * losses).sum() / torch.as_tensor(step_count).clamp(min=1)
