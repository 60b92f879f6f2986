"""How a vLLM engine is built, on both sides of the process border; imports no engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from east_core.config import Resources
from east_core.engines.devices import device_of, most_sequences


@dataclass(frozen=True)
class EngineOptions:
    """How one engine is built; see `Resources` for the meaning of each field."""

    device: str
    tensor_parallel: int
    engine_memory: float
    kv_cache_gib: float
    max_sequences: int | None  # None: vLLM's own choice
    may_sleep: bool
    trust_remote_code: bool
    context: int | None = None  # tokens of prompt and completion; None: all that the model has
    thinking: tuple[str, str] | None = None  # what begins and ends thinking that has a budget
    passed_on: Mapping[str, Any] = field(default_factory=dict)

    def llm_arguments(self) -> dict[str, Any]:
        """Arguments of vllm.LLM for this device."""
        return {**self._ours(), **self.passed_on}

    def _ours(self) -> dict[str, Any]:
        context = {} if self.context is None else {"max_model_len": self.context}
        thinking = {}
        if self.thinking is not None:
            start, end = self.thinking
            marks = {"reasoning_start_str": start, "reasoning_end_str": end}
            thinking = {"reasoning_config": marks}
        sequences = {} if self.max_sequences is None else {"max_num_seqs": self.max_sequences}
        shared = (
            context
            | thinking
            | sequences
            | {
                "tensor_parallel_size": self.tensor_parallel,
                "trust_remote_code": self.trust_remote_code,
                "disable_log_stats": True,
                "enable_prefix_caching": True,
            }
        )
        if self.device == "cuda":
            return shared | {
                "gpu_memory_utilization": self.engine_memory,
                "enable_sleep_mode": self.may_sleep,
            }
        return shared | {
            "dtype": "float32",  # bf16 costs three times the time on CPUs without AMX
            "enforce_eager": True,
            "kv_cache_memory_bytes": int(self.kv_cache_gib * 2**30),
            "block_size": 32,  # the default of 128 never shares a short prompt
            # a chunked prompt rewinds its random generator, which CPU generators can't do
            "enable_chunked_prefill": False,
            "worker_extension_cls": "east_core.engines.vllm.cpu_worker.CpuWorker",
        }

    @classmethod
    def from_resources(
        cls,
        resources: Resources,
        trust_remote_code: bool,
        context: int | None = None,
        thinking: tuple[str, str] | None = None,
    ) -> "EngineOptions":
        """The options that a run's resources ask for."""
        device = device_of(resources)
        on_cpu = None if device == "cuda" else most_sequences(resources)
        return cls(
            device=device,
            tensor_parallel=resources.tensor_parallel,
            engine_memory=resources.engine_memory,
            kv_cache_gib=resources.kv_cache_gib,
            max_sequences=resources.max_sequences or on_cpu,
            may_sleep=resources.sleeping_engines,
            trust_remote_code=trust_remote_code,
            context=context,
            thinking=thinking,
            passed_on=resources.engine_options,
        )
