"""Three rounds of self-training in one process: vLLM samples, math-verify checks, TRL trains.

    python -m benchmarks.plain.loop MODEL TRAIN.jsonl TEST.jsonl FOLDER

The script that one would write from the manuals, with the demo's questions and settings, vanilla
weights and one rank: no artifact but the last model, nothing that a killed run could go on from.
Prints its seconds and accuracies as one JSON line. An engine is made anew for each round, since
vLLM's reload_weights leaves a tied output layer as it was on CPUs.
"""

import time

BEGAN = time.perf_counter()
import itertools  # noqa: E402 - the clock runs before what takes long to import
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
import torch  # noqa: E402
from math_verify import parse, verify  # noqa: E402
from vllm import LLM, SamplingParams  # noqa: E402

from benchmarks.plain.training import chat, train  # noqa: E402

ROUNDS, QUESTIONS, SAMPLES, MAX_TOKENS = 3, 400, 8, 96
ON_CPU = not torch.cuda.is_available()
SHORT = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**28}


def load(path: str) -> list[dict[str, str]]:
    """The rows of a file of questions."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def correct(llm: LLM, rows: list[dict[str, str]], **options: Any) -> list[list[str]]:
    """The completions of each question that math-verify takes for correct."""
    asked: Any = [chat(row["question"]) for row in rows]
    params = SamplingParams(max_tokens=MAX_TOKENS, **options)
    outputs = llm.chat(asked, params, use_tqdm=False)
    golds = [parse(f"\\boxed{{{row['answer']}}}") for row in rows]
    return [
        [sample.text for sample in output.outputs if verify(gold, parse(sample.text))]
        for gold, output in zip(golds, outputs, strict=True)
    ]


def examples(
    rows: list[dict[str, str]], solved: list[list[str]]
) -> list[dict[str, list[dict[str, str]]]]:
    """One correct completion of each question that has any, as TRL takes them."""
    return [
        {
            "prompt": chat(row["question"]),
            "completion": [{"role": "assistant", "content": random.choice(texts)}],
        }
        for row, texts in zip(rows, solved, strict=True)
        if texts
    ]


def main() -> None:
    """Run the rounds."""
    model, train_file, test_file, folder = sys.argv[1:]
    questions, tests = load(train_file)[:QUESTIONS], load(test_file)
    engine: Any = {"max_model_len": 2048, **(SHORT if ON_CPU else {})}
    marks, accuracy = [time.perf_counter()], []
    for number in range(ROUNDS + 1):
        llm = LLM(model, **engine)
        accuracy.append(sum(map(bool, correct(llm, tests, temperature=0.0))) / len(tests))
        marks.append(time.perf_counter())
        if number < ROUNDS:
            solved = correct(llm, questions, n=SAMPLES, temperature=1.0)
            del llm
            train(model, examples(questions, solved), f"{folder}/round-{number + 1}")
            model = f"{folder}/round-{number + 1}"
    seconds = [after - before for before, after in itertools.pairwise(marks)]
    report = {"imports": marks[0] - BEGAN, "base": seconds[0], "rounds": seconds[1:]}
    print(json.dumps({**report, "accuracy": accuracy}), flush=True)


if __name__ == "__main__":
    main()
