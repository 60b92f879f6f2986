"""Settings of the losses: SFT, DPO and KTO."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from east_core.answers.extraction import AnswerPolicy
from east_core.config.base import Frozen
from east_core.config.passed_on import trainer_identity, trainer_problem


class LoraRecipe(Frozen):
    """Low-rank adapters (peft); a round is stored as them, and merged where it is read."""

    model_config = ConfigDict(title="LoRA")

    rank: int = Field(16, ge=1, description="Rank r of the adapters.")
    alpha: float = Field(32.0, gt=0, description="Scale alpha; the update is scaled by alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapters' input.")
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="Module names to adapt, or all-linear."
    )


class TrainingRecipe(Frozen):
    """What SFT, DPO and KTO have in common."""

    later: ClassVar[frozenset[str]] = frozenset({"router_loss", "targets", "trainer_options"})
    loss: str

    learning_rate: float = Field(2e-6, gt=0, le=1, description="Peak learning rate.")
    epochs: float = Field(3.0, gt=0, le=1000, description="Passes over the round's examples.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of steps spent warming up.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="Learning-rate decay after the warm-up."
    )
    global_batch_size: int = Field(
        16, ge=1, description="Examples an optimizer step, over all processes and accumulation."
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="Optimizer.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradient clipping norm; 0 turns it off.")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the GPU has it, else fp32."
    )
    max_length: int = Field(
        2048,
        ge=2,
        description="Longest prompt plus completion in tokens; longer examples are dropped and "
        "counted, never cut.",
    )
    router_loss: float = Field(
        0.0,
        ge=0,
        description="Mixtures of experts: coefficient of the loss that spreads tokens over the "
        "experts (Transformers' router_aux_loss_coef; the makers' own is in the model's "
        "config.json). It is a mean over micro-batches, without the examples' weights, so it "
        "depends on the batch's layout; 0 leaves it out.",
    )
    lora: LoraRecipe | None = Field(None, description="Train adapters instead of all parameters.")
    targets: Literal["boxed", "any"] = Field(
        "boxed",
        description="Which completions may be trained on: those that put a correct answer into "
        "\\boxed{} (the model is taught to box its answer), or any with a correct answer "
        "('The answer is 42', '#### 42'). The same answers count in clusters, entropies and "
        "weights.",
    )
    trainer_options: dict[str, Any] = Field(
        {},
        description="Passed on to TRL's configuration of the loss by its own names (optim, "
        "adam_beta2, neftune_noise_alpha ...). What may change weights counts as part of what "
        "identifies a checkpoint (docs/models.md).",
    )

    @model_validator(mode="after")
    def _trainer_options_can_be_passed_on(self) -> "TrainingRecipe":
        if problem := trainer_problem(self.trainer_options, self.loss):
            raise ValueError(problem)
        return self

    def identity(self, exclude: frozenset[str] = frozenset()) -> dict[str, Any]:
        """As for every setting; options that only change speed are left out."""
        settings = super().identity(exclude)
        if counting := trainer_identity(settings.pop("trainer_options", {})):
            settings["trainer_options"] = counting
        return settings

    @property
    def answer_policy(self) -> AnswerPolicy:
        """How the completions' final answers are read, from the clusters on."""
        return "boxed" if self.targets == "boxed" else "lenient"


class SftRecipe(TrainingRecipe):
    """Weighted supervised fine-tuning on the model's own correct completions."""

    model_config = ConfigDict(title="SFT")

    loss: Literal["sft"] = "sft"
    normalisation: Literal["token", "example"] = Field(
        "token",
        description="token: sum w_i NLL_i / sum T_i over the global batch (TRL's way). example: "
        "the mean over examples of w_i NLL_i / T_i.",
    )
    completions_per_question: int = Field(
        1, ge=1, description="Distinct correct completions a question, at most (the paper: 1)."
    )
    weight_sharing: Literal["repeat", "share"] = Field(
        "repeat",
        description="With several completions a question: each carries the question's weight "
        "(repeat) or an equal part of it (share).",
    )


class PreferenceRecipe(TrainingRecipe):
    """What DPO and KTO have in common: a reference model."""

    learning_rate: float = Field(2e-7, gt=0, le=1, description="Peak learning rate.")
    beta: float = Field(0.01, gt=0, description="Strength of the pull towards the reference.")
    reference: Literal["previous", "base"] = Field(
        "previous", description="Reference model: the round's start checkpoint, or the base."
    )


class DpoRecipe(PreferenceRecipe):
    """Weighted direct preference optimisation: a correct completion against a wrong one."""

    model_config = ConfigDict(title="DPO")

    loss: Literal["dpo"] = "dpo"
    variant: Literal["sigmoid", "ipo"] = Field("sigmoid", description="The DPO loss, or IPO's.")


class KtoRecipe(PreferenceRecipe):
    """Weighted Kahneman-Tversky optimisation on unpaired correct and wrong completions."""

    model_config = ConfigDict(title="KTO")

    loss: Literal["kto"] = "kto"
    desirable_weight: float = Field(1.0, gt=0, description="Scale of the correct side's loss.")
    undesirable_weight: float = Field(1.0, gt=0, description="Scale of the wrong side's loss.")
    kl: Literal["invariant", "trl"] = Field(
        "invariant",
        description="KL estimate: over the whole optimizer step (independent of the batch "
        "layout), or a micro-batch at a time as TRL has it.",
    )


Training = Annotated[SftRecipe | DpoRecipe | KtoRecipe, Field(discriminator="loss")]
