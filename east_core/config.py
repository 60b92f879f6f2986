"""RunConfig: everything that defines a run, checked before a second of compute is spent.

The science (what is learned from what) stands apart from `resources` (where and how fast): only
the science enters fingerprints, so a run may be resumed on another machine. All models are
frozen and refuse unknown keys. Adding a loss or a data set format is one class here.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from east_core.weighting import DifficultyWeighting, EntropyWeighting, LabelFree, Weighting

SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."


class Frozen(BaseModel):
    """Base of every config model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _without_credentials(url: str) -> str:
    """`url`, which must not hold user:password@: settings stay in records, logs and Prefect."""
    if re.match(r"[\w+.:-]*://[^/\s]*@", url):
        raise ValueError("leave user and password out of the URL; set them in the environment")
    return url


Location = Annotated[str, AfterValidator(_without_credentials)]


class ModelConfig(Frozen):
    """The base model: round 0's checkpoint."""

    model_config = ConfigDict(title="Base model")

    name: Location = Field(
        "builtin:seed_model",
        min_length=1,
        description="Hub id (meta-llama/Llama-3.2-1B-Instruct), local folder, fsspec URL "
        "(s3://bucket/model), or builtin:seed_model for the demo's model.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of a hub model; None: the default branch."
    )
    trust_remote_code: bool = Field(
        False, description="Run Python code that comes with a hub model. Leave off unless audited."
    )


class DatasetConfig(Frozen):
    """Questions with gold answers: files by path or URL, or a hub data set."""

    model_config = ConfigDict(title="Questions")

    path: Location = Field(
        "builtin:train.jsonl",
        min_length=1,
        description="JSONL or Parquet file, folder or glob, by path or fsspec URL; or a hub data "
        "set id as hub:openai/gsm8k. builtin:train.jsonl and builtin:test.jsonl are the demo's.",
    )
    format: Literal["gsm8k", "math", "table"] = Field(
        "table",
        description="gsm8k: 'answer' ends in '#### 72'. math: the answer stands in \\boxed{} of "
        "'solution' or 'answer'. table: the columns named below.",
    )
    subset: str | None = Field(None, description="Configuration name of a hub data set ('main').")
    split: str = Field("train", description="Split of a hub data set.")
    revision: str | None = Field(None, description="Revision of a hub data set.")
    question_column: str = Field("question", description="Column of the question (table).")
    answer_column: str | None = Field(
        "answer", description="Column of the gold answer (table); None for label-free training."
    )
    id_column: str | None = Field(
        "id", description="Column of a unique id (table); row numbers where it is absent."
    )
    answer_format: Literal["plain", "gsm8k", "boxed"] = Field(
        "plain", description="How the final answer stands in answer_column (table)."
    )
    limit: int | None = Field(None, ge=1, description="Use the first so many questions only.")

    @property
    def has_answers(self) -> bool:
        """Whether the data set has gold answers; False for label-free training."""
        return self.format != "table" or self.answer_column is not None


class AdaptiveRecipe(Frozen):
    """Sampling in steps, until the entropy of a question is known (docs/weighting.md)."""

    model_config = ConfigDict(title="Adaptive sampling")

    first: int = Field(16, ge=2, le=4096, description="Completions in a question's first step.")
    step: int = Field(8, ge=1, le=4096, description="Completions in each further step.")
    tolerance_bits: float = Field(
        0.2,
        gt=0,
        description="A question is sampled on while its entropy is expected to change by more than "
        "this (root mean square, in bits) on the way to samples_per_question.",
    )
    unanimous_after: int = Field(
        16, ge=2, description="Completions after which a question with one answer only is decided."
    )
    all_wrong_after: int | None = Field(
        None,
        ge=2,
        description="Completions after which a question without a correct one is given up; None: "
        "never, since the questions that are hardest to solve have the largest weights.",
    )


