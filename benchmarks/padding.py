"""What grouping by length saves: tokens computed with it over tokens computed without.

    python -m benchmarks.padding --json rows.json

Counts, no training: the rows go through the trainer's own order (GlobalBatchSampler), and every
micro-batch costs its longest row times its rows. The built-in task has the demo's tokens; GSM8K and
MATH ($EAST_SHARED_DATA) are counted in characters over four, which is about a tokenizer's token.
Between ranks that wait for one another nothing is saved unless each has several micro-batches a
step: the last column counts the longest rank of every micro-step, which is what time follows.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformers import AutoTokenizer

from benchmarks.clustering import DATA
from benchmarks.pairs import single_row, write_result
from east_core.config import SYSTEM_PROMPT
from east_core.engines.trl.trainers import GlobalBatchSampler
from east_core.inputs.chat import completion_token_ids, prompt_token_ids
from east_core.inputs.questions import builtin_path

LAYOUTS = ((16, 8, 2), (16, 2, 2), (16, 2, 8), (64, 8, 1))  # global batch, micro-batch, ranks
GOAL = 1.0
EXAMPLES, FILLER = 2000, 2


def builtin_lengths() -> list[int]:
    """Tokens of the built-in training questions with their solutions, as the demo trains on."""
    tokenizer = AutoTokenizer.from_pretrained(builtin_path("seed_model"))
    with builtin_path("train.jsonl").open() as file:
        rows = [json.loads(line) for line in itertools.islice(file, 400)]
    return [
        len(prompt_token_ids(tokenizer, system_prompt=SYSTEM_PROMPT, question=row["question"]))
        + len(completion_token_ids(tokenizer, row["solution"]))
        for row in rows
    ]


def text_lengths(name: str) -> list[int]:
    """About the tokens of a data set's questions with their solutions."""
    with (DATA / f"{name}.jsonl").open() as file:
        rows = [json.loads(line) for line in itertools.islice(file, EXAMPLES)]
    return [sum(len(text) for text in row.values() if isinstance(text, str)) // 4 for row in rows]


def costs(
    lengths: Sequence[int], size: int, rows: int, ranks: int, is_grouped: bool
) -> tuple[int, int]:
    """Tokens computed in an epoch by all ranks, and by the slowest rank of each micro-step."""
    all_lengths = [*lengths, FILLER]
    order = GlobalBatchSampler(
        len(lengths), size, 1.0, seed=0, lengths=all_lengths if is_grouped else None
    )
    longest = [max(all_lengths[row] for row in batch) * rows for batch in _parts(order, rows)]
    return sum(longest), sum(max(step) for step in _parts(longest, ranks))


def _parts(items: "Sequence[int] | GlobalBatchSampler", size: int) -> Iterator[list[int]]:
    stream = iter(items)
    while part := list(itertools.islice(stream, size)):
        yield part


def main() -> None:
    """Count every data set in every layout, and write rows and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="write rows and table here")
    options = parser.parse_args()
    sets = {"built-in task": builtin_lengths()} | {
        name: text_lengths(name)
        for name in ("gsm8k_train", "math_train_4subjects")
        if (DATA / f"{name}.jsonl").is_file()
    }
    lines = [
        "### Padding: grouped by length over not grouped",
        "",
        "| examples | global batch | micro-batch x ranks | tokens computed | on the slowest rank |",
        "|---|---|---|---|---|",
    ]
    rows = []
    for name, lengths in sets.items():
        for size, micro, ranks in LAYOUTS:
            grouped, plain = (costs(lengths, size, micro, ranks, g) for g in (True, False))
            tokens, slowest = grouped[0] / plain[0], grouped[1] / plain[1]
            lines.append(f"| {name} | {size} | {micro} x {ranks} | {tokens:.3f} | {slowest:.3f} |")
        ratio = slowest  # of the layout with accumulation on one rank
        rows.append(single_row(f"padding: tokens with grouping, {name}", ratio, GOAL))
    page = "\n".join([*lines, ""])
    print(page)
    if options.json:
        write_result(options.json, rows, page)


if __name__ == "__main__":
    main()
