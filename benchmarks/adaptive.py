"""Adaptive sampling: how many tokens it saves, and what becomes of the weights.

    python -m benchmarks.adaptive --json rows.json

Completions are drawn once, 2 N of them for each question, and replayed: adaptive sampling sees the
first N in order and stops by east_core.runs.adaptive's rule, over a sweep of its tolerance. Its
entropy weights are compared by Spearman's rank correlation, over all questions (dropped ones
have the weight 0), with

    the same N         the weights that going on to N would have given
    another N          the weights from the other N completions: a repeat of the round
    the noise ceiling  of that comparison: N completions against the other N
    a fixed n          the plain way to save tokens: fewer completions of every question

on (a) the built-in task: the seed model's own completions by vLLM, kept in .east/bench for the next
time, and (b) answers to GSM8K and MATH as benchmarks/clustering.py draws them. docs/images/
adaptive.png shows the sweep. The rows take the best point: the least share of tokens whose
correlation with the same N is still 0.95 or more; its goal is 0.6.
"""

import argparse
import json
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy.stats import spearmanr

from benchmarks.clustering import sampled_questions
from benchmarks.pairs import KEPT, ROOT, Row, write_result
from east_core.answers.clustering import cluster_all
from east_core.answers.grading import Grader
from east_core.config import SYSTEM_PROMPT, AdaptiveRecipe, DatasetConfig, Resources
from east_core.inputs.questions import WithGold, builtin_path
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import SampledQuestion, entropy_bits
from east_core.runs.adaptive import is_decided, step_sizes

