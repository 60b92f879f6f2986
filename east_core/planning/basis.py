"""What every estimate of a plan follows from, and the quantities that several of them share."""

from dataclasses import dataclass

from east_core.config import DpoRecipe, RunConfig, SftRecipe
from east_core.engines.devices import (
    LARGE_GPU_SEQUENCES,
    SEQUENCES,
    Device,
    engine_count,
)
from east_core.planning.assumptions import Assumptions, Workload
from east_core.planning.figures import BF16, FP32, GIB
from east_core.planning.model_shape import ModelShape


@dataclass(frozen=True)
class Basis:
    """A run's config with its model's shape, its work, the assumptions, and the device."""

    config: RunConfig
    shape: ModelShape
    work: Workload
    assumed: Assumptions
    device: Device

    @property
    def is_bf16(self) -> bool:
        """Whether training computes in bf16."""
        precision = self.config.training.precision
        return precision == "bf16" or (precision == "auto" and self.device == "cuda")

    @property
    def weight_bytes(self) -> int:
        """Bytes of a trained weight: DeepSpeed keeps bf16 beside fp32 master weights."""
        return BF16 if self.is_bf16 and self.config.resources.zero_stage > 0 else FP32

    @property
    def engines_sleep(self) -> bool:
        """Whether engines keep a part of the GPUs while these train."""
        resources = self.config.resources
        return self.device == "cuda" and resources.sleeping_engines and resources.ray is None

    @property
    def engines(self) -> int:
        """Sampling engines."""
        return engine_count(self.config.resources.model_copy(update={"device": self.device}))

    @property
    def most_sequences(self) -> int:
        """Completions that an engine generates at a time, at most; where not set, vLLM's choice."""
        gpu = self.assumed.gpu
        is_large = self.device == "cuda" and gpu.memory >= 70 * GIB and "a100" not in gpu.name
        chosen = LARGE_GPU_SEQUENCES if is_large else SEQUENCES
        return self.config.resources.max_sequences or chosen

    @property
    def gpus(self) -> int:
        """GPUs that the run holds: the more of training's and of sampling's."""
        resources = self.config.resources
        sampling = self.engines * resources.tensor_parallel
        return max(resources.processes, sampling) if self.device == "cuda" else 0

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

    @property
    def mean_length(self) -> int:
        """Tokens of a prompt with its completion, on average."""
        return self.work.prompt_tokens + self.work.completion_tokens

    @property
    def completions(self) -> int:
        """Completions that a round samples, at most."""
        return self.work.questions * self.config.sampling.samples_per_question

    @property
    def sampled_tokens(self) -> int:
        """Tokens that a round samples, at most."""
        return self.completions * self.work.completion_tokens

    @property
    def examples(self) -> float:
        """Examples that a round trains on."""
        recipe = self.config.training
        each = recipe.completions_per_question if isinstance(recipe, SftRecipe) else 1
        share = self.config.replay.share if self.config.replay else 0.0
        return self.work.questions * self.work.kept * each / (1 - share)

    @property
    def trained_tokens(self) -> float:
        """Tokens that a round's training passes through the model."""
        return self.examples * self.config.training.epochs * self.sequences * self.mean_length

    @property
    def scored_tokens(self) -> float:
        """Tokens generated to score one checkpoint."""
        evaluation = self.config.evaluation
        each = (evaluation.mode == "greedy") + evaluation.samples_per_question
        return self.work.test_questions * each * self.work.completion_tokens
