"""The settings of a run: what a TOML file or a form says, checked before anything starts."""

from east_core.config.averaging import Averaging
from east_core.config.base import Frozen, Location
from east_core.config.benchmarks import Benchmark, HarnessTask
from east_core.config.inputs import DatasetConfig, ModelConfig
from east_core.config.mixture import QuestionMixture, QuestionSet, QuestionSource
from east_core.config.replay import Replay
from east_core.config.resources import Resources, Retention
from east_core.config.run import RunConfig
from east_core.config.sampling import (
    SYSTEM_PROMPT,
    AdaptiveRecipe,
    EvaluationRecipe,
    SamplingRecipe,
)
from east_core.config.stopping import Stopping
from east_core.config.training import (
    DpoRecipe,
    KtoRecipe,
    LoraRecipe,
    PreferenceRecipe,
    SftRecipe,
    Training,
    TrainingRecipe,
)

__all__ = [
    "SYSTEM_PROMPT",
    "AdaptiveRecipe",
    "Averaging",
    "Benchmark",
    "DatasetConfig",
    "DpoRecipe",
    "EvaluationRecipe",
    "Frozen",
    "HarnessTask",
    "KtoRecipe",
    "Location",
    "LoraRecipe",
    "ModelConfig",
    "PreferenceRecipe",
    "QuestionMixture",
    "QuestionSet",
    "QuestionSource",
    "Replay",
    "Resources",
    "Retention",
    "RunConfig",
    "SamplingRecipe",
    "SftRecipe",
    "Stopping",
    "Training",
    "TrainingRecipe",
]
