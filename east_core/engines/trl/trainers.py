"""TRL's SFT, DPO and KTO trainers with exact per-example weights, as small subclasses.

What is changed, and why:
- rows come ready tokenised, with their weight (TRL has no per-example weights, and its own
  tokenisation would not give the ids that were sampled on);
- every loss is a sum over the global batch divided by the global batch's count, so it depends
  neither on micro-batches nor on ranks (TRL's DPO and KTO average micro-batch means);
- weights and reference log-probabilities stay fp32 (Transformers casts every float input of a
  DeepSpeed bf16 run to bf16);
- a ragged last batch is completed by filler rows that count for nothing (accelerate would repeat
  examples);
- a router's loss (mixtures of experts) counts a micro-batch by its share of the step, as all else;
- the model sees a micro-batch without its padding (east_core.engines.trl.packing);
- the reference log-probabilities are bound to the reference checkpoint's fingerprint (TRL hashes
  the model in memory, which under ZeRO-3 is an empty shard).
"""

import heapq
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import TrainingArguments
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.engines.trl.losses import (
    dpo_losses,
    kl_estimate,
    kto_losses,
    sft_loss,
    weighted_mean,
)
from east_core.engines.trl.packing import Forward, padded_rows
from east_core.engines.trl.patches import (
    OWN_COLUMNS,
    BoundReference,
    TokenizedDatasets,
    rows_one_by_one,
)
from east_core.errors import ConfigError

Batch = dict[str, Any]
BATCH_COLUMNS = ("weights", "is_counted")  # what WeightedCollator adds; no model takes them


