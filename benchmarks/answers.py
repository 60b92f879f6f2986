r"""Is any answer wrongly equal? Pairs and questions whose truth is known by construction.

    python -m benchmarks.answers                          52,000 pairs, 600 questions
    python -m benchmarks.answers --out docs/answers.md    and write the tables there

`east_core.testing.answer_kinds` draws answers as exact values: two spellings of one value are
equal, spellings of two values are not. Pairs are graded as an answer beside its gold answer; whole
questions hold 8 to 128 answers of several values, shuffled, since one wrong "equal" spreads there
over clusters. math-verify grades a sample of the same pairs alone, as its manual shows: parse the
gold answer and the answer, verify.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from east_core.answers.clustering import cluster_all
from east_core.answers.grading import Grader
from east_core.records import AnswerClusters, Completion, Question, SampledQuestion
from east_core.testing.answer_kinds import KINDS, AnswerKind

START, END = "<!-- benchmarks.answers -->", "<!-- end -->"
Pair = tuple[str, str, str, bool]  # kind, gold answer, answer, whether they are equal


def pairs(count: int, seed: int = 0) -> Iterator[Pair]:
    """So many pairs, the kinds in turn, half of them equal."""
    draw = random.Random(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        equal = (number // len(KINDS)) % 2 == 0
        spec = kind.draw(draw)
        other = spec if equal else changed(kind, spec, draw)
        yield kind.name, kind.spell(spec, draw, True), kind.spell(other, draw, False), equal


def changed(kind: AnswerKind, spec: object, draw: random.Random) -> object:
    """Another value: a change may lead back to the same one, and is then drawn again."""
    while True:
        other = kind.change(spec, draw)
        if kind.identity(other) != kind.identity(spec):
            return other


def question(number: int, seed: int = 1) -> tuple[SampledQuestion, list[object]]:
    """A question with 8 to 128 answers of 2 to 8 values, and each answer's true value."""
    draw = random.Random(f"{seed}:{number}")
    kind = KINDS[number % len(KINDS)]
    gold = kind.draw(draw)
    specs = [gold]
    for _ in range(draw.randint(1, 7)):
        specs.append(changed(kind, draw.choice(specs), draw))
    chosen = [draw.choice(specs) for _ in range(draw.choice([8, 16, 32, 64, 128]))]
    texts = tuple(Completion(rf"\boxed{{{kind.spell(s, draw, False)}}}", "stop") for s in chosen)
    asked = Question(f"{kind.name} {number}", "", kind.spell(gold, draw, True))
    return SampledQuestion(asked, texts), [kind.identity(spec) for spec in chosen]


def faults(clusters: AnswerClusters, truth: Sequence[object]) -> tuple[bool, bool]:
    """Whether some cluster holds two values, and whether some value lies in two clusters."""
    found = [{truth[member] for member in c.members} for c in clusters.clusters]
    values = [value for cluster in found for value in cluster]
    return any(len(cluster) > 1 for cluster in found), len(values) > len(set(values))


KindCounts = Counter[tuple[str, str]]


def grade_pairs(graded: Sequence[Pair], verdicts: Iterator[bool]) -> tuple[KindCounts, list[Pair]]:
    """Counts by kind of "pairs", "wrongly equal", "wrongly different", and the pairs in error."""
    counts: KindCounts = Counter()
    wrong = []
    for pair, verdict in zip(graded, verdicts, strict=True):
        kind, equal = pair[0], pair[3]
        counts[kind, "equal" if equal else "different"] += 1
        if verdict != equal:
            counts[kind, "wrongly equal" if verdict else "wrongly different"] += 1
            wrong.append(pair)
    return counts, wrong


def math_verify_says(graded: Sequence[Pair]) -> Iterator[bool]:
    """math-verify's own verdicts, as in its manual."""
    from math_verify import parse, verify

    for _, gold, answer, _ in graded:
        left = parse(rf"\boxed{{{gold}}}", parsing_timeout=None)
        right = parse(rf"\boxed{{{answer}}}", parsing_timeout=None)
        yield bool(verify(left, right, timeout_seconds=None))


def grade_questions(count: int, grader: Grader) -> Counter[str]:
    """How many questions have a cluster of two values, or a value in two clusters."""
    asked = [question(number) for number in range(count)]
    counts = Counter({"questions": count, "answers": sum(len(truth) for _, truth in asked)})
    graded = cluster_all((sampled for sampled, _ in asked), grader, "boxed")
    for clusters, (sampled, truth) in zip(graded, asked, strict=True):
        joined, parted = faults(clusters, truth)
        counts.update({"wrongly joined": joined, "wrongly parted": parted})
        if joined or parted:
            answers = [(c.answer, len(c.members)) for c in clusters.clusters]
            print("question", sampled.question.id, sampled.question.answer, joined, parted, answers)
    return counts


def table(ours: KindCounts, theirs: KindCounts, questions: Counter[str]) -> str:
    """The tables for docs/answers.md."""
    head = ("kind of answer", "pairs", "wrongly equal", "wrongly different")
    lines = [f"| {' | '.join((*head, 'math-verify: pairs', *head[2:]))} |", "|---" * 7 + "|"]
    names = [*(kind.name for kind in KINDS), "all"]
    lines += [f"| {name} | {_cells(ours, name)} | {_cells(theirs, name)} |" for name in names]
    told = (
        f"Whole questions: {questions['questions']:,} of 8 to 128 answers, "
        f"{questions['answers']:,} in all: {questions['wrongly joined']} with two values in a "
        f"cluster, {questions['wrongly parted']} with a value in two clusters."
    )
    lines += ["", told]
    return "\n".join(lines)


def _cells(counts: KindCounts, name: str) -> str:
    def total(what: str) -> int:
        return sum(
            n for (kind, told), n in counts.items() if told == what and name in (kind, "all")
        )

    equal, different = total("equal"), total("different")
    shares = [
        f"{total(what)} ({total(what) / max(of, 1):.2%})"
        for what, of in (("wrongly equal", different), ("wrongly different", equal))
    ]
    return " | ".join([f"{equal + different:,}", *shares])


def write_table(path: Path, text: str) -> None:
    """Put the tables between their marks in a page."""
    page = path.read_text()
    start, end = page.index(START) + len(START), page.index(END)
    path.write_text(f"{page[:start]}\n{text}\n{page[end:]}")


def main() -> None:
    """Grade, print the pairs in error and the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=52_000)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--theirs", type=int, default=5_200, help="pairs for math-verify alone")
    parser.add_argument("--out", type=Path, help="the page to write the tables to")
    options = parser.parse_args()
    graded = list(pairs(options.pairs))
    with Grader(processes=2) as grader:
        verdicts = grader.equal_many((answer, gold) for _, gold, answer, _ in graded)
        ours, wrong = grade_pairs(graded, verdicts)
        for kind, gold, answer, equal in wrong:
            print(f"wrongly {'different' if equal else 'equal'}: {kind}: {gold!r}, {answer!r}")
        questions = grade_questions(options.questions, grader)
    sample = graded[: options.theirs]
    theirs, _ = grade_pairs(sample, math_verify_says(sample))
    text = re.sub(r" +\n", "\n", table(ours, theirs, questions))
    print(text)
    if options.out:
        write_table(options.out, text)


if __name__ == "__main__":
    main()
