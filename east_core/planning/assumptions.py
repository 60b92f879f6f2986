"""What a plan takes from outside: GPUs, a round's work, rates and baselines."""

from collections.abc import Iterator
from dataclasses import dataclass

from east_core.engines.devices import Device
from east_core.planning.figures import GIB, human


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

    def describe(self, device: Device) -> Iterator[tuple[str, str]]:
        """What was assumed, and where it comes from."""
        if device == "cuda":
            yield from self._describe_gpus()
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

    def _describe_gpus(self) -> Iterator[tuple[str, str]]:
        gpu = self.gpu
        speed = f"{gpu.bandwidth / 1e12:g} TB/s, {gpu.flops / 1e12:,.0f} TFLOP/s dense bf16"
        yield f"{gpu.name}: {gpu.memory / 1e9:,.0f} GB, {speed}", "NVIDIA's data sheet"
        shares = f"decoding reaches {self.bandwidth_share:.0%} of the bandwidth"
        yield f"{shares} and {self.step_overhead * 1e3:g} ms a step besides", "assumed"
        yield f"training reaches {self.flops_share:.0%} of the FLOP/s", "assumed"
        yield f"{self.network_rate / 1e9:g} GB/s a GPU between nodes (400 Gb/s)", "assumed"
        yield f"{self.host_rate / 1e9:g} GB/s of host memory a rank, for offloading", "assumed"
        yield f"{human(self.device_baseline, 'bytes')} a GPU: CUDA's context, NCCL", "assumed"