class GlobalBatchSampler(Sampler[int]):
    """The order of a whole training run: a seeded permutation an epoch, whole global batches.

    An epoch's last batch is completed with the index of the filler row. All epochs are one
    stream, so that resuming means skipping rows and nothing else; the permutations are those of
    accelerate's seedable sampler, so the order is the stock trainers'. `seed` None keeps the
    rows' own order, which TRL's KTO needs for its pairs within a micro-batch.

    With `lengths` (tokens of every row, the filler last) rows move between the micro-batches of a
    step, and never between steps. Padded rows are sorted, longest first: micro-batches then hold
    rows of like length, and what does not fit into memory fails at the first. Where rows are joined
    without padding (`micro_batches`: how many a step has, on all ranks), each micro-batch gets as
    many rows and about as many tokens: ranks wait for the one with the most.
    """

    micro_batches: int | None = None

    def __init__(
        self,
        examples: int,
        batch_size: int,
        epochs: float,
        seed: int | None,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.lengths = lengths
        self.steps = math.ceil(epochs * math.ceil(examples / batch_size))

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        left, epoch = len(self), 0
        while left > 0:
            rows = self._epoch(epoch)[:left]
            yield from rows
            left, epoch = left - len(rows), epoch + 1

    def _epoch(self, epoch: int) -> list[int]:
        order = list(range(self.examples))
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            order = torch.randperm(self.examples, generator=generator).tolist()
        order += [self.examples] * (-self.examples % self.batch_size)
        return order if self.lengths is None else self._grouped(order, self.lengths)

    def _grouped(self, order: list[int], lengths: Sequence[int]) -> list[int]:
        starts = range(0, len(order), self.batch_size)
        batches = (order[start : start + self.batch_size] for start in starts)
        ranked = (sorted(batch, key=lambda row: -lengths[row]) for batch in batches)
        if self.micro_batches is not None:
            ranked = (balanced(batch, lengths, self.micro_batches) for batch in ranked)
        return [row for batch in ranked for row in batch]


def balanced(rows: Sequence[int], lengths: Sequence[int], parts: int) -> list[int]:
    """Rows, given longest first, in `parts` runs of as many rows and about as many tokens.

    Each goes to the part with the fewest tokens that has room (longest processing time first,
    Graham 1969).
    """
    room = len(rows) // parts
    dealt: list[list[int]] = [[] for _ in range(parts)]
    open_parts = [(0, part) for part in range(parts)]
    for row in rows:
        tokens, part = heapq.heappop(open_parts)
        dealt[part].append(row)
        if len(dealt[part]) < room:
            heapq.heappush(open_parts, (tokens + lengths[row], part))
    return [row for part in dealt for row in part]


@dataclass(frozen=True)
class WeightedCollator:
    """TRL's collator, with the rows' weights beside what it makes.

    Adds weights: (B,) fp32, rescaled by `weight_scale`; is_counted: (B,), False for filler rows.
    """

    inner: Any
    weight_scale: float

    def __call__(self, rows: Sequence[Batch]) -> Batch:
        """A micro-batch of tensors."""
        weights = torch.tensor([row["weight"] * self.weight_scale for row in rows])
        is_counted = torch.tensor([row["is_counted"] for row in rows])
        plain = [{k: v for k, v in row.items() if k not in OWN_COLUMNS} for row in rows]
        return {**self.inner(plain), "weights": weights, "is_counted": is_counted}


@dataclass
class StepSums:
    """Sums over the micro-batches of one optimizer step, on this rank."""

    losses: float | Tensor = 0.0
    weights: float | Tensor = 0.0
    squared_weights: float | Tensor = 0.0
    examples: int | Tensor = 0
    units: int | Tensor = 0
    tokens: int | Tensor = 0

    def add(self, losses: Tensor, units: Tensor, tokens: Tensor, batch: Batch) -> None:
        """Add a micro-batch: unweighted losses (B,), what they are divided by, tokens seen."""
        counted, weights = batch["is_counted"], batch["weights"]
        self.losses += (losses.detach() * counted).sum()
        self.weights += weights.sum()
        self.squared_weights += weights.square().sum()
        self.examples += counted.sum()
        self.units += (units * counted).sum()
        self.tokens += tokens

    def vector(self, device: torch.device) -> Tensor:
        """The six sums as one fp64 tensor (fp32 where the device has no fp64), to be gathered."""
        values = (self.losses, self.weights, self.squared_weights)
        counts = (self.examples, self.units, self.tokens)
        return torch.stack([torch.as_tensor(v, device=device).double() for v in (*values, *counts)])


def refuse_packing(arguments: TrainingArguments) -> None:
    """Raise ConfigError for TRL's ways to merge rows: a merged row has no weight of its own."""
    for name in ("packing", "padding_free"):
        if getattr(arguments, name, False):
            raise ConfigError(
                f"TRL's {name} merges examples and loses their weights; leave it out: "
                "resources.packing saves the same padding and keeps every weight"
            )


class _Weighted(TokenizedDatasets):
    """What the three trainers share; stands before a TRL trainer in the bases."""

    accelerator: Any
    aux_loss_enabled: bool
    router_aux_loss_coef: float
    loss_is_scaled_for_ga = True  # our losses are shares of the whole step
    _rows: Callable[[Forward], Forward] = staticmethod(padded_rows)

    def __init__(
        self,
        *,
        sampler: GlobalBatchSampler,
        recipe: Any,
        rows: Callable[[Forward], Forward] = padded_rows,
        **options: Any,
    ) -> None:
        """`rows` is how the model sees a micro-batch: padded, or its rows joined into one."""
        refuse_packing(options["args"])
        self._sampler, self.recipe, self._rows = sampler, recipe, rows
        self._sums = StepSums()
        super().__init__(**options)

    def _get_train_sampler(self, *_: Any) -> GlobalBatchSampler:
        return self._sampler

    def _count(self, batches: Sequence[Batch]) -> Tensor:
        """Examples in the whole optimizer step: all micro-batches of all ranks."""
        local = torch.stack([batch["is_counted"].sum() for batch in batches]).sum()
        return self._total(local.to(self.args.device))

    def _total(self, local: Tensor) -> Tensor:
        """The sum of a scalar over all ranks."""
        return self.accelerator.gather(local.reshape(1)).sum()  # type: ignore[no-any-return]

    def _get_num_items_in_batch(self, batches: list[Batch], _: torch.device) -> Tensor:
        return self._count(batches)

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,  # noqa: ARG002 - the base class's signature
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """This rank's share of the step's loss for one micro-batch.

        Times the number of ranks, since gradients are averaged over ranks where shares add up.
        """
        assert num_items_in_batch is not None
        share = self._share(model, inputs, num_items_in_batch)
        return share * self.accelerator.num_processes  # type: ignore[no-any-return]

    @abstractmethod
    def _share(self, model: Any, inputs: Batch, step_count: Tensor) -> Tensor:
        """The weighted loss of one micro-batch, divided by the whole step's count."""

    def _forward(self, model: Any, inputs: Batch, labels: Tensor) -> Any:
        """Log-probabilities of the labels, and the router's loss where one is asked for."""
        asked = {"output_router_logits": True} if self.aux_loss_enabled else {}
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        return self._rows(model)(**given, **asked, labels=labels, fused_lm_head=True)

    def _with_router(
        self, share: Tensor, outputs: Any, units: Tensor, step_count: Tensor
    ) -> Tensor:
        """The share with the router's loss, which counts for the micro-batch's part of the step."""
        if not self.aux_loss_enabled:
            return share
        router: Tensor = outputs.aux_loss * units / step_count.clamp(min=1)
        return share + self.router_aux_loss_coef * router

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write none: the artifact's record tells how a checkpoint was made."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what a step's weighted loss hides: the unweighted loss, weights, tokens."""
        if "loss" in logs:
            logs.update(self._step_metrics())
        super().log(logs, start_time)  # type: ignore[misc]

    def _step_metrics(self) -> dict[str, float]:
        local, self._sums = self._sums.vector(self.args.device), StepSums()
        gathered = self.accelerator.gather(local[None]).sum(0).tolist()
        losses, weights, squared, examples, units, tokens = gathered
        mean = weights / max(examples, 1)
        return {
            "unweighted_loss": losses / max(units, 1),
            "weight_mean": mean,
            "weight_std": math.sqrt(max(squared / max(examples, 1) - mean**2, 0)),
            "examples": examples,
            "tokens": tokens,
        }


class WeightedSFTTrainer(_Weighted, SFTTrainer):  # type: ignore[misc]
    """Weighted maximum likelihood; see losses.sft_loss."""

    recipe: SftRecipe

    def _get_num_items_in_batch(self, batches: list[Batch], device: torch.device) -> Tensor:
        if self.recipe.normalisation == "example":
            return self._count(batches)
        labels = torch.stack([(batch["labels"][:, 1:] != -100).sum() for batch in batches]).sum()
        return self._total(labels.to(device))

    def _share(self, model: Any, inputs: Batch, step_count: Tensor) -> Tensor:
        outputs = self._forward(model, inputs, inputs["labels"])
        token_logps, counts = outputs.log_probs, outputs.label_mask.sum(1)
        normalisation = self.recipe.normalisation
        losses, units = -token_logps.sum(1), counts
        if normalisation == "example":
            losses, units = losses / counts.clamp(min=1), torch.ones_like(counts)
        self._sums.add(losses, units, inputs["attention_mask"].sum(), inputs)
        share = sft_loss(token_logps, inputs["weights"], counts, step_count, normalisation)
        return self._with_router(share, outputs, (units * inputs["is_counted"]).sum(), step_count)


class _Preference(BoundReference, _Weighted):
    """What DPO and KTO share: log-probabilities of a reference model, computed beforehand."""

    def __init__(self, *, reference_fingerprint: str, **options: Any) -> None:
        self._reference_fingerprint = reference_fingerprint
        super().__init__(**options)

    def compute_ref_log_probs(self, model: Any, inputs: Batch) -> Any:
        """The reference's log-probabilities, of rows that it sees as the policy does."""
        plain = {name: value for name, value in inputs.items() if name not in BATCH_COLUMNS}
        return super().compute_ref_log_probs(self._rows(model), plain)  # type: ignore[misc]

    def _forward_completions(self, model: Any, inputs: Batch) -> Any:
        return self._forward(model, inputs, _completion_labels(inputs))


class WeightedDPOTrainer(_Preference, DPOTrainer):  # type: ignore[misc]
    """Weighted DPO or IPO; see losses.dpo_losses."""

    recipe: DpoRecipe

    def _share(self, model: Any, inputs: Batch, step_count: Tensor) -> Tensor:
        outputs = self._forward_completions(model, inputs)
        chosen, rejected = outputs.log_probs.sum(1).chunk(2)
        losses = dpo_losses(
            chosen - inputs["ref_chosen_logps"],
            rejected - inputs["ref_rejected_logps"],
            self.recipe.beta,
            self.recipe.variant,
            inputs["completion_mask"].sum(1).chunk(2),
        )
        self._sums.add(losses, torch.ones_like(losses), inputs["attention_mask"].sum(), inputs)
        share = weighted_mean(losses, inputs["weights"], step_count)
        return self._with_router(share, outputs, inputs["is_counted"].sum(), step_count)


class WeightedKTOTrainer(_Preference, KTOTrainer):  # type: ignore[misc]
    """Weighted KTO; see losses.kto_losses and losses.kl_estimate."""

    recipe: KtoRecipe
    _step_kl: Tensor | None = None

    def __init__(self, **options: Any) -> None:
        arguments: TrainingArguments = options["args"]
        with rows_one_by_one(arguments):
            super().__init__(**options)
        self._train_batch_size = arguments.train_batch_size

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor]:
        """Fetch the step's micro-batches and estimate its KL term before the first of them."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        assert isinstance(count, Tensor)
        if self.recipe.kl == "invariant" and batches:
            sums = [self._kl_logratios(self._prepare_input(batch)).sum() for batch in batches]
            self._step_kl = kl_estimate(self._total(torch.stack(sums).sum()), count)
        return batches, count

    def _share(self, model: Any, inputs: Batch, step_count: Tensor) -> Tensor:
        kl = self._step_kl if self.recipe.kl == "invariant" else self._micro_batch_kl(inputs)
        assert kl is not None
        outputs = self._forward_completions(model, inputs)
        losses = kto_losses(
            outputs.log_probs.sum(1) - inputs["ref_logps"],
            inputs["label"],
            kl,
            self.recipe.beta,
            self.recipe.desirable_weight,
            self.recipe.undesirable_weight,
        )
        self._sums.add(losses, torch.ones_like(losses), inputs["attention_mask"].sum(), inputs)
        share = weighted_mean(losses, inputs["weights"], step_count)
        return self._with_router(share, outputs, inputs["is_counted"].sum(), step_count)

    def _kl_logratios(self, inputs: Batch) -> Tensor:
        """log pi - log pi_ref of the mismatched completions, (B,), 0 for filler rows."""
        with self.compute_loss_context_manager():
            plain = {name: value for name, value in inputs.items() if name not in BATCH_COLUMNS}
            model = self._rows(self.model_wrapped)
            logps = self._compute_kl_logps(model, plain)  # type: ignore[no-untyped-call]
        return (logps - inputs["ref_KL_logps"]) * inputs["is_counted"]  # type: ignore[no-any-return]

    def _micro_batch_kl(self, inputs: Batch) -> Tensor:
        """TRL's estimate: over this micro-batch on all ranks."""
        total = self._total(self._kl_logratios(inputs).sum())
        return kl_estimate(total, self._count([inputs]))


def _completion_labels(inputs: Batch) -> Tensor:
    """The completions' ids, and the label that is left out elsewhere."""
    ids: Tensor = inputs["input_ids"]
    return ids.masked_fill(inputs["completion_mask"] == 0, -100)
