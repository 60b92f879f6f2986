"""Where and how fast: nothing here changes what is learned."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from east_core.config.base import Frozen, Location
from east_core.config.passed_on import engine_problem

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
    deepspeed_config: str | None = Field(
        None,
        description="DeepSpeed's configuration as a JSON file of your own, on every machine that "
        "trains, in place of the one that zero_stage and offload stand for. Its ZeRO stage must be "
        "zero_stage; sizes, precision, clipping and the optimizer stay the run's.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, slower."
    )
    group_by_length: bool = Field(
        True,
        description="Sort each global batch by length, so that micro-batches hold less padding; "
        "joined rows are dealt out so that each has as many tokens. "
        "The batches themselves stay, and with them what is learned.",
    )
    packing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Join the rows of a micro-batch into one sequence, so that no padding is "
        "computed; weights and losses stay each row's own. auto: where the model's attention "
        "can take each row by itself; on: by a mask over all, too, or the run is refused.",
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
        description="Experiment trackers that hear of every training step and every round; each "
        "needs its package (pip install wandb) and its own environment variables (WANDB_API_KEY).",
    )
    engines: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="Data-parallel sampling engines (one for each group of GPUs). auto: one; on "
        "CPUs two where there are cores and memory for them, which beat one with two threads.",
    )
    tensor_parallel: int = Field(
        1, ge=1, description="GPUs, or processes on CPUs, that share one sampling engine."
    )
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
    engine_options: dict[str, Any] = Field(
        {},
        description="Passed on to vLLM's engine by its own names (dtype, quantization, "
        "kv_cache_dtype, max_num_batched_tokens ...). What may change samples counts as part of "
        "what identifies them (docs/models.md).",
    )
    max_sequences: int | None = Field(
        None,
        ge=1,
        description="Completions that an engine generates at the same time, at most; None: vLLM's "
        "own choice on GPUs (1,024 on an H100, 256 on small ones; a small model can be faster with "
        "256), 256 on CPUs.",
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
    def _cluster_is_set(self) -> "Resources":
        if self.ray is not None and self.device == "auto":
            raise ValueError(
                "ray needs device 'cuda' or 'cpu': what the cluster has can't be seen from here"
            )
        return self

    @model_validator(mode="after")
    def _engine_options_can_be_passed_on(self) -> "Resources":
        if problem := engine_problem(self.engine_options):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _offload_fits_stage(self) -> "Resources":
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError("offload 'all' needs zero_stage 3")
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("offload 'optimizer' needs zero_stage 1, 2 or 3")
        if self.deepspeed_config is not None and self.zero_stage == 0:
            raise ValueError("deepspeed_config needs zero_stage 1, 2 or 3")
        return self