MOST = 64
TOLERANCES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.6)
FIXED = (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
RANK_GOAL, TOKENS_GOAL = 0.95, 0.6
PLOT = ROOT / "docs" / "images" / "adaptive.png"


@dataclass(frozen=True)
class Drawn:
    """A question's 2 N completions: the number of each one's answer, its tokens, and whether it
    is correct.
    """

    labels: Sequence[int]
    tokens: Sequence[int]
    correct: Sequence[bool]

    def weight(self, start: int, stop: int) -> float:
        """The entropy weight, unscaled, from the completions from `start` on, before `stop`."""
        if not any(self.correct[start:stop]):
            return 0.0  # dropped: all wrong; a unanimous one has entropy 0
        return entropy_bits(list(Counter(self.labels[start:stop]).values()))

    def stops_at(self, recipe: AdaptiveRecipe) -> int:
        """How many of the first N completions adaptive sampling would have drawn."""
        drawn = 0
        for size in step_sizes(recipe, MOST):
            drawn += size
            sizes = list(Counter(self.labels[:drawn]).values())
            if is_decided(sizes, sum(self.correct[:drawn]), recipe, MOST):
                break
        return drawn


@dataclass(frozen=True)
class Point:
    """One way to sample: its share of N's tokens, and its rank correlations.

    `bias_bits` is the mean of its entropy less that of all N, over questions kept by both; `lost`
    is the share of questions kept at N that it drops.
    """

    tolerance_bits: float | None
    mean_samples: float
    tokens: float
    same: float
    other: float
    bias_bits: float
    lost: float


def measure(drawn: Sequence[Drawn], counts: Sequence[int], tolerance: float | None) -> Point:
    """The point of drawing the first `counts` completions of each question."""
    weights = [item.weight(0, count) for item, count in zip(drawn, counts, strict=True)]
    full = [item.weight(0, MOST) for item in drawn]
    other = [item.weight(MOST, 2 * MOST) for item in drawn]
    spent = sum(sum(d.tokens[:count]) for d, count in zip(drawn, counts, strict=True))
    both = [a - b for a, b in zip(weights, full, strict=True) if a and b]
    kept = [a for a, b in zip(weights, full, strict=True) if b]
    return Point(
        tolerance_bits=tolerance,
        mean_samples=statistics.fmean(counts),
        tokens=spent / sum(sum(d.tokens[:MOST]) for d in drawn),
        same=rank_correlation(weights, full),
        other=rank_correlation(weights, other),
        bias_bits=statistics.fmean(both),
        lost=kept.count(0.0) / len(kept),
    )


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, with mean ranks for ties."""
    return float(spearmanr(one, other).statistic)


def adaptive_points(drawn: Sequence[Drawn], recipe: AdaptiveRecipe) -> list[Point]:
    """A point for each tolerance."""
    return [
        measure(drawn, [d.stops_at(r) for d in drawn], r.tolerance_bits) for r in _sweep(recipe)
    ]


def _sweep(recipe: AdaptiveRecipe) -> list[AdaptiveRecipe]:
    return [recipe.model_copy(update={"tolerance_bits": t}) for t in TOLERANCES]


def fixed_points(drawn: Sequence[Drawn]) -> list[Point]:
    """A point for each n that all questions get alike."""
    return [measure(drawn, [count] * len(drawn), None) for count in FIXED]


def best(points: Iterable[Point]) -> Point | None:
    """The cheapest point whose weights still rank as N's do."""
    good = [point for point in points if point.same >= RANK_GOAL]
    return min(good, key=lambda point: point.tokens, default=None)


def resampled_tokens(drawn: Sequence[Drawn], recipe: AdaptiveRecipe) -> tuple[float, float]:
    """A 95% interval of the best point's share of tokens, by resampling questions."""
    counts = [[d.stops_at(r) for d in drawn] for r in _sweep(recipe)]
    draw, shares = random.Random(0), []
    for _ in range(100):
        chosen = draw.choices(range(len(drawn)), k=len(drawn))
        again = [drawn[i] for i in chosen]
        points = [measure(again, [column[i] for i in chosen], None) for column in counts]
        cheapest = best(points)
        shares.append(1.0 if cheapest is None else cheapest.tokens)
    return sorted(shares)[2], sorted(shares)[97]


# ---------------------------------------------------------------- the completions


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
    settings = GenerationSettings(
        samples_per_question=2 * MOST,
        temperature=1.0,
        top_p=1.0,
        max_tokens=96,
        system_prompt=SYSTEM_PROMPT,
        stop=(),
        seed=42,
    )
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


# ---------------------------------------------------------------- the report


def plot(panels: dict[str, tuple[list[Point], list[Point], float]]) -> None:
    """Tokens against rank correlation, one panel a task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    for axes, (title, (adaptive, fixed, ceiling)) in zip(
        figure.subplots(1, 2, sharey=True), panels.items(), strict=True
    ):
        axes.plot(*_line(adaptive, "same"), "o-", color="#0072B2", label="adaptive, same 64")
        axes.plot(
            *_line(fixed, "same"), "s--", color="#0072B2", alpha=0.4, label="fixed n, same 64"
        )
        axes.plot(*_line(adaptive, "other"), "o-", color="#D55E00", label="adaptive, another 64")
        axes.plot(
            *_line(fixed, "other"), "s--", color="#D55E00", alpha=0.4, label="fixed n, another 64"
        )
        axes.axhline(ceiling, color="#D55E00", lw=1, ls=":", label="64 against another 64")
        axes.plot([TOKENS_GOAL], [RANK_GOAL], "k*", ms=12, label="goal")
        axes.set(title=title, xlabel="tokens, share of 64 completions a question", xlim=(0, 1.02))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("rank correlation of the weights")
    figure.axes[1].legend(loc="lower right", frameon=False, fontsize="small")
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=130, metadata={"Software": None})


def _line(points: Sequence[Point], name: str) -> tuple[list[float], list[float]]:
    return [point.tokens for point in points], [getattr(point, name) for point in points]


def table(adaptive: Sequence[Point], fixed: Sequence[Point], ceiling: float) -> str:
    """The sweep as Markdown, with the fixed n of about the same tokens beside each tolerance."""
    head = ("tolerance, bits", "mean n", "tokens", "same 64", "another 64", "bias, bits", "lost")
    lines = ["| " + " | ".join((*head, "a fixed n: same 64")) + " |", "|---" * 8 + "|"]
    for point in adaptive:
        beside = min(fixed, key=lambda other: abs(other.tokens - point.tokens))
        lines.append(
            f"| {point.tolerance_bits:g} | {point.mean_samples:.1f} | {point.tokens:.0%} | "
            f"{point.same:.3f} | {point.other:.3f} | {point.bias_bits:+.3f} | {point.lost:.1%} | "
            f"{beside.same:.3f} (n = {beside.mean_samples:.0f}) |"
        )
    return "\n".join([*lines, "", f"64 against another 64 completions: {ceiling:.3f}.", ""])


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
    rows: list[Row] = []
    pages: list[str] = []
    panels: dict[str, Any] = {}
    for title, drawn in tasks.items():
        recipe = AdaptiveRecipe()
        adaptive, fixed = adaptive_points(drawn, recipe), fixed_points(drawn)
        ceiling = fixed[-1].other
        panels[title] = adaptive, fixed, ceiling
        chosen = best(adaptive)
        ratio = 1.0 if chosen is None else chosen.tokens
        low, high = resampled_tokens(drawn, recipe)
        name = f"adaptive sampling: tokens at rank correlation 0.95, {title}"
        rows.append(Row(name, ratio, low, high, TOKENS_GOAL, len(drawn)))
        pages.append(f"### Adaptive sampling: {title}\n\n{table(adaptive, fixed, ceiling)}")
        print(pages[-1], file=sys.stderr)
    plot(panels)
    pages.append("![tokens against rank correlation](images/adaptive.png)\n")
    write_result(options.json, rows, "\n".join(pages))


if __name__ == "__main__":
    main()
