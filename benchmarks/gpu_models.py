"""The random model and rows that `benchmarks.gpu` trains on: real sizes, no downloads."""

import random
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from east_core.inputs.questions import builtin_path
from east_core.protocols import example_type
from east_core.records import LabelledExample, PreferencePair, TokenIds, TrainingExample
from east_core.tables import write_table
from east_core.testing.small_jobs import RECIPES, WEIGHTS, mean_one

# As the makers' config.json has them; "1b" is Llama-3.2-1B's.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    },
    "135m": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
    },
    "1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
    "3b": {
        "vocab_size": 128_256,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 28,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
}
PROMPT, COMPLETION = (55.0, 0.35), (150.0, 0.45)  # log-normal: median in tokens, sigma
TEMPLATE = 40  # tokens of a chat template and a system prompt around a question
LONGEST = 1024


def main() -> None:
    """Write the model of a shape and the rows of losses: FOLDER SHAPE DEVICE COUNT LOSS ..."""
    folder, shape, device, count, *losses = sys.argv[1:]
    write_model(Path(folder) / "model", SHAPES[shape], device)
    for loss in losses:
        write_rows(Path(folder) / f"{loss}.parquet", loss, SHAPES[shape], int(count))


def write_model(folder: Path, shape: dict[str, Any], device: str) -> None:
    """A random Llama of this shape in bf16, with the demo's tokenizer; no id is decoded."""
    config = LlamaConfig(  # type: ignore[call-arg]
        **shape, tie_word_embeddings=True, max_position_embeddings=131_072, rope_theta=500_000.0
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    model.to(torch.bfloat16).save_pretrained(folder)
    for file in builtin_path("seed_model").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(file, folder / file.name)


def write_rows(path: Path, loss: str, shape: dict[str, Any], count: int) -> None:
    """`count` weighted examples of random ids."""
    draw = random.Random(7)
    vocabulary = shape["vocab_size"]

    def ids(median: float, sigma: float, more: int = 0) -> TokenIds:
        length = more + round(median * draw.lognormvariate(0, sigma))
        return TokenIds(draw.randrange(16, vocabulary) for _ in range(min(length, LONGEST)))

    weights = mean_one([draw.choice(WEIGHTS) for _ in range(count)])
    rows = []
    for index, weight in enumerate(weights):
        head = (str(index), "a question")
        prompt, one, other = ids(*PROMPT, TEMPLATE), ids(*COMPLETION), ids(*COMPLETION)
        rows.append(_example(loss, head, weight, (prompt, one, other)))
    write_table(path, example_type(RECIPES[loss]), rows)


def _example(loss: str, head: tuple[str, str], weight: float, ids: tuple[Any, Any, Any]) -> Any:
    prompt, one, other = ids
    match loss:
        case "sft":
            return TrainingExample(*head, "", weight, prompt, one)
        case "dpo":
            return PreferencePair(*head, "", " ", weight, prompt, one, other)
        case _:
            return LabelledExample(*head, "", int(head[0]) % 3 > 0, weight, prompt, one)


if __name__ == "__main__":
    main()
