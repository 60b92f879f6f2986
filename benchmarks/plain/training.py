"""Trains with TRL alone, as its manual has it: `SFTTrainer` on prompts and completions.

    python -m benchmarks.plain.training MODEL QUESTIONS.jsonl COUNT FOLDER

Prints as JSON lines the seconds of building the trainer, training and saving, once for each line
of stdin. One process with all cores' threads, without padding's cost hidden or weights; gradient
checkpointing, which TRL turns on by default, is off.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
ON_CPU = not torch.cuda.is_available()


def chat(question: str) -> list[dict[str, str]]:
    """A question as a conversation."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def train(model: str, rows: list[dict[str, Any]], out: str) -> None:
    """Fine-tune on prompts and completions with the demo's settings."""
    arguments = SFTConfig(
        output_dir=out,
        num_train_epochs=3,
        learning_rate=2e-4,
        warmup_steps=0.1,
        per_device_train_batch_size=16,
        gradient_checkpointing=False,
        bf16=not ON_CPU,
        use_cpu=ON_CPU,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(model, arguments, train_dataset=Dataset.from_list(rows))
    trainer.train()
    trainer.save_model(out)


def main() -> None:
    """Serve."""
    model, path, count, folder = sys.argv[1:]
    lines = Path(path).read_text().splitlines()[: int(count)]
    rows = [
        {
            "prompt": chat(row["question"]),
            "completion": [{"role": "assistant", "content": row["solution"]}],
        }
        for row in map(json.loads, lines)
    ]
    for _ in sys.stdin:
        begun = time.perf_counter()
        train(model, rows, folder)
        print(json.dumps({"seconds": time.perf_counter() - begun}), flush=True)


if __name__ == "__main__":
    main()
