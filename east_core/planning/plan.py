"""What a run will need: memory, tokens, storage and hours, from sizes and stated assumptions.

Pure arithmetic on a config and a model's shape; every estimate carries its formula. Memory follows
the mixed-precision bookkeeping of ZeRO (arXiv:1910.02054, section 3) and what Transformers' Llama
keeps of a layer for the backward pass; time follows the roofline of decoding and 6 FLOP a parameter
and token of training (arXiv:2001.08361, section 2.1). docs/planning.md shows the arithmetic and
how far measurements were from it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from east_core.config import DpoRecipe, KtoRecipe, RunConfig, SftRecipe
from east_core.engines.devices import Device
from east_core.planning.model_shape import ModelShape

GIB = 2**30
FP32, BF16 = 4, 2
# TRL's fused LM head: logits exist in tiles of so many tokens and vocabulary entries, in fp32.
LOGIT_TILE = (4096, 32_768)
# DeepSpeed gathers at most so many parameters at a time under ZeRO-3 (stage3_max_live_parameters).
LIVE_PARAMETERS = 1_000_000_000
ADAM_STATES = 2
# An offloaded step reads weights, gradient and moments in fp32, and writes all but the gradient.
OFFLOADED_STEP = 7 * FP32
STEP_COPIES = 2  # AdamW's temporaries in a step: the root of the second moment, and the divisor
PREFILL_TOKENS = 16_384  # tokens in one forward pass of vLLM on large GPUs

Kind = Literal["bytes", "number", "tokens", "seconds", "share"]


@dataclass(frozen=True)
class Gpu:
    """A GPU's memory in bytes, memory bandwidth in bytes a second, and dense bf16 FLOP/s."""

    name: str
    memory: float
    bandwidth: float
    flops: float


# NVIDIA's data sheets: SXM parts, dense bf16.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a100-40", 40e9, 1.555e12, 312e12),
        Gpu("a100-80", 80e9, 2.039e12, 312e12),
        Gpu("h100", 80e9, 3.35e12, 989e12),
        Gpu("h200", 141e9, 4.8e12, 989e12),
        Gpu("b200", 180e9, 7.7e12, 2250e12),
        Gpu("l4", 24e9, 0.3e12, 121e12),
        Gpu("l40s", 48e9, 0.864e12, 362e12),
    )
}


@dataclass(frozen=True)
class Workload:
    """What a round works on: questions, and mean lengths in tokens.

    `kept` is the share of the questions that is trained on; 1 is the most there can be.
    """

    questions: int
    test_questions: int
    prompt_tokens: int = 150
    completion_tokens: int = 300
    kept: float = 1.0


@dataclass(frozen=True)
class Assumptions:
    """What the formulas take from outside; docs/planning.md says where each comes from.

    Rates of None follow from the GPU; on CPU there is no such formula, so hours need measured
    rates: `sampling_rate` in tokens a second of one engine, `training_rate` of all ranks together.
    Baselines are bytes that a process needs for its libraries, whatever the model.
    """

    gpu: Gpu
    bandwidth_share: float = 0.5
    step_overhead: float = 0.005
    flops_share: float = 0.2
    network_rate: float = 50e9
    host_rate: float = 20e9
    device_baseline: float = 2.0 * GIB
    sleeping_engine: float = 2.0 * GIB
    rank_baseline: float = 0.7 * GIB
    engine_baseline: float = 1.0 * GIB
    allocator_slack: float = 0.1
    text_bytes: float = 1.5
    grading_rate: float = 10_000.0
    store_rate: float = 100e6
    engine_start: float = 90.0
    training_start: float = 60.0
    sampling_rate: float | None = None
    training_rate: float | None = None

    def told(self, device: Device) -> Iterator[tuple[str, str]]:
        """What was assumed, and where it comes from."""
        gpu = self.gpu
        if device == "cuda":
            speed = f"{gpu.bandwidth / 1e12:g} TB/s, {gpu.flops / 1e12:,.0f} TFLOP/s dense bf16"
            yield f"{gpu.name}: {gpu.memory / 1e9:,.0f} GB, {speed}", "NVIDIA's data sheet"
            shares = f"decoding reaches {self.bandwidth_share:.0%} of the bandwidth"
            yield f"{shares} and {self.step_overhead * 1e3:g} ms a step besides", "assumed"
            yield f"training reaches {self.flops_share:.0%} of the FLOP/s", "assumed"
            yield f"{self.network_rate / 1e9:g} GB/s a GPU between nodes (400 Gb/s)", "assumed"
            yield f"{self.host_rate / 1e9:g} GB/s of host memory a rank, for offloading", "assumed"
            yield f"{human(self.device_baseline, 'bytes')} a GPU: CUDA's context, NCCL", "assumed"
        yield f"{human(self.rank_baseline, 'bytes')} of host memory a rank", "measured on CPU"
        yield (
            f"{self.allocator_slack:.0%} lost to the allocator",
            "measured on CPU, assumed on GPUs",
        )
        yield f"{self.text_bytes:g} B stored a token", "measured: 0.39 B a character of GSM8K"
        yield f"{self.grading_rate:,.0f} answers graded a second", "measured (docs/answers.md)"
        yield f"{self.store_rate / 1e6:,.0f} MB/s to the store", "measured (docs/reliability.md)"
        starts = f"{self.engine_start:g} s to start engines, {self.training_start:g} s for training"
        yield starts, "assumed"


