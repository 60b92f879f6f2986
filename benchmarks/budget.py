"""Where a budget of tokens counts: fixed n, adaptive sampling, and allocation by what it gains.

    python -m benchmarks.budget --json rows.json

Completions are drawn once, 2 N of them for each question, and replayed: each way sees the first N
in their order and stops where it would. Its entropy weights (0 for dropped questions) are compared
by Spearman's rank correlation with those of all N ("the same N"), and with those of the other N
("another N": a repeat of the round, which N itself reaches only in part). The ways:

    fixed n      every question gets n
    adaptive     `sampling.adaptive`: on until D(n, N) <= tolerance
    allocation   on while the next step's expected squared change of the weight, a token, is above
                 a price that is one for all questions: the greedy allocation of a budget (Neyman's,
                 in steps; GVM-RAFT, arXiv:2505.02391, spends by the gradient's variance so)

on (a) the seed model's completions of the built-in task, by vLLM, kept in .east/bench for the next
time, and (b) answers to GSM8K and MATH as benchmarks/clustering.py draws them. A row is the
allocation's tokens over the adaptive rule's where both first reach a correlation of 0.95.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import log2
from pathlib import Path

from scipy.stats import spearmanr

from benchmarks.clustering import sampled_questions
from benchmarks.pairs import KEPT, ROOT, BenchmarkRow, single_row, write_result
from east_core.answers.clustering import cluster_all
from east_core.answers.grading import Grader
from east_core.config import AdaptiveRecipe, DatasetConfig, Resources
from east_core.config.sampling import SYSTEM_PROMPT
from east_core.inputs.questions import WithGold, builtin_path
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import SampledQuestion, entropy_bits
from east_core.runs.adaptive import expected_change_bits, is_decided, step_sizes

MOST = 64
TOLERANCES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.6)
PRICES = tuple(1e-5 * 1.5**step for step in range(24))  # squared bits a token
FIXED = (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
RANK = 0.95
PLOT = ROOT / "docs" / "images" / "budget.png"


@dataclass(frozen=True)
class Drawn:
    """A question's 2 N completions: each one's answer as a number, tokens, whether it is right."""

    labels: Sequence[int]
    tokens: Sequence[int]
    correct: Sequence[bool]

    def sizes(self, stop: int) -> list[int]:
        """How often each answer stands among the completions before `stop`."""
        return list(Counter(self.labels[:stop]).values())

    def weight(self, start: int, stop: int) -> float:
        """The entropy weight, unscaled, of a part of the completions; 0 where all are wrong."""
        if not any(self.correct[start:stop]):
            return 0.0
        return entropy_bits(list(Counter(self.labels[start:stop]).values()))

    def adaptive(self, recipe: AdaptiveRecipe) -> int:
        """Of how many completions adaptive sampling would make do."""
        return self._until(
            recipe, lambda n, _: is_decided(self.sizes(n), sum(self.correct[:n]), recipe, MOST)
        )

    def allocated(self, recipe: AdaptiveRecipe, price: float) -> int:
        """How many completions are worth their price."""
        mean = statistics.fmean(self.tokens)
        return self._until(
            recipe, lambda n, step: expected_gain(self, n, step) / (step * mean) <= price
        )

    def _until(self, recipe: AdaptiveRecipe, is_enough: Callable[[int, int], bool]) -> int:
        counts = [0]
        for size in step_sizes(recipe, MOST):
            counts.append(counts[-1] + size)
        for drawn, following in pairwise(counts[1:]):
            if is_enough(drawn, following - drawn):
                return drawn
        return MOST


def expected_gain(drawn: Drawn, n: int, step: int) -> float:
    """The expected squared change of a question's weight (bits) by `step` more completions.

    What never came among n draws comes among the next with probability step / (n + step + 1), by
    the rule of succession: a right answer where all are wrong, a second one where all are alike.
    """
    sizes = drawn.sizes(n)
    unseen = step / (n + step + 1)
    if not any(drawn.correct[:n]):
        return float(unseen * entropy_bits([*sizes, 1]) ** 2)
    if len(sizes) == 1:
        share = 1 / (n + step)
        return float(unseen * (-share * log2(share) - (1 - share) * log2(1 - share)) ** 2)
    return expected_change_bits(sizes, n + step) ** 2


@dataclass(frozen=True)
class Point:
    """One way to sample: its knob, its share of N's tokens, its rank correlations."""

    knob: float
    tokens: float
    same: float
    other: float


def measure(drawn: Sequence[Drawn], counts: Sequence[int], knob: float) -> Point:
    """The point of the first `counts` completions of each question."""
    weights = [item.weight(0, count) for item, count in zip(drawn, counts, strict=True)]
    full, other = ([d.weight(*part) for d in drawn] for part in ((0, MOST), (MOST, 2 * MOST)))
    spent = sum(sum(d.tokens[:count]) for d, count in zip(drawn, counts, strict=True))
    share = spent / sum(sum(d.tokens[:MOST]) for d in drawn)
    same, repeated = (float(spearmanr(weights, whole).statistic) for whole in (full, other))
    return Point(knob, share, same, repeated)


def ways(drawn: Sequence[Drawn]) -> dict[str, list[Point]]:
    """The points of each way, its knob from careful to frugal."""
    recipe = AdaptiveRecipe()
    quick = recipe.model_copy(update={"first": 8})
    tolerant = [recipe.model_copy(update={"tolerance_bits": each}) for each in TOLERANCES]
    return {
        "fixed n": [measure(drawn, [count] * len(drawn), count) for count in reversed(FIXED)],
        "adaptive": [
            measure(drawn, [d.adaptive(each) for d in drawn], each.tolerance_bits)
            for each in tolerant
        ],
        "allocation": [
            measure(drawn, [d.allocated(recipe, price) for d in drawn], price) for price in PRICES
        ],
        "allocation, 8 first": [
            measure(drawn, [d.allocated(quick, price) for d in drawn], price) for price in PRICES
        ],
    }


