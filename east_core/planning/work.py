"""What a round samples, trains, scores and stores."""

from collections.abc import Iterator

from east_core.planning.basis import Basis
from east_core.planning.figures import ADAM_STATES, FP32, Estimate


def tokens(basis: Basis) -> Iterator[Estimate]:
    """Tokens of one round."""
    w, config = basis.work, basis.config
    n = config.sampling.samples_per_question
    formula = f"{w.questions:,} questions x {n} x {w.completion_tokens} tokens"
    yield Estimate("a round", "sampled", basis.sampled_tokens, "tokens", formula)
    formula = f"{basis.examples:,.0f} examples x {config.training.epochs:g} epochs x "
    formula += f"{basis.sequences} x {basis.mean_length} tokens"
    yield Estimate("a round", "trained", basis.trained_tokens, "tokens", formula)
    formula = f"{w.test_questions:,} test questions x {w.completion_tokens} tokens"
    yield Estimate("a round", "scored", basis.scored_tokens, "tokens", formula)


def stored(basis: Basis) -> list[Estimate]:
    """Bytes of one round's artifacts."""
    w, text, width = basis.work, basis.assumed.text_bytes, basis.weight_bytes
    p, length = basis.trained, w.prompt_tokens + basis.sequences * w.completion_tokens
    figures = (
        ("samples", basis.sampled_tokens * text, f"sampled tokens x {text:g} B (Parquet, zstd)"),
        ("examples", basis.examples * length * text, f"examples x {length} tokens"),
        ("checkpoint", width * p, f"{width} B x {p:,}: safetensors"),
    )
    return [
        Estimate("a round", f"{name} stored", value, "bytes", formula)
        for name, value, formula in figures
    ]


def storage(basis: Basis) -> Iterator[Estimate]:
    """Bytes of one round's artifacts, of the run's, and of training checkpoints on disk."""
    round_ = stored(basis)
    yield from round_
    rounds, resources = basis.config.rounds, basis.config.resources
    total = rounds * sum(one.value for one in round_)
    yield Estimate("the run", "storage", total, "bytes", f"{rounds} rounds; `east prune` frees")
    optimizer = FP32 * (1 + ADAM_STATES) * basis.trained
    saves = resources.checkpoint_every_steps or resources.checkpoint_every_minutes
    weights = basis.weight_bytes * basis.shape.parameters
    disk = 2 * (weights + optimizer) if saves else 0.0
    formula = "2 kept x (weights + master and moments); checkpoint_every_* turns them on"
    yield Estimate("training node", "training checkpoints", disk, "bytes", formula)
