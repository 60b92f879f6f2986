"""Weighted SFT, DPO and KTO written out by hand: what docs/exactness.md compares with.

One process, plain PyTorch, SGD, no TRL, no Trainer, no fused head; every example alone, its
log-probability taken from the full logits, and the formulas as they stand in the papers. It shares
nothing with what it checks but the rows of token ids and the order of the examples.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.engines.trl.data import prepare_data
from east_core.engines.trl.trainers import GlobalBatchSampler
from east_core.protocols import TrainingJob

Row = dict[str, Any]


def train_by_hand(job: TrainingJob, work: Path) -> dict[str, Tensor]:
    """Final parameters of `job`, trained by the loop."""
    import datasets

    work.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(job.model.folder)
    data = prepare_data(job, tokenizer, work / "data.arrow")
    rows = list(datasets.Dataset.from_file(str(work / "data.arrow")))[: data.examples]
    model = AutoModelForCausalLM.from_pretrained(job.model.folder, dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(job.model.folder, dtype=torch.float32)
    recipe = job.recipe
    order = GlobalBatchSampler(data.examples, recipe.global_batch_size, recipe.epochs, job.seed)
    indices, size = list(order), recipe.global_batch_size
    for step in range(order.steps):
        batch = [rows[i] for i in indices[step * size : (step + 1) * size] if i < len(rows)]
        loss = _step_loss(model, reference, batch, recipe)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        _descend(model, _learning_rate(recipe, step, order.steps))
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def _learning_rate(recipe: Any, step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to 0."""
    warmup: int = math.ceil(recipe.warmup_ratio * steps)
    if step < warmup:
        return float(recipe.learning_rate) * step / warmup
    return float(recipe.learning_rate) * (steps - step) / (steps - warmup)


@torch.no_grad()
def _descend(model: Any, learning_rate: float) -> None:
    for parameter in model.parameters():
        parameter.sub_(learning_rate * parameter.grad)


def _step_loss(model: Any, reference: Any, batch: list[Row], recipe: Any) -> Tensor:
    match recipe:
        case SftRecipe():
            return _sft(model, batch, recipe)
        case DpoRecipe():
            terms = [row["weight"] * _dpo(model, reference, row, recipe) for row in batch]
            return torch.stack(terms).sum() / len(batch)
        case KtoRecipe():
            z = _kl(model, reference, batch)
            terms = [row["weight"] * _kto(model, reference, row, z, recipe) for row in batch]
            return torch.stack(terms).sum() / len(batch)
    raise TypeError(recipe)


def _sft(model: Any, batch: list[Row], recipe: SftRecipe) -> Tensor:
    def nll(row: Row) -> tuple[Tensor, int]:
        start = next(i for i, label in enumerate(row["labels"]) if label != -100)
        ids = row["input_ids"]
        return -_logp(model, ids[:start], ids[start:]), len(ids) - start

    terms = [(row["weight"], *nll(row)) for row in batch]
    if recipe.normalisation == "example":
        return torch.stack([w * loss / count for w, loss, count in terms]).sum() / len(batch)
    return torch.stack([w * loss for w, loss, _ in terms]).sum() / sum(t[2] for t in terms)


def _dpo(model: Any, reference: Any, row: Row, recipe: DpoRecipe) -> Tensor:
    ratios = {
        side: _logratio(model, reference, row["prompt_ids"], row[f"{side}_ids"])
        for side in ("chosen", "rejected")
    }
    if recipe.variant == "ipo":
        margin = ratios["chosen"] / len(row["chosen_ids"])
        margin = margin - ratios["rejected"] / len(row["rejected_ids"])
        return (margin - 1 / (2 * recipe.beta)) ** 2
    return -torch.log(torch.sigmoid(recipe.beta * (ratios["chosen"] - ratios["rejected"])))


def _kto(model: Any, reference: Any, row: Row, z: Tensor, recipe: KtoRecipe) -> Tensor:
    ratio = _logratio(model, reference, row["prompt_ids"], row["completion_ids"])
    if row["label"]:
        return recipe.desirable_weight * (1 - torch.sigmoid(recipe.beta * (ratio - z)))
    return recipe.undesirable_weight * (1 - torch.sigmoid(recipe.beta * (z - ratio)))


@torch.no_grad()
def _kl(model: Any, reference: Any, batch: list[Row]) -> Tensor:
    ratios = [
        _logratio(model, reference, row["prompt_ids"], row["KL_completion_ids"]) for row in batch
    ]
    return torch.stack(ratios).mean().clamp(min=0)


def _logratio(model: Any, reference: Any, prompt: list[int], completion: list[int]) -> Tensor:
    with torch.no_grad():
        before = _logp(reference, prompt, completion)
    return _logp(model, prompt, completion) - before


def _logp(model: Any, prompt: list[int], completion: list[int]) -> Tensor:
    """log p(completion | prompt), a scalar."""
    logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    logps = torch.log_softmax(logits, dim=-1)
    return logps.gather(1, torch.tensor(completion)[:, None]).sum()
