"""RunConfig: everything that defines a run, checked before a second of compute is spent.

The science (what is learned from what) stands apart from `resources` (where and how fast): only
the science enters fingerprints, so a run may be resumed on another machine. All models are
frozen and refuse unknown keys. Adding a loss or a data set format is one class here.
"""

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from east_core.config.averaging import Averaging
from east_core.config.base import Frozen, Location
from east_core.config.benchmarks import Benchmarks, HarnessTask
from east_core.config.inputs import DatasetConfig, ModelConfig
from east_core.config.mixture import QuestionMixture, Questions
from east_core.config.replay import Replay
from east_core.config.resources import Resources
from east_core.config.sampling import EvaluationRecipe, SamplingRecipe
from east_core.config.stopping import Stopping
from east_core.config.training import SftRecipe, Training
from east_core.weighting.strategies import (
    DifficultyWeighting,
    EntropyWeighting,
    LabelFree,
    Weighting,
)


class RunConfig(Frozen):
    """One self-training run: R rounds of sample, weigh, train and evaluate."""

    model_config = ConfigDict(title="Self-training run")
    later: ClassVar[frozenset[str]] = frozenset({"replay", "averaging"})

    name: str = Field(
        "self-training",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="Name of the run and of its folder in the store: lower-case letters, digits "
        "and dashes, at most 63. The same name goes on with the same run.",
    )
    store: Location = Field(
        ".east/store",
        min_length=1,
        description="Where the artifacts live: an fsspec URL (s3://bucket/prefix, file:///path) "
        "or a local path.",
    )
    rounds: int = Field(3, ge=1, le=1000, description="Rounds of self-training, R.")
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of every random choice of the run.")
    start_from: Literal["previous", "base", "best"] = Field(
        "previous",
        description="Each round trains on from the last checkpoint, or from the base model; best: "
        "it samples from and trains on the best checkpoint so far, by mean accuracy over the "
        "benchmarks.",
    )
    model: ModelConfig = Field(ModelConfig(), description="The base model.")
    questions: Questions = Field(
        DatasetConfig(),
        description="Training questions: a data set, or a mixture of those under questions.sets.",
    )
    benchmarks: Benchmarks = Field(
        {"word-problems": DatasetConfig(path="builtin:test.jsonl")},
        description="Test questions by benchmark name, or tasks of lm-evaluation-harness (`task`); "
        "every checkpoint is scored on each.",
    )
    sampling: SamplingRecipe = Field(SamplingRecipe(), description="How completions are drawn.")
    weighting: Weighting = Field(
        EntropyWeighting(), description="How a question's answers become its training weight."
    )
    label_free: LabelFree | None = Field(
        None,
        description="Train without gold answers: the majority answer is the label. None: the gold "
        "answers are used.",
    )
    training: Training = Field(SftRecipe(), description="Loss and optimisation.")
    replay: Replay | None = Field(
        None,
        description="Earlier examples, or given solutions, among those of each round. None: none.",
    )
    averaging: Averaging | None = Field(
        None,
        description="Average each round's checkpoint with an earlier one. None: it is as trained.",
    )
    evaluation: EvaluationRecipe = Field(EvaluationRecipe(), description="How rounds are scored.")
    stopping: Stopping | None = Field(
        None,
        description="End before the last round where the run gets worse. None: all rounds are run, "
        "and what got worse is told.",
    )
    resources: Resources = Field(Resources(), description="Processes, memory and devices.")

    @model_validator(mode="after")
    def _sizes_divide(self) -> "RunConfig":
        step = self.resources.processes * self.resources.micro_batch_size
        if self.training.global_batch_size % step:
            raise ValueError(
                f"training.global_batch_size {self.training.global_batch_size} is not a multiple "
                f"of resources.processes x resources.micro_batch_size = {step}; change one of them"
            )
        return self

    @model_validator(mode="after")
    def _labels_and_counts_fit(self) -> "RunConfig":
        if not self.questions.has_answers and self.label_free is None:
            raise ValueError(
                "the training questions have no answer_column; name it, or set label_free"
            )
        if self.weighting.is_unfiltered and self.training.loss != "sft":
            raise ValueError(
                f"weighting {self.weighting.kind!r} looks at no answer, and loss "
                f"{self.training.loss!r} needs right and wrong ones; use loss 'sft'"
            )
        if self.replay and not self.weighting.has_mean_one:
            raise ValueError(
                f"weighting {self.weighting.kind!r} has another mean than 1, which replayed "
                "examples have; leave replay out"
            )
        if isinstance(self.weighting, DifficultyWeighting) and self.training.loss != "sft":
            raise ValueError(
                "weighting 'difficulty' chooses how many completions of a question are trained "
                f"on, which loss {self.training.loss!r} can't do; use loss 'sft'"
            )
        return self

    @model_validator(mode="after")
    def _best_is_kept(self) -> "RunConfig":
        if self.start_from == "best" and self.resources.retention.startswith("last:"):
            raise ValueError(
                f"start_from = 'best' trains on checkpoints that resources.retention = "
                f"{self.resources.retention!r} deletes; use retention best-and-last or all"
            )
        return self

    @model_validator(mode="after")
    def _sets_are_there(self) -> "RunConfig":
        if self.weighting.normalize == "set" and not isinstance(self.questions, QuestionMixture):
            raise ValueError(
                "weighting.normalize 'set' is for a mixture, and the questions are one set; name "
                "sets under questions.sets, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _solutions_fit_the_loss(self) -> "RunConfig":
        if self.replay and self.replay.path is not None and self.training.loss != "sft":
            raise ValueError(
                f"replay.path has solutions, which loss {self.training.loss!r} can't learn from "
                "(it needs wrong ones too); use loss 'sft', or leave the path out"
            )
        return self

    @model_validator(mode="after")
    def _benchmarks_fit(self) -> "RunConfig":
        if not self.benchmarks:
            raise ValueError("benchmarks is empty; name at least one set of test questions")
        for name, benchmark in self.benchmarks.items():
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"benchmark name {name!r} must be letters, digits, '-' and '_'")
            if isinstance(benchmark, HarnessTask):
                self._harness_fits(name)
                continue
            benchmark.require_path(f"benchmark {name!r}")
            if not benchmark.has_answers:
                raise ValueError(f"benchmark {name!r} needs gold answers: set its answer_column")
            if benchmark.decontaminate:
                raise ValueError(
                    f"benchmark {name!r} is what training questions are held against: set "
                    "decontaminate under questions"
                )
        return self

    def _harness_fits(self, name: str) -> None:
        """Refuse what lm-evaluation-harness is not started with."""
        if self.resources.ray is not None:
            raise ValueError(
                f"benchmark {name!r} is a task of lm-evaluation-harness, which runs on this "
                "machine and on no Ray cluster; leave the benchmark out, or resources.ray"
            )
        if self.model.trust_remote_code:
            raise ValueError(
                f"benchmark {name!r} is a task of lm-evaluation-harness, which is started without "
                "trust in remote code: a model that brings its own can't be scored on it"
            )

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches that a rank accumulates for one optimizer step."""
        resources = self.resources
        return self.training.global_batch_size // (resources.processes * resources.micro_batch_size)
