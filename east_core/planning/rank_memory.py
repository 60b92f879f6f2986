"""Memory of a training rank, and of its node: ZeRO's bookkeeping (arXiv:1910.02054, section 3).

Activations are what Transformers' Llama keeps of a layer for the backward pass.
"""

from collections.abc import Iterator

from east_core.planning.basis import Basis
from east_core.planning.figures import ADAM_STATES, BF16, FP32, Estimate

# TRL's fused LM head: logits exist in tiles of so many tokens and vocabulary entries, in fp32.
LOGIT_TILE = (4096, 32_768)
# DeepSpeed gathers at most so many parameters at a time under ZeRO-3 (stage3_max_live_parameters).
LIVE_PARAMETERS = 1_000_000_000
STEP_COPIES = 2  # AdamW's temporaries in a step: the root of the second moment, and the divisor


def rank_memory(basis: Basis) -> Iterator[Estimate]:
    """Bytes of one training rank, by what they hold, and the peak over a step."""
    states = list(_model_states(basis))
    passing = [_activations(basis), _logits(basis), _optimizer_step(basis)]
    yield from (*states, *passing)
    kept, logits, step = (one.value for one in passing)
    # On a GPU the step reuses the activations' blocks; a process on CPU keeps both.
    at_once = max(kept + logits, step) if basis.device == "cuda" else kept + logits + step
    model = sum(one.value for one in states) + at_once
    share = basis.assumed.allocator_slack
    slack, baseline = share * model, _baseline(basis)
    yield _of_rank("allocator slack", slack, f"{share:.0%} of the above")
    asleep = ", and 2 GiB of a sleeping engine (assumed)" if basis.engines_sleep else ""
    yield _of_rank("baseline", baseline, f"libraries, and CUDA's context on a GPU{asleep}")
    formula = "sum; of activations + logits and the step only the larger, on a GPU"
    yield _of_rank("peak", model + slack + baseline, formula)
    yield _host_memory(basis)


def _of_rank(name: str, value: float, formula: str) -> Estimate:
    return Estimate("training rank", name, value, "bytes", formula)


def _model_states(basis: Basis) -> Iterator[Estimate]:
    """Weights, gradients and optimizer: what ZeRO shards."""
    resources, p, t = basis.config.resources, basis.shape.parameters, basis.trained
    ranks, stage, width = resources.processes, resources.zero_stage, basis.weight_bytes
    shared = ranks if stage == 3 else 1
    weights = width * p / shared if resources.offload != "all" else 0.0
    yield _of_rank("weights", weights, f"{width} B x {p:,} / {shared}")
    live = min(p, LIVE_PARAMETERS) if stage == 3 and ranks > 1 else 0
    yield _of_rank("gathered weights", width * live, f"{width} B x min(P, 1e9 live): ZeRO-3 alone")
    over = ranks if stage >= 2 else 1
    copies = 1 if stage else 2  # DDP's buckets are a second copy
    formula = f"{copies} x {width} B x {t:,} trained / {over}"
    yield _of_rank("gradients", copies * width * t / over, formula)
    over, states = ranks if stage else 1, _state_bytes(basis)
    optimizer = states * t / over if resources.offload == "none" else 0.0
    yield _of_rank("optimizer", optimizer, f"{states} B x {t:,} / {over}: fp32 master and moments")


def _state_bytes(basis: Basis) -> int:
    """Bytes that the optimizer keeps of a trained parameter, the master weight included."""
    moments = ADAM_STATES if basis.config.training.optimizer == "adamw" else 0
    # ZeRO keeps the master weights of a rank's partition
    return FP32 * (moments + (1 if basis.config.resources.zero_stage else 0))


def _optimizer_step(basis: Basis) -> Estimate:
    """What the step holds for a moment.

    Without ZeRO the optimizer goes from tensor to tensor, and its temporaries are small.
    """
    resources = basis.config.resources
    over = resources.processes if resources.zero_stage else 1
    on_device = resources.zero_stage and resources.offload == "none"
    step = FP32 * (1 + STEP_COPIES) * basis.trained / over if on_device else 0.0
    formula = f"{FP32} B x (gradient + {STEP_COPIES}) x trained / {over}"
    return _of_rank("optimizer step", step, formula)


def _baseline(basis: Basis) -> float:
    assumed = basis.assumed
    if basis.device == "cpu":
        return assumed.rank_baseline
    return assumed.device_baseline + assumed.sleeping_engine * basis.engines_sleep


def _host_memory(basis: Basis) -> Estimate:
    """Host memory of a node: its ranks' libraries, and what is offloaded to it."""
    resources = basis.config.resources
    share = resources.processes_per_node / resources.processes
    offloaded = 0.0
    if resources.offload != "none":
        # with the fp32 gradients beside the states
        offloaded += (_state_bytes(basis) + FP32) * basis.trained * share
    if resources.offload == "all":
        offloaded += BF16 * basis.shape.parameters * share
    host = offloaded + resources.processes_per_node * basis.assumed.rank_baseline
    formula = f"{resources.processes_per_node} ranks' libraries; offloaded: {resources.offload}"
    return Estimate("training node", "host memory", host, "bytes", formula)


def _longest(basis: Basis) -> int:
    """Tokens of the longest training example there can be."""
    longest = basis.work.prompt_tokens + basis.config.sampling.max_tokens
    return min(basis.config.training.max_length, longest, basis.shape.context)


def _activations(basis: Basis) -> Estimate:
    """Bytes that the backward pass of one micro-batch needs from the forward pass."""
    resources, s = basis.config.resources, basis.shape
    tokens = resources.micro_batch_size * basis.sequences * _longest(basis)
    layer = _layer_bytes(basis)
    batch = f"{resources.micro_batch_size} x {basis.sequences} x {_longest(basis)} tokens"
    each = f"{layer:,.0f} B a token and layer"
    if resources.gradient_checkpointing:
        kept = s.layers * tokens * s.hidden * _compute_bytes(basis) + tokens * layer
        formula = f"{batch} x ({s.layers} layers' inputs + one layer of {each})"
    else:
        kept, formula = s.layers * (tokens * layer), f"{batch} x {s.layers} layers x {each}"
    return _of_rank("activations", kept, formula)


def _layer_bytes(basis: Basis) -> float:
    """Bytes that one layer keeps of a token.

    Two RMS norms (input, scaled input, output), queries and keys before and after their
    rotation, values, attention's output, and four tensors of the gated MLP. In bf16
    Transformers keeps the norms' first two in fp32.
    """
    s, width = basis.shape, _compute_bytes(basis)
    norms = 2 * s.hidden * (2 * FP32 + width)
    attention = width * (3 * s.query_width + 3 * s.kv_width)
    return norms + attention + width * 4 * s.intermediate


def _compute_bytes(basis: Basis) -> int:
    return BF16 if basis.is_bf16 else FP32


def _logits(basis: Basis) -> Estimate:
    tokens = basis.config.resources.micro_batch_size * basis.sequences * _longest(basis)
    tile = min(tokens, LOGIT_TILE[0]) * min(basis.shape.vocabulary, LOGIT_TILE[1])
    head = basis.shape.embedding if basis.config.training.lora is None else 0
    formula = "tiles of fp32, and the LM head's gradient in fp32"
    return _of_rank("logits", FP32 * (2 * tile + head), formula)
