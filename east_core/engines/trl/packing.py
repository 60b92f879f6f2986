"""Rows of a micro-batch joined into one sequence, so that no padding is computed.

The trainers and the losses keep padded micro-batches, (B, T). Only the model sees them without
padding: `joined_rows` takes the real tokens of all rows as one sequence (1, L), with positions that
start again at each row, and puts the log-probabilities that come back where they belong in (B, T).
So every loss, weight and sum stays as it is, row by row; what is saved is the padding's work.

A row must not see its neighbours. Attention takes each row by itself from the rows' bounds
(east_core.engines.trl.attention, or the flash-attn package); Transformers' own way is a mask where
positions start anew and no attention mask is given. Layers with a state (Mamba, linear attention,
convolutions) would carry it from row to row, and some models forget to mask: `obstacle` names the
former, and `rows_leak` finds the latter by trying a small copy.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from east_core.engines.trl.arguments import is_bf16
from east_core.engines.trl.attention import (
    ROWS,
    VARLEN,
    fits_rows,
    fits_varlen,
    has_varlen,
    use,
)
from east_core.engines.trl.job import RankJob
from east_core.errors import ConfigError

IGNORED_LABEL = -100
MASK = "mask"  # Transformers' own way: a mask over all joined rows
_KINDS_OF_LAYERS = {"full_attention", "sliding_attention"}
_LEAK_TOLERANCE = 1e-3  # of the logits' spread: fp32's rounding is below, a neighbour's trace above
_SMALL = {
    "num_hidden_layers": 2,
    "vocab_size": 64,
    "intermediate_size": 64,
    "moe_intermediate_size": 64,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a padded micro-batch stand.

    kept: (L,), their indices in the flattened (B, T) micro-batch; lengths: real tokens of each row;
    shape: (B, T).
    """

    kept: Tensor
    lengths: tuple[int, ...]
    shape: torch.Size

    @classmethod
    def of(cls, attention_mask: Tensor) -> "Packing":
        """The packing of a micro-batch with the mask (B, T), 1 at real tokens."""
        is_real = attention_mask.bool()
        kept = is_real.flatten().nonzero().flatten()
        return cls(kept, tuple(is_real.sum(1).tolist()), attention_mask.shape)

    def joined(self, values: Tensor) -> Tensor:
        """The real tokens of (B, T) values as one sequence, (1, L)."""
        return values.flatten()[self.kept][None]

    def labels(self, labels: Tensor) -> Tensor:
        """Labels (B, T) as one sequence, (1, L); none is predicted by the row before it."""
        joined = self.joined(labels)
        return joined.masked_fill(self.positions() == 0, IGNORED_LABEL)

    def positions(self) -> Tensor:
        """Each token's position in its row, (1, L)."""
        positions = torch.cat([torch.arange(length) for length in self.lengths])
        return positions[None].to(self.kept.device)

    def bounds(self) -> dict[str, Any]:
        """Where rows begin and end, for flash attention: cu_seq_lens (B + 1,) int32, max_length."""
        ends = torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32)
        longest, ends = max(self.lengths), ends.to(self.kept.device)
        lengths = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends}
        return {**lengths, "max_length_q": longest, "max_length_k": longest}

    def padded(self, values: Tensor) -> Tensor:
        """Values of the next tokens, (1, L - 1), back in the padded form, (B, T - 1); 0 elsewhere.

        A value at position j of a row is of its token j + 1.
        """
        size = self.shape[0] * self.shape[1]
        flat = values.new_zeros(size).scatter(0, self.kept[1:], values[0])
        return flat.view(self.shape)[:, 1:]


def padded_rows(model: Forward) -> Forward:
    """`model` as it is: it sees micro-batches padded."""
    return model