class SamplingRecipe(Frozen):
    """How completions are drawn from the current checkpoint for each training question."""

    model_config = ConfigDict(title="Sampling")

    samples_per_question: int = Field(
        8, ge=2, le=4096, description="Completions for each question, n (the paper's data: 128)."
    )
    temperature: float = Field(1.0, gt=0, le=5, description="Softmax temperature; above 0.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling's probability mass.")
    max_tokens: int = Field(
        1024, ge=1, description="Longest completion in tokens; longer ones count as truncated."
    )
    system_prompt: str | None = Field(
        SYSTEM_PROMPT,
        description="System message of every prompt, in sampling, training and evaluation alike.",
    )
    stop: tuple[str, ...] = Field((), description="Strings that end a completion, besides EOS.")
    adaptive: AdaptiveRecipe | None = Field(
        None,
        description="Sample in steps until a question's entropy is known well enough, "
        "samples_per_question at most. None: every question gets samples_per_question.",
    )

    @model_validator(mode="after")
    def _leaves_steps(self) -> "SamplingRecipe":
        if self.adaptive is not None and self.adaptive.first >= self.samples_per_question:
            raise ValueError(
                f"adaptive.first {self.adaptive.first} leaves nothing to adapt in "
                f"samples_per_question {self.samples_per_question}; raise the latter, or leave "
                "adaptive out"
            )
        return self


class EvaluationRecipe(Frozen):
    """How every checkpoint is scored on the benchmarks."""

    model_config = ConfigDict(title="Evaluation")

    max_tokens: int = Field(1024, ge=1, description="Longest greedy completion in tokens.")
    samples_per_question: int = Field(
        0,
        ge=0,
        le=4096,
        description="Extra samples a question for maj@k and pass@k; 0: greedy accuracy only.",
    )
    temperature: float = Field(0.7, gt=0, le=5, description="Temperature of those extra samples.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    answer_policy: Literal["boxed", "lenient"] = Field(
        "lenient",
        description="Which final answers count: boxed only, or also 'The answer is 42' and the "
        "like (docs/answers.md).",
    )


class LoraRecipe(Frozen):
    """Low-rank adapters (peft), merged into a full checkpoint after training."""

    model_config = ConfigDict(title="LoRA")

    rank: int = Field(16, ge=1, description="Rank r of the adapters.")
    alpha: float = Field(32.0, gt=0, description="Scale alpha; the update is scaled by alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on the adapters' input.")
    target_modules: tuple[str, ...] | Literal["all-linear"] = Field(
        "all-linear", description="Module names to adapt, or all-linear."
    )


class TrainingRecipe(Frozen):
    """What SFT, DPO and KTO have in common."""

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
    lora: LoraRecipe | None = Field(None, description="Train adapters instead of all parameters.")


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


Retention = Literal["all", "best-and-last"] | Annotated[str, Field(pattern=r"^last:[1-9]\d*$")]


