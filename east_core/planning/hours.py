"""How long a round takes.

The roofline of decoding, and 6 FLOP a parameter and trained token (arXiv:2001.08361, section 2.1).
"""

from collections.abc import Iterator

from east_core.config import DpoRecipe, KtoRecipe
from east_core.planning.basis import Basis
from east_core.planning.engine_memory import engine_memory, kv_bytes, mean_context
from east_core.planning.figures import BF16, FP32, Estimate
from east_core.planning.work import stored

# An offloaded step reads weights, gradient and moments in fp32, and writes all but the gradient.
OFFLOADED_STEP = 7 * FP32


def hours(basis: Basis) -> Iterator[Estimate]:
    """Seconds of each stage of a round, and of the run; nothing where a rate is not known."""
    sampling, training = sampling_rate(basis), training_rate(basis)
    if sampling is None or training is None:
        return
    stages = list(_stages(basis, sampling, training))
    yield from stages
    rounds, start = basis.config.rounds, basis.assumed.engine_start
    [score] = (one.value for one in stages if one.name == "scoring")
    starts = 1 if basis.device == "cpu" or basis.engines_sleep else rounds + 1
    total = rounds * sum(one.value for one in stages) + score + starts * start
    formula = f"{rounds} rounds, the base model's score, {starts} x {start:g} s"
    yield Estimate("the run", "time", total, "seconds", formula)
    gpus = basis.gpus
    yield Estimate("the run", "GPU time", total * gpus, "seconds", f"time x {gpus} GPUs")


def _stages(basis: Basis, sampling: float, training: float) -> Iterator[Estimate]:
    """Seconds of a round's stages at those rates."""
    assumed, engines = basis.assumed, basis.engines

    def estimate(name: str, seconds: float, formula: str) -> Estimate:
        return Estimate("a round", name, seconds, "seconds", formula)

    rate, each = sampling * engines, f"({engines} x {sampling:,.0f} tokens/s)"
    yield estimate("sampling", basis.sampled_tokens / rate, f"sampled / {each}")
    weigh = basis.completions / assumed.grading_rate
    yield estimate("weighing", weigh, f"completions / {assumed.grading_rate:,.0f} a second")
    host = _offloaded_seconds(basis)
    train = basis.trained_tokens / training + host + assumed.training_start
    formula = f"trained / {training:,.0f} tokens/s + {host:,.0f} s of offloaded steps + start"
    yield estimate("training", train, formula)
    yield estimate("scoring", basis.scored_tokens / rate, f"scored / {each}")
    publish = sum(one.value for one in stored(basis)) / assumed.store_rate
    yield estimate("publishing", publish, f"stored / {assumed.store_rate / 1e6:,.0f} MB/s")


def sampling_rate(basis: Basis) -> float | None:
    """Tokens a second of one engine: as given, or by the memory traffic of decoding.

    None where neither is known, or where nothing fits.
    """
    assumed = basis.assumed
    if assumed.sampling_rate is not None or basis.device == "cpu":
        return assumed.sampling_rate
    engine = {one.name: one.value for one in engine_memory(basis)}
    at_once = engine["sequences at a time"]
    if not at_once:  # the weights alone do not fit
        return None
    read = engine["weights"] + at_once * mean_context(basis) * kv_bytes(basis)
    step = read / (assumed.bandwidth_share * assumed.gpu.bandwidth) + assumed.step_overhead
    return at_once / step


def training_rate(basis: Basis) -> float | None:
    """Tokens a second of all ranks: as given, or by arithmetic and, over nodes, by network."""
    assumed, resources = basis.assumed, basis.config.resources
    if assumed.training_rate is not None or basis.device == "cpu":
        return assumed.training_rate
    compute = _flops_a_token(basis) / (assumed.flops_share * assumed.gpu.flops)
    tokens = resources.micro_batch_size * basis.sequences * basis.mean_length
    return resources.processes / max(compute, _traffic(basis) / assumed.network_rate / tokens)


def _flops_a_token(basis: Basis) -> float:
    """FLOP for a trained token: 2 a parameter forwards, 4 backwards, 2 to recompute.

    DPO and KTO pass every example through the reference once, KTO with a mismatched completion
    besides, and with that through the model in every step.
    """
    recipe = basis.config.training
    each = 8.0 if basis.config.resources.gradient_checkpointing else 6.0
    match recipe:
        case DpoRecipe():
            each += 2 / recipe.epochs
        case KtoRecipe():
            each += 2 + 4 / recipe.epochs
    return each * basis.shape.parameters


def _traffic(basis: Basis) -> float:
    """Bytes that a rank receives over the network for one micro-batch, or its share of a step.

    ZeRO-3 gathers the weights twice and scatters the gradients once for every micro-batch; the
    other stages exchange gradients and weights once a step.
    """
    resources = basis.config.resources
    if resources.nodes == 1:
        return 0.0
    outside = 1 - 1 / resources.nodes
    bytes_moved = BF16 * basis.shape.parameters * outside
    if resources.zero_stage == 3:
        return 3 * bytes_moved
    return 2 * bytes_moved / basis.config.accumulation_steps


def _offloaded_seconds(basis: Basis) -> float:
    """Seconds of a round's optimizer steps in host memory."""
    resources, recipe = basis.config.resources, basis.config.training
    if resources.offload == "none":
        return 0.0
    steps = basis.examples * recipe.epochs / recipe.global_batch_size
    return steps * OFFLOADED_STEP * basis.trained / resources.processes / basis.assumed.host_rate