def joined_rows(model: Forward) -> Forward:
    """`model`, called with padded micro-batches as TRL does, on joined rows.

    The result's log_probs and label_mask are padded again, (B, T - 1).
    """

    def forward(
        *, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **options: Any
    ) -> Any:
        packing = Packing.of(attention_mask)
        outputs = model(
            input_ids=packing.joined(input_ids),
            position_ids=packing.positions(),
            labels=packing.labels(labels),
            **packing.bounds(),
            **options,
        )
        outputs.log_probs = packing.padded(outputs.log_probs)
        outputs.label_mask = packing.padded(outputs.label_mask.long()).bool()
        return outputs

    return forward


def obstacle(model: PreTrainedModel) -> str | None:
    """Why the rows of a micro-batch can't be joined for this model; None where they can."""
    name = type(model).__name__
    config = model.config.get_text_config()
    other = sorted({*(getattr(config, "layer_types", None) or ())} - _KINDS_OF_LAYERS)
    if model._is_stateful or other:
        kinds = f" ({', '.join(other)})" if other else ""
        return f"{name} has layers{kinds} that would carry a state from one row to the next"
    if not model._supports_attention_backend:
        return f"{name} has an attention of its own, which can't tell joined rows apart"
    return None


@torch.no_grad()
def rows_leak(model: PreTrainedModel) -> bool:
    """Whether a row's logits change with the row before it, or with being joined to it.

    `model` is in evaluation and holds its parameters; tried on rows of seven tokens.
    """
    rows = torch.arange(1, 22).view(3, 7)
    alone = model(input_ids=rows[2:], use_cache=False).logits[0].float()
    after = [_after(model, before, rows[2:]) for before in (rows[:1], rows[1:2])]
    bound = _LEAK_TOLERANCE * alone.std().item()
    return any(not (logits - alone).abs().max().item() <= bound for logits in after)


def small_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Two layers of the model's kind, random and narrow: what a trial needs, also under ZeRO-3."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config()
    for name, value in _SMALL.items():
        if hasattr(text, name):
            setattr(text, name, value)
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[: _SMALL["num_hidden_layers"]]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small: Any = type(model)(config)
    return cast("PreTrainedModel", small.float().eval())


def _after(model: PreTrainedModel, before: Tensor, row: Tensor) -> Tensor:
    """Logits of `row`, (T, V), joined to the row `before`."""
    both = torch.cat([before, row])
    packing = Packing.of(torch.ones_like(both))
    given = {"input_ids": packing.joined(both), "position_ids": packing.positions()}
    logits: Tensor = model(**given, **packing.bounds(), use_cache=False).logits
    return logits[0, before.numel() :].float()


def rows_for(job: RankJob, model: PreTrainedModel) -> Callable[[Forward], Forward]:
    """How `model` is to see micro-batches by `resources.packing`; may change its attention.

    auto: joined where each row is attended to by itself. on: by a mask, too.
    Raises ConfigError where packing is "on" and the model can't be right with it.
    """
    packing = job.resources.packing
    if packing == "off":
        return padded_rows
    attention = _attention(job, model)
    if attention == MASK and packing == "auto":
        return padded_rows
    if (reason := _obstacle(model, attention)) is not None:
        if packing == "on":
            raise ConfigError(f"resources.packing is 'on', but {reason}; set it to 'auto'")
        return padded_rows
    if attention in (VARLEN, ROWS):
        use(attention, model)
    return joined_rows


def _attention(job: RankJob, model: PreTrainedModel) -> str:
    """The kind of attention that this job's model takes for joined rows."""
    if is_bf16(job) and has_varlen(job.device) and fits_varlen(model):
        return VARLEN
    if fits_rows(model):
        return ROWS
    own: str = model.config._attn_implementation
    return own if own.startswith("flash") else MASK


def _obstacle(model: PreTrainedModel, attention: str) -> str | None:
    if (reason := obstacle(model)) is not None:
        return reason
    name = type(model).__name__
    try:
        small = small_copy(model)
        if attention != MASK:
            use(ROWS, small)  # takes the same bounds, and runs anywhere
        leaks = rows_leak(small)
    except Exception as error:
        return f"two joined rows could not be tried on {name}: {type(error).__name__}: {error}"
    return f"{name}'s rows change when they are joined" if leaks else None