class Resources(Frozen):
    """Where and how fast: nothing here changes what is learned, nor any fingerprint."""

    model_config = ConfigDict(title="Resources")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA if present.")
    processes: int = Field(
        1, ge=1, description="Training ranks over all nodes, one for each GPU (or CPU core)."
    )
    nodes: int = Field(
        1,
        ge=1,
        description="Machines that the training ranks are spread over evenly: processes / nodes "
        "on each. More than 1 needs `ray`.",
    )
    ray: Annotated[str, Field(pattern=r"^(auto|[\w.-]+:\d+)$")] | None = Field(
        None,
        description="Ray cluster that samples, weighs and trains: host:port of its head, or auto "
        "for the one of RAY_ADDRESS or of this machine; needs the extra `ray`. None: this machine.",
    )
    micro_batch_size: int = Field(
        2, ge=1, description="Examples a rank handles at once; lower it when memory runs out."
    )
    zero_stage: Literal[0, 1, 2, 3] = Field(
        2, description="DeepSpeed ZeRO stage: what is sharded (1 optimizer, 2 gradients, 3 all)."
    )
    offload: Literal["none", "optimizer", "all"] = Field(
        "none", description="What DeepSpeed keeps in host memory (all needs ZeRO-3)."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, slower."
    )
    group_by_length: bool = Field(
        True,
        description="Sort each global batch by length, so that micro-batches hold less padding. "
        "The batches themselves stay, and with them what is learned.",
    )
    checkpoint_every_steps: int = Field(
        0, ge=0, description="Optimizer steps between training checkpoints; 0: none."
    )
    checkpoint_every_minutes: float = Field(
        0.0, ge=0, description="Minutes between training checkpoints, besides the above; 0: none."
    )
    checkpoint_store: Location | None = Field(
        None,
        description="fsspec URL to which training checkpoints are copied as well, so that another "
        "machine can go on from them; None: local disk only.",
    )
    trackers: tuple[Literal["wandb", "mlflow"], ...] = Field(
        (),
        description="Experiment trackers that hear of every training step; each needs its package "
        "(pip install wandb) and its own environment variables (WANDB_API_KEY).",
    )
    engines: int = Field(
        1, ge=1, description="Data-parallel sampling engines (one for each group of GPUs)."
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one sampling engine.")
    engine_memory: float = Field(
        0.9, gt=0, le=1, description="Share of a GPU's memory that a sampling engine may take."
    )
    sleeping_engines: bool = Field(
        False,
        description="While training has the GPUs, engines sleep (vLLM's sleep mode) instead of "
        "ending, which saves their start in each round; what they still hold is missing in "
        "training. One that frees too little ends all the same.",
    )
    kv_cache_gib: float = Field(0.5, gt=0, description="KV cache of a CPU sampling engine in GiB.")
    max_sequences: int = Field(
        256, ge=1, description="Completions that an engine generates at the same time, at most."
    )
    shard_questions: int = Field(
        256, ge=1, description="Questions in a shard: the unit of resume in sampling."
    )
    grader_processes: int = Field(2, ge=1, description="Worker processes that compare answers.")
    stage_timeout_hours: float = Field(
        24.0, gt=0, description="Longest that one sampling or training process may take."
    )
    retention: Retention = Field(
        "all",
        description="Checkpoints whose weights stay in the store after each round: all, "
        "best-and-last, or last:K (last:3). What others refer to, records and logs always stay.",
    )

    @property
    def processes_per_node(self) -> int:
        """Training ranks on each machine."""
        return self.processes // self.nodes

    @model_validator(mode="after")
    def _ranks_fill_nodes(self) -> "Resources":
        if self.processes % self.nodes:
            raise ValueError(
                f"processes {self.processes} counts the ranks of all {self.nodes} nodes, so it "
                "must be a multiple of nodes; change one of them"
            )
        return self

    @model_validator(mode="after")
    def _cluster_is_told(self) -> "Resources":
        if self.ray is not None and self.device == "auto":
            raise ValueError(
                "ray needs device 'cuda' or 'cpu': what the cluster has can't be seen from here"
            )
        return self

    @model_validator(mode="after")
    def _offload_fits_stage(self) -> "Resources":
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError("offload 'all' needs zero_stage 3")
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("offload 'optimizer' needs zero_stage 1, 2 or 3")
        return self


class RunConfig(Frozen):
    """One self-training run: R rounds of sample, weigh, train and evaluate."""

    model_config = ConfigDict(title="Self-training run")

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
    start_from: Literal["previous", "base"] = Field(
        "previous", description="Each round trains on from the last checkpoint, or from the base."
    )
    model: ModelConfig = Field(ModelConfig(), description="The base model.")
    questions: DatasetConfig = Field(DatasetConfig(), description="Training questions.")
    benchmarks: dict[str, DatasetConfig] = Field(
        {"word-problems": DatasetConfig(path="builtin:test.jsonl")},
        description="Test questions by benchmark name; every checkpoint is scored on each.",
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
    evaluation: EvaluationRecipe = Field(EvaluationRecipe(), description="How rounds are scored.")
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
        if isinstance(self.weighting, DifficultyWeighting) and self.training.loss != "sft":
            raise ValueError(
                "weighting 'difficulty' chooses how many completions of a question are trained "
                f"on, which loss {self.training.loss!r} can't do; use loss 'sft'"
            )
        return self

    @model_validator(mode="after")
    def _benchmarks_fit(self) -> "RunConfig":
        if not self.benchmarks:
            raise ValueError("benchmarks is empty; name at least one set of test questions")
        for name, benchmark in self.benchmarks.items():
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"benchmark name {name!r} must be letters, digits, '-' and '_'")
            if not benchmark.has_answers:
                raise ValueError(f"benchmark {name!r} needs gold answers: set its answer_column")
        return self

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches that a rank accumulates for one optimizer step."""
        resources = self.resources
        return self.training.global_batch_size // (resources.processes * resources.micro_batch_size)