@dataclass(frozen=True)
class Estimate:
    """One figure of a plan, in the base unit of its kind, with the formula that made it."""

    section: str
    name: str
    value: float
    kind: Kind
    formula: str


@dataclass(frozen=True)
class Plan:
    """All estimates in the order in which they are told, and what does not fit."""

    estimates: tuple[Estimate, ...]
    misfits: tuple[str, ...]

    def value(self, section: str, name: str) -> float:
        """The value of one estimate; raises KeyError where there is none."""
        found = {(one.section, one.name): one.value for one in self.estimates}
        return found[section, name]


@dataclass(frozen=True)
class Planner:
    """A run's config with all that its estimates follow from."""

    config: RunConfig
    shape: ModelShape
    work: Workload
    assumed: Assumptions
    device: Device

    def plan(self) -> Plan:
        """Every estimate of the run."""
        estimates = (
            *self.training_memory(),
            *self.sampling_memory(),
            *self.tokens(),
            *self.storage(),
            *self.time(),
        )
        return Plan(estimates, tuple(self._misfits(Plan(estimates, ()))))

    @property
    def is_bf16(self) -> bool:
        """Whether training computes in bf16."""
        precision = self.config.training.precision
        return precision == "bf16" or (precision == "auto" and self.device == "cuda")

    @property
    def is_mixed(self) -> bool:
        """Whether weights are bf16 beside fp32 master weights, as DeepSpeed has it."""
        return self.is_bf16 and self.config.resources.zero_stage > 0

    @property
    def longest(self) -> int:
        """Tokens of the longest training example there can be."""
        longest = self.work.prompt_tokens + self.config.sampling.max_tokens
        return min(self.config.training.max_length, longest, self.shape.context)

    @property
    def sequences(self) -> int:
        """Completions of one training example: a preference pair has two."""
        return 2 if isinstance(self.config.training, DpoRecipe) else 1

    @property
    def trained(self) -> int:
        """Parameters with gradients and optimizer states."""
        lora = self.config.training.lora
        if lora is None:
            return self.shape.parameters
        s = self.shape
        widths = 2 * (s.hidden + s.query_width) + 2 * (s.hidden + s.kv_width)
        return s.layers * lora.rank * (widths + 3 * (s.hidden + s.intermediate))

    def training_memory(self) -> Iterator[Estimate]:
        """Bytes of one training rank, by what they hold, and the peak over a step."""
        resources, p, t = self.config.resources, self.shape.parameters, self.trained
        ranks, stage, offload = resources.processes, resources.zero_stage, resources.offload
        width = BF16 if self.is_mixed else FP32
        states = FP32 * (ADAM_STATES if self.config.training.optimizer == "adamw" else 0)
        states += FP32 if stage else 0  # the master weights of a rank's partition
        on_device = offload == "none"

        def told(name: str, value: float, formula: str) -> Estimate:
            return Estimate("training rank", name, value, "bytes", formula)

        shared = ranks if stage == 3 else 1
        weights = width * p / shared if offload != "all" else 0.0
        yield told("weights", weights, f"{width} B x {p:,} / {shared}")
        live = min(p, LIVE_PARAMETERS) if stage == 3 and ranks > 1 else 0
        yield told("gathered weights", width * live, f"{width} B x min(P, 1e9 live): ZeRO-3 alone")
        over = ranks if stage >= 2 else 1
        copies = 1 if stage else 2  # DDP's buckets are a second copy
        gradients = copies * width * t / over
        yield told("gradients", gradients, f"{copies} x {width} B x {t:,} trained / {over}")
        over = ranks if stage else 1
        optimizer = states * t / over if on_device else 0.0
        yield told("optimizer", optimizer, f"{states} B x {t:,} / {over}: fp32 master and moments")
        kept = self._activations()
        yield told("activations", kept, self._activation_formula())
        logits = self._logits()
        yield told("logits", logits, "tiles of fp32, and the LM head's gradient in fp32")
        # Without ZeRO the optimizer goes from tensor to tensor, and its temporaries are small.
        step = FP32 * (1 + STEP_COPIES) * t / over if stage and on_device else 0.0
        yield told(
            "optimizer step", step, f"{FP32} B x (gradient + {STEP_COPIES}) x trained / {over}"
        )
        # On a GPU the step reuses the activations' blocks; a process on CPU keeps both.
        passing = max(kept + logits, step) if self.device == "cuda" else kept + logits + step
        model = weights + width * live + gradients + optimizer + passing
        slack = self.assumed.allocator_slack * model
        yield told("allocator slack", slack, f"{self.assumed.allocator_slack:.0%} of the above")
        baseline = self._rank_baseline()
        asleep = ", and 2 GiB of a sleeping engine (assumed)" if self._engines_sleep else ""
        yield told("baseline", baseline, f"libraries, and CUDA's context on a GPU{asleep}")
        formula = "sum; of activations + logits and the step only the larger, on a GPU"
        yield told("peak", model + slack + baseline, formula)
        host = self._host_bytes(states, t)
        yield Estimate("training node", "host memory", host, "bytes", self._host_formula())

    def _rank_baseline(self) -> float:
        if self.device == "cpu":
            return self.assumed.rank_baseline
        return self.assumed.device_baseline + self.assumed.sleeping_engine * self._engines_sleep

    @property
    def _engines_sleep(self) -> bool:
        """Whether engines keep a part of the GPUs while these train."""
        resources = self.config.resources
        return self.device == "cuda" and resources.sleeping_engines and resources.ray is None

    def _host_bytes(self, states: int, trained: int) -> float:
        """Host memory of a node: its ranks' libraries, and what is offloaded to it."""
        resources = self.config.resources
        share = resources.processes_per_node / resources.processes
        offloaded = 0.0
        if resources.offload != "none":
            offloaded += (states + FP32) * trained * share  # with the fp32 gradients beside them
        if resources.offload == "all":
            offloaded += BF16 * self.shape.parameters * share
        return offloaded + resources.processes_per_node * self.assumed.rank_baseline

    def _host_formula(self) -> str:
        resources = self.config.resources
        return f"{resources.processes_per_node} ranks' libraries; offloaded: {resources.offload}"

    def _activations(self) -> float:
        """Bytes that the backward pass of one micro-batch needs from the forward pass."""
        resources, s = self.config.resources, self.shape
        tokens = resources.micro_batch_size * self.sequences * self.longest
        layer = tokens * self._layer_bytes()
        if not resources.gradient_checkpointing:
            return s.layers * layer
        return s.layers * tokens * s.hidden * self._compute_width() + layer

    def _layer_bytes(self) -> float:
        """Bytes that one layer keeps of a token.

        Two RMS norms (input, scaled input, output), queries and keys before and after their
        rotation, values, attention's output, and four tensors of the gated MLP. In bf16
        Transformers keeps the norms' first two in fp32.
        """
        s, width = self.shape, self._compute_width()
        norms = 2 * s.hidden * (2 * FP32 + width)
        attention = width * (3 * s.query_width + 3 * s.kv_width)
        return norms + attention + width * 4 * s.intermediate

    def _compute_width(self) -> int:
        return BF16 if self.is_bf16 else FP32

    def _activation_formula(self) -> str:
        resources, s = self.config.resources, self.shape
        tokens = f"{resources.micro_batch_size} x {self.sequences} x {self.longest} tokens"
        each = f"{self._layer_bytes():,.0f} B a token and layer"
        if resources.gradient_checkpointing:
            return f"{tokens} x ({s.layers} layers' inputs + one layer of {each})"
        return f"{tokens} x {s.layers} layers x {each}"

    def _logits(self) -> float:
        tokens = self.config.resources.micro_batch_size * self.sequences * self.longest
        tile = min(tokens, LOGIT_TILE[0]) * min(self.shape.vocabulary, LOGIT_TILE[1])
        head = self.shape.embedding if self.config.training.lora is None else 0
        return FP32 * (2 * tile + head)

    @property
    def kv_bytes(self) -> float:
        """KV cache of one token on one GPU, in bytes."""
        width = BF16 if self.device == "cuda" else FP32
        parallel = self.config.resources.tensor_parallel
        heads = max(self.shape.kv_heads / parallel, 1)
        return 2 * self.shape.layers * heads * self.shape.head_size * width

    def sampling_memory(self) -> Iterator[Estimate]:
        """Bytes of one GPU of a sampling engine (or of a CPU engine), and what fits into them."""
        resources, s, assumed = self.config.resources, self.shape, self.assumed

        def told(name: str, value: float, kind: Kind, formula: str) -> Estimate:
            return Estimate("sampling engine", name, value, kind, formula)

        parallel = resources.tensor_parallel
        on_gpu = self.device == "cuda"
        width = BF16 if on_gpu else FP32
        weights = width * s.parameters / parallel
        yield told("weights", weights, "bytes", f"{width} B x {s.parameters:,} / {parallel}")
        if on_gpu:
            work = PREFILL_TOKENS * BF16 * 2 * (s.hidden + s.intermediate / parallel)
            work += 2 * FP32 * resources.max_sequences * s.vocabulary
            yield told("work space", work, "bytes", f"{PREFILL_TOKENS:,} tokens' layer, logits")
            budget = resources.engine_memory * assumed.gpu.memory - assumed.device_baseline
            cache = budget - weights - work
            formula = f"{resources.engine_memory:.0%} of {assumed.gpu.name} - baseline - the above"
        else:
            cache, formula = resources.kv_cache_gib * GIB, "resources.kv_cache_gib"
        yield told("KV cache", cache, "bytes", formula)
        formula = f"2 x {s.layers} layers x KV heads x {s.head_size} x {width} B"
        yield told("KV cache a token", self.kv_bytes, "bytes", formula)
        fit = max(cache, 0) / self.kv_bytes
        longest = min(self.work.prompt_tokens + self.config.sampling.max_tokens, s.context)
        yield told("tokens in the cache", fit, "tokens", "cache / bytes a token")
        yield told("sequences at full length", fit / longest, "number", f"of {longest} tokens")
        yield told("sequences at a time", self.concurrency(fit), "number", self._fit_formula())
        if not on_gpu:
            total = 2 * weights + cache + assumed.engine_baseline
            formula = "weights, the file that they are read from, cache, libraries"
            yield told("peak", total, "bytes", formula)

    @property
    def mean_context(self) -> float:
        """Tokens that a sequence holds in the cache on average while it grows."""
        return self.work.prompt_tokens + self.work.completion_tokens / 2

    def concurrency(self, cached_tokens: float) -> float:
        """Sequences that an engine generates at a time."""
        return min(self.config.resources.max_sequences, cached_tokens / self.mean_context)

    def _fit_formula(self) -> str:
        most = self.config.resources.max_sequences
        return f"min(max_sequences {most}, tokens / mean context {self.mean_context:.0f})"

    @property
    def completions(self) -> int:
        """Completions that a round samples, at most."""
        return self.work.questions * self.config.sampling.samples_per_question

    @property
    def examples(self) -> float:
        """Examples that a round trains on."""
        recipe = self.config.training
        each = recipe.completions_per_question if isinstance(recipe, SftRecipe) else 1
        return self.work.questions * self.work.kept * each

    @property
    def trained_tokens(self) -> float:
        """Tokens that a round's training passes through the model."""
        length = self.work.prompt_tokens + self.work.completion_tokens
        return self.examples * self.config.training.epochs * self.sequences * length

    @property
    def scored_tokens(self) -> float:
        """Tokens generated to score one checkpoint."""
        each = 1 + self.config.evaluation.samples_per_question
        return self.work.test_questions * each * self.work.completion_tokens

    def tokens(self) -> Iterator[Estimate]:
        """Tokens of one round, and of the run."""
        w, config = self.work, self.config
        sampled = self.completions * w.completion_tokens
        n = config.sampling.samples_per_question
        formula = f"{w.questions:,} questions x {n} x {w.completion_tokens} tokens"
        yield Estimate("a round", "sampled", sampled, "tokens", formula)
        formula = f"{self.examples:,.0f} examples x {config.training.epochs:g} epochs x "
        formula += f"{self.sequences} x {w.prompt_tokens + w.completion_tokens} tokens"
        yield Estimate("a round", "trained", self.trained_tokens, "tokens", formula)
        formula = f"{w.test_questions:,} test questions x {w.completion_tokens} tokens"
        yield Estimate("a round", "scored", self.scored_tokens, "tokens", formula)

    def storage(self) -> Iterator[Estimate]:
        """Bytes of one round's artifacts, of the run's, and of training checkpoints on disk."""
        w, p, text = self.work, self.shape.parameters, self.assumed.text_bytes
        samples = self.completions * w.completion_tokens * text
        yield self._bytes("samples", samples, f"sampled tokens x {text:g} B (Parquet, zstd)")
        length = w.prompt_tokens + self.sequences * w.completion_tokens
        yield self._bytes("examples", self.examples * length * text, f"examples x {length} tokens")
        width = BF16 if self.is_mixed else FP32
        yield self._bytes("checkpoint", width * p, f"{width} B x {p:,}: safetensors")
        rounds = self.config.rounds
        total = rounds * (samples + self.examples * length * text + width * p)
        yield Estimate("the run", "storage", total, "bytes", f"{rounds} rounds; `east prune` frees")
        optimizer = FP32 * (1 + ADAM_STATES) * self.trained
        disk = 2 * (width * p + optimizer) if self._has_checkpoints() else 0.0
        formula = "2 kept x (weights + master and moments); checkpoint_every_* turns them on"
        yield Estimate("training node", "training checkpoints", disk, "bytes", formula)

    def _bytes(self, name: str, value: float, formula: str) -> Estimate:
        return Estimate("a round", f"{name} stored", value, "bytes", formula)

    def _has_checkpoints(self) -> bool:
        resources = self.config.resources
        return bool(resources.checkpoint_every_steps or resources.checkpoint_every_minutes)

    def sampling_rate(self) -> float | None:
        """Tokens a second of one engine: as given, or by the memory traffic of decoding.

        None where neither is known, or where nothing fits.
        """
        assumed = self.assumed
        if assumed.sampling_rate is not None or self.device == "cpu":
            return assumed.sampling_rate
        at_once = self._value("sequences at a time")
        if not at_once:  # the weights alone do not fit
            return None
        read = self._value("weights") + at_once * self.mean_context * self.kv_bytes
        step = read / (assumed.bandwidth_share * assumed.gpu.bandwidth) + assumed.step_overhead
        return at_once / step

    def _value(self, name: str) -> float:
        return next(one.value for one in self.sampling_memory() if one.name == name)

    def training_rate(self) -> float | None:
        """Tokens a second of all ranks: as given, or by arithmetic and, over nodes, by network."""
        assumed = self.assumed
        if assumed.training_rate is not None or self.device == "cpu":
            return assumed.training_rate
        resources = self.config.resources
        compute = self._flops_a_token() / (assumed.flops_share * assumed.gpu.flops)
        length = self.work.prompt_tokens + self.work.completion_tokens
        tokens = resources.micro_batch_size * self.sequences * length
        return resources.processes / max(compute, self._traffic() / assumed.network_rate / tokens)

    def _flops_a_token(self) -> float:
        """FLOP for a trained token: 2 a parameter forwards, 4 backwards, 2 to recompute.

        DPO and KTO pass every example through the reference once, KTO with a mismatched completion
        besides, and with that through the model in every step.
        """
        recipe = self.config.training
        each = 8.0 if self.config.resources.gradient_checkpointing else 6.0
        match recipe:
            case DpoRecipe():
                each += 2 / recipe.epochs
            case KtoRecipe():
                each += 2 + 4 / recipe.epochs
        return each * self.shape.parameters

    def _traffic(self) -> float:
        """Bytes that a rank receives over the network for one micro-batch, or its share of a step.

        ZeRO-3 gathers the weights twice and scatters the gradients once for every micro-batch; the
        other stages exchange gradients and weights once a step.
        """
        resources = self.config.resources
        if resources.nodes == 1:
            return 0.0
        outside = 1 - 1 / resources.nodes
        bytes_moved = BF16 * self.shape.parameters * outside
        if resources.zero_stage == 3:
            return 3 * bytes_moved
        return 2 * bytes_moved / self.config.accumulation_steps

    def time(self) -> Iterator[Estimate]:
        """Seconds of each stage of a round, and of the run; nothing where a rate is not known."""
        sampling, training = self.sampling_rate(), self.training_rate()
        if sampling is None or training is None:
            return
        assumed, engines = self.assumed, self.config.resources.engines

        def told(name: str, seconds: float, formula: str) -> Estimate:
            return Estimate("a round", name, seconds, "seconds", formula)

        rate = sampling * engines
        sampled = self.completions * self.work.completion_tokens
        sample = sampled / rate
        yield told("sampling", sample, f"sampled / ({engines} x {sampling:,.0f} tokens/s)")
        weigh = self.completions / assumed.grading_rate
        yield told("weighing", weigh, f"completions / {assumed.grading_rate:,.0f} a second")
        host = self._offloaded_seconds()
        train = self.trained_tokens / training + host + assumed.training_start
        formula = f"trained / {training:,.0f} tokens/s + {host:,.0f} s of offloaded steps + start"
        yield told("training", train, formula)
        score = self.scored_tokens / rate
        yield told("scoring", score, f"scored / ({engines} x {sampling:,.0f} tokens/s)")
        stored = sum(e.value for e in self.storage() if e.name.endswith(" stored"))
        publish = stored / assumed.store_rate
        yield told("publishing", publish, f"stored / {assumed.store_rate / 1e6:,.0f} MB/s")
        rounds = self.config.rounds
        each = sample + weigh + train + score + publish
        starts = 1 if self.device == "cpu" or self._engines_sleep else rounds + 1
        total = rounds * each + score + starts * assumed.engine_start
        formula = f"{rounds} rounds, the base model's score, {starts} x {assumed.engine_start:g} s"
        yield Estimate("the run", "time", total, "seconds", formula)
        gpus = self.gpus
        yield Estimate("the run", "GPU time", total * gpus, "seconds", f"time x {gpus} GPUs")

    def _offloaded_seconds(self) -> float:
        """Seconds of a round's optimizer steps in host memory."""
        resources, recipe = self.config.resources, self.config.training
        if resources.offload == "none":
            return 0.0
        steps = self.examples * recipe.epochs / recipe.global_batch_size
        return steps * OFFLOADED_STEP * self.trained / resources.processes / self.assumed.host_rate

    @property
    def gpus(self) -> int:
        """GPUs that the run holds: the more of training's and of sampling's."""
        resources = self.config.resources
        sampling = resources.engines * resources.tensor_parallel
        return max(resources.processes, sampling) if self.device == "cuda" else 0

    def _misfits(self, plan: Plan) -> Iterator[str]:
        """What does not fit on the GPU, each with what to change."""
        if self.device == "cpu":
            return
        memory, peak = self.assumed.gpu.memory, plan.value("training rank", "peak")
        if peak > memory:
            yield (
                f"a training rank needs {peak / GIB:.0f} GiB of {memory / GIB:.0f} GiB; lower "
                "micro_batch_size or max_length, set gradient_checkpointing, raise zero_stage, "
                "processes or nodes, or set offload"
            )
        if plan.value("sampling engine", "sequences at full length") < 1:
            yield (
                "a sampling engine has no room for one full sequence beside the weights; raise "
                "tensor_parallel or engine_memory, or lower sampling.max_tokens"
            )


def human(value: float, kind: Kind) -> str:
    """A value as people read it: 3.2 GiB, 1.4 h, 191 M."""
    if kind == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))
    if kind == "seconds":
        return _duration(value)
    if kind == "share":
        return f"{value:.0%}"
    return _scaled(value, 1000, ("", "K", "M", "B", "T"))


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    power = 0
    if abs(value) >= 1:
        power = min(int(math.log(abs(value), base)), len(units) - 1)
    scaled = value / base**power
    digits = 0 if power == 0 or abs(scaled) >= 100 else 1
    return f"{scaled:,.{digits}f} {units[power]}".rstrip()


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"
