r"""How fast are a million responses clustered and weighed, and is it what math-verify says?

    python -m benchmarks.clustering                      7,500 questions x 128, as in the issue
    python -m benchmarks.clustering --questions 500      a quick look
    python -m benchmarks.clustering --json rows.json     the rows for programs

The questions and answers are real (GSM8K and MATH, from $EAST_SHARED_DATA or ../shared/data): a
response is the beginning of a real solution with a final answer in a box, which is the gold answer
in one of its usual spellings, a slip (a digit, a sign, a factor) or the answer to another question.

Ours is the whole stage, `weigh_samples`: Parquet in, Parquet out, two workers, in a process of its
own. It is compared with the loop that people write: math-verify parses every response and compares
it with one response of each cluster found so far. (Comparing all pairs of responses, the plainer
loop, is slower still.) The loop is timed on a sample of the questions, one process, no time-outs.

Speed is compared in CPU seconds, all processes of ours together, so that a busy machine does not
spoil the ratio; two cores give ours up to twice of it again. The partitions are compared on the
same sample, question by question, over the responses that have a box: for the others math-verify
takes whatever number it finds in the text, and we say that there is no answer.
"""

import argparse
import itertools
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.pairs import ROOT, single_row, write_result
from benchmarks.pairs import BenchmarkRow as Ratio

DATA = Path(os.environ.get("EAST_SHARED_DATA", ROOT.parent / "shared" / "data"))
SHARD = 250
GOAL_RATIO, GOAL_SECONDS = 20.0, 180.0
BenchmarkRow = dict[str, Any]


# ---------------------------------------------------------------- the responses


def load_solutions() -> list[tuple[str, str, str]]:
    """(data set, solution, gold answer) of GSM8K train and MATH test, alternating."""
    from east_core.answers.extraction import gold_answer

    kinds: tuple[tuple[str, Literal["gsm8k", "boxed"]], ...]
    kinds = (("gsm8k_train", "gsm8k"), ("math_test", "boxed"))
    columns = []
    for name, form in kinds:
        with (DATA / f"{name}.jsonl").open() as file:
            solutions = [json.loads(line)["answer"] for line in file]
        golds = [(name, text, gold_answer(text, form)) for text in solutions]
        columns.append([(name, text, gold) for name, text, gold in golds if gold])
    return [item for pair in zip(*columns, strict=False) for item in pair]


