"""Small training jobs on a tiny random model, for tests and benchmarks."""

import hashlib
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from east_core.config import DpoRecipe, KtoRecipe, Resources, SftRecipe
from east_core.inputs.questions import builtin_path
from east_core.protocols import ModelSource, TrainingJob, example_type
from east_core.records import LabelledExample, PreferencePair, TrainingExample
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.tables import write_table

WEIGHTS = (0.0, 0.1, 1.0, 10.0)  # zero and large ones: where sloppy weighting shows
# SGD without clipping: AdamW and clipping both hide a wrongly scaled gradient.
PLAIN = {
    "optimizer": "sgd",
    "max_grad_norm": 0.0,
    "global_batch_size": 8,
    "epochs": 2.0,
    "precision": "fp32",
}
RECIPES: dict[str, Any] = {
    "sft": SftRecipe(learning_rate=0.1, **PLAIN),
    "dpo": DpoRecipe(learning_rate=0.1, beta=0.5, **PLAIN),
    "kto": KtoRecipe(learning_rate=0.1, beta=0.5, **PLAIN),
}
# in the order and the padding of TRL's own trainers, for comparisons to the last bit
ONE_RANK = Resources(
    device="cpu",
    processes=1,
    micro_batch_size=4,
    zero_stage=0,
    group_by_length=False,
    packing="off",
)


def tiny_model(folder: Path, seed: int = 0, **sizes: Any) -> ModelSource:
    """A random Llama with the demo's tokenizer, saved to `folder`."""
    defaults = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.1,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**defaults, **sizes}))  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    for file in builtin_path("seed_model").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(file, folder / file.name)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    return ModelSource(folder, digest)


def mean_one(weights: Sequence[float]) -> list[float]:
    """The weights rescaled to mean 1."""
    scale = len(weights) / sum(weights)
    return [weight * scale for weight in weights]


def write_examples(path: Path, recipe: Any, count: int, weighted: bool = True) -> Path:
    """`count` examples on the demo's questions, of ragged lengths, as one Parquet file."""
    draw = random.Random(7)  # noqa: S311
    lines = builtin_path("train.jsonl").read_text().splitlines()[:count]
    weights = [draw.choice(WEIGHTS) if weighted else 1.0 for _ in lines]
    rows = [
        _example(recipe, json.loads(line), weight, index)
        for index, (line, weight) in enumerate(zip(lines, mean_one(weights), strict=True))
    ]
    write_table(path, example_type(recipe), rows)
    return path


def _example(recipe: Any, question: dict[str, str], weight: float, index: int) -> Any:
    correct = question["solution"]
    wrong = f"I guess \\boxed{{{index}}}"
    head = (question["id"], question["question"])
    match recipe:
        case SftRecipe():
            return TrainingExample(*head, correct, weight)
        case DpoRecipe():
            return PreferencePair(*head, correct, wrong, weight)
        case KtoRecipe():
            is_desirable = index % 3 > 0
            return LabelledExample(*head, correct if is_desirable else wrong, is_desirable, weight)


def small_job(
    work: Path,
    recipe: Any,
    *,
    model: ModelSource | None = None,
    examples: int = 24,
    weighted: bool = True,
    resources: Resources = ONE_RANK,
) -> TrainingJob:
    """A job that trains the tiny model for a few steps; its files live in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    source = model or tiny_model(work / "model")
    return TrainingJob(
        model=source,
        reference=None if isinstance(recipe, SftRecipe) else source,
        examples=[write_examples(work / EXAMPLES_FILE, recipe, examples, weighted)],
        recipe=recipe,
        system_prompt="Think.",
        seed=3,
        resources=resources,
        scratch=work / "scratch",
    )