def cheapest(points: Iterable[Point]) -> float:
    """The least share of tokens with a correlation of 0.95 with the same N; 1 where none has it."""
    return min((point.tokens for point in points if point.same >= RANK), default=1.0)


def at_tokens(points: Sequence[Point], tokens: float) -> float | None:
    """The correlation with the same N at a share of tokens, between the two nearest points."""
    known = sorted(points, key=lambda point: point.tokens)
    for low, high in pairwise(known):
        if low.tokens <= tokens <= high.tokens and high.tokens > low.tokens:
            part = (tokens - low.tokens) / (high.tokens - low.tokens)
            return low.same + part * (high.same - low.same)
    return None


def as_drawn(sampled: Sequence[SampledQuestion]) -> list[Drawn]:
    """The answers of sampled questions as numbers."""
    with Grader(processes=2) as grader:
        clustered = list(cluster_all(sampled, grader, "boxed"))
    found = []
    for item, clusters in zip(sampled, clustered, strict=True):
        label_of = {m: k for k, c in enumerate(clusters.clusters) for m in c.members}
        right = {m for c in clusters.clusters if c.is_correct for m in c.members}
        count = range(len(item.completions))
        tokens = [completion.token_count for completion in item.completions]
        found.append(Drawn([label_of[i] for i in count], tokens, [i in right for i in count]))
    return found


def builtin_task(questions: int) -> list[Drawn]:
    """The seed model's completions of the built-in training questions, as in the demo."""
    from east_core.engines.vllm.sampler import VllmSampler

    asked = list(WithGold(DatasetConfig(limit=questions)))
    settings = GenerationSettings(2 * MOST, 1.0, 1.0, 96, SYSTEM_PROMPT, (), seed=42)
    model = ModelSource(builtin_path("seed_model"), "seed")
    with VllmSampler(Resources(device="cpu", kv_cache_gib=0.25)) as sampler:
        (sampled,) = sampler.sample(model, [asked], settings, questions)
    return as_drawn(sampled)


def replayed_task(questions: int) -> list[Drawn]:
    """Answers to GSM8K and MATH, drawn as for the clustering benchmark."""
    return as_drawn(list(sampled_questions(questions, 2 * MOST)))


def kept_or(make: Callable[[int], list[Drawn]], questions: int) -> list[Drawn]:
    """What `make` makes, kept for the next time."""
    path = KEPT / f"{make.__name__}-{questions}x{2 * MOST}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(item) for item in make(questions)]))
    return [Drawn(**item) for item in json.loads(path.read_text())]


def plot(panels: dict[str, dict[str, list[Point]]]) -> None:
    """Tokens against rank correlation, one panel a task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (title, found) in zip(grid[0], panels.items(), strict=True):
        for index, (way, points) in enumerate(found.items()):
            tokens = [point.tokens for point in points]
            for name, dashes in (("same", "-"), ("other", ":")):
                style = {"color": f"C{index}", "ls": dashes, "marker": "o", "ms": 3}
                label = f"{way}, {name} {MOST}"
                axes.plot(tokens, [getattr(p, name) for p in points], label=label, **style)
        axes.set(title=title, xlabel="tokens, share of 64 completions a question", xlim=(0, 1.02))
        axes.grid(alpha=0.3)
    grid[0][0].set_ylabel("rank correlation of the weights")
    grid[0][-1].legend(loc="lower right", frameon=False, fontsize="small")
    figure.savefig(PLOT, dpi=130, metadata={"Software": None})


def table(found: dict[str, list[Point]]) -> str:
    """Each way's correlation at some shares of the tokens, and what 0.95 costs it."""
    shares = (0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
    head = ["way", *(f"{share:.0%} of the tokens" for share in shares), "tokens at 0.95"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for way, points in found.items():
        at = [at_tokens(points, share) for share in shares]
        cells = ["-" if value is None else f"{value:.3f}" for value in at]
        lines.append(f"| {way} | " + " | ".join(cells) + f" | {cheapest(points):.0%} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Draw or replay, sweep, plot, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--builtin", type=int, default=120, help="questions of the built-in task")
    parser.add_argument("--replayed", type=int, default=600, help="questions of GSM8K and MATH")
    parser.add_argument("--json", type=Path, required=True, help="write rows and tables here")
    options = parser.parse_args()
    tasks = {
        f"built-in task ({options.builtin} questions)": kept_or(builtin_task, options.builtin),
        f"GSM8K and MATH, replayed ({options.replayed})": kept_or(replayed_task, options.replayed),
    }
    panels = {title: ways(drawn) for title, drawn in tasks.items()}
    rows: list[BenchmarkRow] = []
    for title, found in panels.items():
        ratio = cheapest(found["allocation"]) / cheapest(found["adaptive"])
        name = f"budget: allocation's tokens over adaptive's at 0.95, {title}"
        rows.append(single_row(name, ratio, 1.0, len(tasks[title])))
    pages = [f"### Budget: {title}\n\n{table(found)}" for title, found in panels.items()]
    plot(panels)
    print("\n".join(pages), file=sys.stderr)
    write_result(options.json, rows, "\n".join(pages))


if __name__ == "__main__":
    main()