def spellings(gold: str) -> list[str]:
    """Ways in which models write the same answer."""
    forms = [gold, gold, gold, gold.replace(r"\frac", r"\dfrac"), f" {gold} "]
    if re.fullmatch(r"-?\d+", gold):
        forms += [f"{gold}.0", rf"{gold}\text{{ units}}", rf"\${gold}", f"{int(gold):,}"]
        forms.append(f"x = {gold}")
    fraction = re.fullmatch(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", gold)
    if fraction:
        sign, top, bottom = fraction.groups()
        forms += [f"{sign}{top}/{bottom}", rf"{sign}\frac{{{2 * int(top)}}}{{{2 * int(bottom)}}}"]
    if "+" in gold and "," not in gold:
        forms.append(gold.replace("+", " + "))
    return forms


def wrong_answers(gold: str, others: Sequence[str], draw: random.Random) -> list[str]:
    """Wrong answers: a changed digit, sign or factor, and answers to other questions."""
    wrong = draw.sample(others, 4)
    numbers = list(re.finditer(r"\d+", gold))
    for _ in range(6 if numbers else 0):
        number = draw.choice(numbers)
        value = int(number[0]) if len(number[0]) < 12 else 7
        changed = draw.choice((value + 1, value + 2, abs(value - 1), 2 * value, 10 * value))
        wrong.append(gold[: number.start()] + str(changed) + gold[number.end() :])
    if gold[0] not in "([":
        wrong.append(gold[1:] if gold.startswith("-") else f"-{gold}")
    return wrong


def responses(gold: str, solution: str, others: Sequence[str], n: int, seed: int) -> Iterator[str]:
    """n responses; accuracy, the spread of wrong answers and the silent share vary by question."""
    draw = random.Random(seed)
    right, wrong = spellings(gold), wrong_answers(gold, others, draw)
    accuracy, silent = draw.betavariate(1.2, 1.0), draw.choice((0.0, 0.02, 0.1))
    popularity = [1 / (rank + 1) for rank in range(len(wrong))]
    for _ in range(n):
        work = solution[: draw.randint(100, 600)].replace(r"\boxed", "").replace("####", "")
        if draw.random() < silent:
            yield work
            continue
        is_right = draw.random() < accuracy
        answer = draw.choice(right) if is_right else draw.choices(wrong, popularity)[0]
        yield rf"{work}... Therefore the final answer is $\boxed{{{answer}}}$."


def sampled_questions(count: int, n: int) -> Iterator[Any]:
    """The benchmark's questions with their completions, the same in every run."""
    from east_core.records import Completion, Question, SampledQuestion

    solutions = load_solutions()
    others = {
        name: [gold for kind, _, gold in solutions if kind == name]
        for name in {kind for kind, _, _ in solutions}
    }
    for index in range(count):
        name, solution, gold = solutions[index % len(solutions)]
        texts = responses(gold, solution, others[name], n, index)
        completions = tuple(Completion(text, "stop", 200, -0.3) for text in texts)
        yield SampledQuestion(Question(f"q{index}", "", gold), completions)


# ---------------------------------------------------------------- ours


def write_shards(folder: Path, count: int, n: int) -> list[Path]:
    """The benchmark's questions in shards, as sampling leaves them."""
    from east_core.records import SampledQuestion
    from east_core.tables import write_table

    questions, paths = sampled_questions(count, n), []
    for number in range(-(-count // SHARD)):
        rows = itertools.islice(questions, SHARD)
        paths.append(folder / f"{number:05d}.parquet")
        write_table(paths[-1], SampledQuestion, rows)
    return paths


def weigh_locally(folder: Path) -> BenchmarkRow:
    """Weigh the shards of `folder` in this process and tell time and peak memory."""
    from east_core.answers.grading import Grader
    from east_core.weighting.strategies import EntropyWeighting
    from east_core.weighting.weighing import WeighingRules, weigh_samples

    shards = sorted(folder.glob("*.parquet"))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as out, Grader(processes=2) as grader:
        facts = weigh_samples(shards, Path(out), WeighingRules(EntropyWeighting()), grader)
    usage = [resource.getrusage(who) for who in _WHO]
    peaks = [use.ru_maxrss / 1024 for use in usage]
    return {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": sum(use.ru_utime + use.ru_stime for use in usage),
        "responses": facts.completions,
        "kept": facts.kept,
        "undecided": facts.undecided,
        "entropy_bits": facts.mean_entropy_bits,
        "mib": peaks[0],
        "worker_mib": peaks[1],
    }


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def weigh_in_process(count: int, n: int) -> BenchmarkRow:
    """Write `count` questions and weigh them in a fresh process, whose memory is theirs alone."""
    with tempfile.TemporaryDirectory() as folder:
        write_shards(Path(folder), count, n)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.clustering", "--weigh", folder],
            check=True,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    measured: BenchmarkRow = json.loads(done.stdout)
    return measured


# ---------------------------------------------------------------- the loop that people write


def math_verify_clusters(texts: Sequence[str]) -> list[int]:
    """A cluster number for each response; -1 where math-verify finds no answer."""
    from math_verify import parse, verify

    representatives: list[Any] = []
    labels = []
    for text in texts:
        answer = parse(text, parsing_timeout=None)
        label = next(
            (
                k
                for k, other in enumerate(representatives)
                if answer and _verified(verify, other, answer)
            ),
            len(representatives) if answer else -1,
        )
        if label == len(representatives):
            representatives.append(answer)
        labels.append(label)
    return labels


def _verified(verify: Any, a: Any, b: Any) -> bool:
    return bool(verify(a, b, timeout_seconds=None) or verify(b, a, timeout_seconds=None))


def time_the_loop(questions: Sequence[Any]) -> tuple[list[float], list[list[int]]]:
    """CPU seconds and labels for each question, after a warm-up."""
    texts = [[c.text for c in question.completions] for question in questions]
    math_verify_clusters(texts[0][:16])
    seconds, labels = [], []
    for number, responses_ in enumerate(texts, start=1):
        begun = time.process_time()
        labels.append(math_verify_clusters(responses_))
        seconds.append(time.process_time() - begun)
        print(f"math-verify loop: {number} of {len(texts)} questions", file=sys.stderr)
    return seconds, labels


# ---------------------------------------------------------------- comparison


def partition(labels: Sequence[object]) -> set[frozenset[int]]:
    """The positions that share a label."""
    groups: dict[object, set[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(label, set()).add(position)
    return {frozenset(group) for group in groups.values()}


def differing_questions(
    questions: Sequence[Any], labels: Sequence[Sequence[int]]
) -> list[BenchmarkRow]:
    """The questions whose partitions differ, with the answers that are parted differently."""
    from east_core.answers.clustering import cluster_all
    from east_core.answers.extraction import extract_answer
    from east_core.answers.grading import Grader

    with Grader(processes=2) as grader:
        ours = list(cluster_all(questions, grader, "boxed"))
    different = []
    for question, clusters, theirs in zip(questions, ours, labels, strict=True):
        found = {m: c.answer for c in clusters.clusters for m in c.members if c.answer is not None}
        boxed = sorted(found)
        mine, loop = partition([found[m] for m in boxed]), partition([theirs[m] for m in boxed])
        if mine != loop:
            texts = [extract_answer(question.completions[m].text, "boxed") for m in boxed]
            parted = [sorted({str(texts[m]) for m in group}) for group in mine ^ loop]
            different.append({"gold": question.question.answer, "parted": parted})
    return different


def bootstrap_mean(values: Sequence[float], repeats: int = 2000) -> tuple[float, float]:
    """A 95% interval of the mean by resampling."""
    draw = random.Random(0)
    means = sorted(statistics.fmean(draw.choices(values, k=len(values))) for _ in range(repeats))
    return means[int(0.025 * repeats)], means[int(0.975 * repeats)]


def measure(questions: int, n: int, sample: int) -> list[Ratio]:
    """All rows: speed against the loop, total time, agreement, and memory at a quarter and all."""
    quarter, whole = weigh_in_process(questions // 4, n), weigh_in_process(questions, n)
    chosen = (
        list(sampled_questions(questions, n))
        if sample >= questions
        else _sample(questions, n, sample)
    )
    seconds, labels = time_the_loop(chosen)
    different = differing_questions(chosen, labels)
    for row in different:
        print("different partition:", json.dumps(row), file=sys.stderr)
    ours = whole["cpu_seconds"] / questions
    low, high = (bound / ours for bound in bootstrap_mean(seconds))
    print(json.dumps({"quarter": quarter, "whole": whole}, indent=1), file=sys.stderr)
    agreeing = 1 - len(different) / len(chosen)
    return [
        Ratio(
            "clustering: speed over the math-verify loop",
            statistics.fmean(seconds) / ours,
            low,
            high,
            GOAL_RATIO,
            len(chosen),
        ),
        single_row(
            "clustering: seconds for all, share of 180", whole["seconds"] / GOAL_SECONDS, 1.0
        ),
        single_row(
            "clustering: questions with math-verify's partition", agreeing, 1.0, len(chosen)
        ),
        single_row("clustering: memory for all over a quarter", whole["mib"] / quarter["mib"], 1.2),
    ]


def _sample(questions: int, n: int, sample: int) -> list[Any]:
    """Questions at even distances, so that both data sets are there."""
    step = max(1, questions // sample) | 1
    wanted = set(range(0, questions, step))
    return [row for index, row in enumerate(sampled_questions(questions, n)) if index in wanted][
        :sample
    ]


def main() -> None:
    """Measure and print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=7500)
    parser.add_argument("--responses", type=int, default=128, help="responses a question")
    parser.add_argument("--sample", type=int, default=60, help="questions for the math-verify loop")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--weigh", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.weigh:
        print(json.dumps(weigh_locally(options.weigh)))
        return
    rows = measure(options.questions, options.responses, options.sample)
    for row in rows:
        print(
            f"{row.name:52} {row.ratio:8.3f} [{row.low:.3f}, {row.high:.3f}]  goal {row.goal:g}  "
            f"n={row.runs}"
        )
    if options.json:
        write_result(options.json, rows)


if __name__ == "__main__":
    main()
