"""The command line of lm-evaluation-harness (0.4.9 and newer: both spellings of it)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from east_core.config import HarnessTask
from east_core.engines.devices import device_of
from east_core.protocols import HarnessJob

Backend = Literal["dummy", "hf", "vllm"]
CPU_BATCH = 8
# A folder of the task's name where the harness starts would be taken for tasks, and a module there
# for a library: so it starts in a folder of ours, and imports nothing from it.
_START = (
    "import os, runpy, sys; os.chdir(sys.argv.pop(1)); sys.path[:] = filter(None, sys.path); "
    "runpy.run_module('lm_eval', run_name='__main__', alter_sys=True)"
)
# Whoever wants these has not said so here: a task's code and data sets with code of their own.
ENVIRONMENT = {
    "HF_ALLOW_CODE_EVAL": "0",
    "HF_DATASETS_TRUST_REMOTE_CODE": "0",
    "TQDM_MININTERVAL": "30",  # of its progress bars, each state is a line of log
}


def survey_command(python: str, task: HarnessTask, folder: Path) -> list[str]:
    """Ask the harness's own stand-in for a model, without examples; results go to `folder`."""
    return [*_started(python, task, folder), "--model=dummy", "--num_fewshot=0"]


def score_command(python: str, job: HarnessJob, backend: Backend, folder: Path) -> list[str]:
    """Ask the model in `folder`/model; results go to `folder`."""
    task, device = job.task, device_of(job.resources)
    batch = CPU_BATCH if task.batch_size == "auto" and device == "cpu" else task.batch_size
    given = {
        "--num_fewshot": task.num_fewshot,
        "--system_instruction": task.system_prompt,
        "--seed": task.seed,
        "--batch_size": batch,
        "--device": device if backend == "hf" else None,
        "--model_args": json.dumps(_model_arguments(job, backend, folder)),
    }
    chat = ["--apply_chat_template"] if task.apply_chat_template else []
    return [*_started(python, task, folder), f"--model={backend}", *_options(given), *chat]


def _started(python: str, task: HarnessTask, folder: Path) -> list[str]:
    """What both have in common. Relative paths in a user's tasks are relative to their folder."""
    home = task.tasks_folder or folder
    given = {
        "--tasks": task.task,
        "--include_path": task.tasks_folder,
        "--limit": task.limit,
        "--gen_kwargs": None if task.max_tokens is None else f"max_gen_toks={task.max_tokens}",
        "--output_path": folder / "results",
    }
    return [python, "-c", _START, str(home), *_options(given), "--log_samples"]


def _options(given: Mapping[str, object]) -> list[str]:
    """A text may begin with a dash, so each value is written with its option."""
    return [f"{name}={value}" for name, value in given.items() if value is not None]


def _model_arguments(job: HarnessJob, backend: Backend, folder: Path) -> dict[str, Any]:
    resources, is_cpu = job.resources, device_of(job.resources) == "cpu"
    arguments: dict[str, Any] = {
        "pretrained": str(folder / "model"),
        "dtype": "float32" if is_cpu else "auto",
    }
    if job.max_context is not None:
        arguments["max_length"] = job.max_context
    if job.prompt.options:
        arguments["chat_template_args"] = dict(job.prompt.options)
    if backend == "vllm" and not is_cpu:
        arguments["tensor_parallel_size"] = resources.tensor_parallel
        arguments["gpu_memory_utilization"] = resources.engine_memory
    return arguments
