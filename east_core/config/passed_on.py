"""Settings that are passed on to vLLM and TRL by the libraries' own names.

`resources.engine_options` go to vLLM's engine, `training.trainer_options` to TRL's configuration of
the loss. A name that we set ourselves, or that would break exactness, is refused with the reason; a
name that the library does not have, with the nearest that it has. The libraries' names are read
from their source, without importing them: the flow's process has no engine, and its environment may
not even hold one.

ENGINE_OPEN and TRAINER_OPEN are the few that we set and that a user's own may replace.

What changes samples or weights is part of what identifies them. ENGINE_SPEED and TRAINER_SPEED list
what only changes speed or memory; every other name counts.
"""

import ast
import difflib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from east_core.engine_python import installed_for_engines

ENGINE_OURS = {
    "model": "it is the round's checkpoint; set model.name",
    "tokenizer": "prompts are rendered with the checkpoint's own tokenizer",
    "revision": "set model.revision",
    "trust_remote_code": "set model.trust_remote_code",
    "seed": "every question has a seed of its own, from the run's; set seed",
    "max_model_len": "set sampling.max_context",
    "max_num_seqs": "set resources.max_sequences",
    "tensor_parallel_size": "set resources.tensor_parallel",
    "data_parallel_size": "set resources.engines",
    "gpu_memory_utilization": "set resources.engine_memory",
    "enable_sleep_mode": "set resources.sleeping_engines",
    "disable_log_stats": "nobody reads the statistics",
    "worker_extension_cls": "it makes the noise that sampling is reproducible by",
    "generation_config": "sampling's settings count, and the model's own stop ids",
    "override_generation_config": "set temperature, top_p ... under sampling",
    "logits_processors": "they would change what is sampled behind the recorded log-probabilities",
    "logprobs_mode": "weights and probes need the model's own log-probabilities",
    "skip_tokenizer_init": "stop strings and texts need the tokenizer",
    "enable_lora": "engines load checkpoints merged, adapters too",
    "show_hidden_metrics_for_version": "nobody reads the metrics",
}
ENGINE_OPEN = frozenset(
    {
        "dtype",
        "enforce_eager",
        "kv_cache_memory_bytes",
        "block_size",
        "enable_prefix_caching",
        "enable_chunked_prefill",
        "reasoning_config",
    }
)
ENGINE_SPEED = frozenset(
    {
        "async_scheduling",
        "compilation_config",
        "cpu_offload_gb",
        "cudagraph_capture_sizes",
        "disable_custom_all_reduce",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "kv_cache_memory_bytes",
        "block_size",
        "load_format",
        "max_num_batched_tokens",
        "max_num_scheduled_tokens",
        "max_parallel_loading_workers",
        "num_gpu_blocks_override",
        "optimization_level",
        "performance_mode",
        "pipeline_parallel_size",
        "safetensors_load_strategy",
        "scheduling_policy",
        "stream_interval",
        "use_tqdm_on_load",
    }
)
_STEPS = "the trainer takes as many steps as training.epochs gives"
_FUSED = (
    "leave fused_linear_cross_entropy out, its loss gives no log-probability of a single example; "
    "Liger's other kernels are used without it"
)
_LAYOUT = "the batch's layout comes from resources"
_EXACT = "it would break the exact weighting of examples"
_LOSS = "the weighted loss is computed by us, without TRL's; it would change nothing"
_TOKENS = "rows are tokenised before TRL sees them: the sampled ids are the labels"
_EVALUATION = "checkpoints are evaluated by the run; set benchmarks"
_LOGGING = "every step is logged as it is"
_CHECKPOINTS = "set resources.checkpoint_every_steps; the run keeps and resumes checkpoints itself"
_ORDER = "the order of examples comes from the run's seed"
_RANKS = "ranks are started by the run; set resources.processes and resources.zero_stage"
_UPLOADS = "checkpoints go to the run's store"
_REFERENCE = "set training.reference"
TRAINER_OPEN = frozenset({"optim", "dataloader_pin_memory"})
TRAINER_OURS = {
    "output_dir": "the run knows where its checkpoints go",
    "num_train_epochs": "set training.epochs",
    "max_steps": _STEPS,
    "per_device_train_batch_size": _LAYOUT,
    "gradient_accumulation_steps": _LAYOUT,
    "auto_find_batch_size": _LAYOUT,
    "learning_rate": "set training.learning_rate",
    "lr_scheduler_type": "set training.schedule",
    "warmup_steps": "set training.warmup_ratio",
    "weight_decay": "set training.weight_decay",
    "max_grad_norm": "set training.max_grad_norm",
    "max_length": "set training.max_length",
    "bf16": "set training.precision",
    "fp16": "set training.precision",
    "seed": "set seed",
    "data_seed": "set seed",
    "use_cpu": "set resources.device",
    "gradient_checkpointing": "set resources.gradient_checkpointing",
    "deepspeed": "set resources.zero_stage and resources.offload",
    "fsdp": "ranks are sharded by DeepSpeed; set resources.zero_stage",
    "fsdp_config": "ranks are sharded by DeepSpeed; set resources.zero_stage",
    "accelerator_config": _RANKS,
    "parallelism_config": _RANKS,
    "local_rank": _RANKS,
    "ddp_find_unused_parameters": "every parameter that is trained has a gradient in every step",
    "report_to": "set resources.trackers",
    "save_strategy": "set resources.checkpoint_every_steps",
    "save_steps": "set resources.checkpoint_every_steps",
    "save_total_limit": "two training checkpoints are kept, so that one may be damaged",
    "beta": "set training.beta",
    "loss_type": "set training.variant",
    "desirable_weight": "set training.desirable_weight",
    "undesirable_weight": "set training.undesirable_weight",
    "precompute_ref_log_probs": "the reference's log-probabilities are always computed beforehand",
    **dict.fromkeys(
        (
            "resume_from_checkpoint",
            "ignore_data_skip",
            "restore_callback_states_from_checkpoint",
            "save_only_model",
            "save_on_each_node",
            "load_best_model_at_end",
            "enable_jit_checkpoint",
        ),
        _CHECKPOINTS,
    ),
    **dict.fromkeys(
        ("logging_steps", "logging_strategy", "logging_first_step", "logging_nan_inf_filter"),
        _LOGGING,
    ),
    **dict.fromkeys(
        (
            "do_train",
            "do_eval",
            "do_predict",
            "eval_strategy",
            "eval_steps",
            "eval_delay",
            "eval_on_start",
            "eval_packing",
            "eval_accumulation_steps",
            "eval_do_concat_batches",
            "eval_use_gather_object",
            "batch_eval_metrics",
            "per_device_eval_batch_size",
            "prediction_loss_only",
            "bf16_full_eval",
            "fp16_full_eval",
            "metric_for_best_model",
            "greater_is_better",
            "include_for_metrics",
        ),
        _EVALUATION,
    ),
    **dict.fromkeys(
        (
            "chat_template_path",
            "dataset_kwargs",
            "dataset_text_field",
            "eos_token",
            "pad_token",
            "truncation_mode",
            "label_names",
            "length_column_name",
        ),
        _TOKENS,
    ),
    **dict.fromkeys(
        (
            "loss_weights",
            "ld_alpha",
            "f_divergence_type",
            "f_alpha_divergence_coef",
            "discopop_tau",
        ),
        _LOSS,
    ),
    **dict.fromkeys(
        ("sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps"), _REFERENCE
    ),
    **dict.fromkeys(
        (
            "push_to_hub",
            "hub_model_id",
            "hub_strategy",
            "hub_token",
            "hub_private_repo",
            "hub_always_push",
            "hub_revision",
        ),
        _UPLOADS,
    ),
    "disable_tqdm": "progress goes to the flow",
    "packing": f"{_EXACT}: TRL's packing drops the weights; set resources.packing",
    "padding_free": f"{_EXACT}: TRL's batches without padding drop the weights; "
    "set resources.packing",
    "use_weighting": f"{_EXACT}: it is another weighting (WPO)",
    "average_tokens_across_devices": f"{_EXACT}: counts are taken over the global batch",
    "label_smoothing_factor": f"{_EXACT}: the loss would not be the examples' own",
    "label_smoothing": f"{_EXACT}: the loss would not be the examples' own",
    "assistant_only_loss": f"{_EXACT}: labels are the sampled ids",
    "completion_only_loss": f"{_EXACT}: labels are the sampled ids",
    "train_sampling_strategy": "set resources.group_by_length",
    "dataloader_drop_last": f"{_EXACT}: the last batch is completed by rows that count nothing",
    "remove_unused_columns": f"{_EXACT}: the weights are a column",
    "model_init_kwargs": "the model is loaded before TRL sees it",
    "trust_remote_code": "set model.trust_remote_code",
    "use_cache": "the model's config.json stays as it came",
    "router_aux_loss_coef": "set training.router_loss",
    "shuffle_dataset": _ORDER,
    "dataloader_in_order": _ORDER,
    "packing_strategy": f"{_EXACT}: TRL's packing drops the weights",
}
TRAINER_SPEED = frozenset(
    {
        "activation_offloading",
        "dataloader_num_workers",
        "dataloader_persistent_workers",
        "dataloader_pin_memory",
        "dataloader_prefetch_factor",
        "dataset_num_proc",
        "ddp_bucket_cap_mb",
        "ddp_timeout",
        "log_level",
        "pad_to_multiple_of",
        "project",
        "run_name",
        "skip_memory_metrics",
        "torch_empty_cache_steps",
    }
)
_TRAINING_ARGUMENTS = ("transformers", "training_args.py", "TrainingArguments")
_TRL_CLASSES = {"sft": "SFTConfig", "dpo": "DPOConfig", "kto": "KTOConfig"}


def engine_problem(options: Mapping[str, Any]) -> str | None:
    """Why resources.engine_options can't be passed on, in one line; None where they can."""
    names = engine_names() if options else frozenset[str]()
    return _problem("resources.engine_options", options, ENGINE_OURS, names, "vLLM")


def trainer_problem(options: Mapping[str, Any], loss: str) -> str | None:
    """Why training.trainer_options can't be passed on, in one line; None where they can."""
    names = trainer_names(loss) if options else frozenset[str]()
    library = f"TRL's {_TRL_CLASSES[loss]}"
    if (options.get("liger_kernel_config") or {}).get("fused_linear_cross_entropy"):
        return f"training.trainer_options.liger_kernel_config: {_FUSED}"
    return _problem("training.trainer_options", options, TRAINER_OURS, names, library)


def engine_identity(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of resources.engine_options that may change samples."""
    return {name: value for name, value in options.items() if name not in ENGINE_SPEED}


def trainer_identity(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of training.trainer_options that may change weights."""
    return {name: value for name, value in options.items() if name not in TRAINER_SPEED}


def engine_names() -> frozenset[str]:
    """The settings of vLLM's engine; none where vLLM is not installed for the engines."""
    return frozenset(_fields("vllm", "engine/arg_utils.py", "EngineArgs"))


def trainer_names(loss: str) -> frozenset[str]:
    """The settings of TRL's configuration of a loss; none where TRL is not installed for them."""
    own = set(_fields("trl", f"trainer/{loss}_config.py", _TRL_CLASSES[loss]))
    if not own:
        return frozenset()
    base = _fields("trl", "trainer/base_config.py", "_BaseConfig")
    return frozenset({*own, *base, *_fields(*_TRAINING_ARGUMENTS)})


def _problem(
    setting: str,
    options: Mapping[str, Any],
    ours: Mapping[str, str],
    known: frozenset[str],
    library: str,
) -> str | None:
    for name in options:
        if name in ours:
            return f"{setting}.{name} is not passed on: {ours[name]}"
        if known and name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            advice = f"did you mean {close[0]}?" if close else "see the library's own manual"
            return f"{setting}.{name} is no setting of {library}; {advice}"
    return None


def _fields(package: str, file: str, name: str) -> tuple[str, ...]:
    """The annotated fields of a class in the engines' environment, read from its source."""
    folder = installed_for_engines().folders.get(package)
    return () if folder is None else _fields_in(Path(folder) / file, name)


@functools.cache
def _fields_in(file: Path, name: str) -> tuple[str, ...]:
    if not file.is_file():
        return ()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            fields = (each.target for each in node.body if isinstance(each, ast.AnnAssign))
            return tuple(target.id for target in fields if isinstance(target, ast.Name))
    return ()
