"""Accuracy after a round against the tokens of its samples, by how these are allotted.

    python -m benchmarks.budget --out budget.json

For each of five seeds, 64 completions of every training question of the demo are drawn once. Each
way keeps the first n of a question's, n as its rule says; the round then goes on as always:
weights, training from the seed model, scores on the demo's 500 questions. Ways:

    fixed n               every question gets n
    adaptive              `sampling.adaptive`: on until D(n, 64) <= tolerance, 16 first
    allocation            on while the next step's expected squared change of the weight, a token,
                          is above a price that is one for all questions (Neyman's allocation in
                          steps; GVM-RAFT, arXiv:2505.02391), 16 or 8 first
"""

import argparse
import itertools
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import log2
from pathlib import Path

from east_core.answers.clustering import cluster_all
from east_core.answers.grading import Grader
from east_core.config import AdaptiveRecipe, RunConfig
from east_core.config.toml_file import load_config
from east_core.engines.trl.training import TrlTrainer
from east_core.engines.vllm.sampler import VllmSampler
from east_core.inputs.questions import builtin_path
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion, entropy_bits
from east_core.runs import examples, samples, scores, start, training, weights
from east_core.runs.adaptive import expected_change_bits, is_decided, step_sizes
from east_core.runs.run import Run
from east_core.store import Store

MOST = 64
SEEDS = (1, 2, 3, 4, 5)
BENCHMARK = "word-problems"


@dataclass(frozen=True)
class Drawn:
    """A question's completions: each one's answer as a number, tokens, whether it is right."""

    labels: Sequence[int]
    tokens: Sequence[int]
    correct: Sequence[bool]

    def sizes(self, stop: int) -> list[int]:
        """How often each answer stands among the completions before `stop`."""
        return list(Counter(self.labels[:stop]).values())

    def until(self, recipe: AdaptiveRecipe, is_enough: Callable[[int, int], bool]) -> int:
        """The number of completions after which a rule ends, given them and the next step."""
        counts = [0]
        for size in step_sizes(recipe, MOST):
            counts.append(counts[-1] + size)
        for drawn, following in itertools.pairwise(counts[1:]):
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


def fixed(n: int, drawn: Sequence[Drawn]) -> list[int]:
    """The same number for every question."""
    return [n] * len(drawn)


def adaptive(tolerance: float, drawn: Sequence[Drawn]) -> list[int]:
    """As `sampling.adaptive` stops."""
    recipe = AdaptiveRecipe(tolerance_bits=tolerance)
    return [
        each.until(
            recipe,
            lambda n, _, d=each: is_decided(d.sizes(n), sum(d.correct[:n]), recipe, MOST),  # type: ignore[misc]
        )
        for each in drawn
    ]


def allocation(first: int, share: float, drawn: Sequence[Drawn]) -> list[int]:
    """As the allocation stops whose price spends `share` of the tokens, or the next above it."""
    recipe = AdaptiveRecipe(first=first)
    found = fixed(MOST, drawn)
    for step in range(60):
        price = 1e-6 * 1.3**step
        counts = [
            each.until(
                recipe,
                lambda n, step, d=each: (  # type: ignore[misc]
                    expected_gain(d, n, step) / (step * statistics.fmean(d.tokens)) <= price  # noqa: B023
                ),
            )
            for each in drawn
        ]
        if tokens(drawn, counts) < share * tokens(drawn, fixed(MOST, drawn)):
            return found
        found = counts
    return found


WAYS: dict[str, Callable[[Sequence[Drawn]], list[int]]] = {
    **{f"fixed {n}": partial(fixed, n) for n in (8, 16, 32, MOST)},
    "adaptive 0.2": partial(adaptive, 0.2),
    "allocation 16, 40%": partial(allocation, 16, 0.4),
    "allocation 8, 30%": partial(allocation, 8, 0.3),
    "allocation 8, 20%": partial(allocation, 8, 0.2),
}


def tokens(drawn: Sequence[Drawn], counts: Sequence[int]) -> int:
    """The tokens of the first completions of each question."""
    return sum(sum(each.tokens[:count]) for each, count in zip(drawn, counts, strict=True))


def as_drawn(sampled: Sequence[SampledQuestion]) -> list[Drawn]:
    """The answers of sampled questions as numbers."""
    with Grader(processes=2) as grader:
        clustered = list(cluster_all(sampled, grader, "boxed"))
    found = []
    for item, clusters in zip(sampled, clustered, strict=True):
        label_of = {m: k for k, c in enumerate(clusters.clusters) for m in c.members}
        right = {m for c in clusters.clusters if c.is_correct for m in c.members}
        count = range(len(item.completions))
        spent = [completion.token_count for completion in item.completions]
        found.append(Drawn([label_of[i] for i in count], spent, [i in right for i in count]))
    return found


@dataclass
class Replayed:
    """Draws the training questions once a seed, and gives back the first n of each."""

    inner: VllmSampler
    way: Callable[[Sequence[Drawn]], list[int]] = field(default=partial(fixed, MOST))
    drawn: dict[int, list[SampledQuestion]] = field(default_factory=dict)
    labels: dict[int, list[Drawn]] = field(default_factory=dict)
    share: float = 1.0

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        """See `Sampler.sample`."""
        if settings.samples_per_question != MOST:
            yield from self.inner.sample(model, shards, settings, total)
            return
        asked, seed = list(shards), settings.seed
        if seed not in self.drawn:
            found = self.inner.sample(model, asked, settings, total)
            self.drawn[seed] = [each for shard in found for each in shard]
            self.labels[seed] = as_drawn(self.drawn[seed])
        labels = self.labels[seed]
        counts = self.way(labels)
        self.share = tokens(labels, counts) / tokens(labels, fixed(MOST, labels))
        cut = iter(
            replace(each, completions=each.completions[:count])
            for each, count in zip(self.drawn[seed], counts, strict=True)
        )
        for shard in asked:
            yield [next(cut) for _ in shard]

    def release(self) -> None:
        """See `Sampler.release`."""
        self.inner.release()

    def close(self) -> None:
        """See `Sampler.close`."""
        self.inner.close()


def round_of(config: RunConfig, sampler: Replayed, trainer: TrlTrainer) -> dict[str, float]:
    """One round's tokens, questions kept, examples and accuracy."""
    with Store(config.store) as store:
        run = Run(config, store)
        start.claim(run)
        start.register_base_model(run)
        start.freeze_benchmarks(run)
        start.freeze_questions(run)
        samples.sample(run, 1, sampler)
        kept = weights.weigh(run, 1).facts
        chosen = examples.choose_examples(run, 1).facts
        training.train(run, 1, sampler, trainer)
        accuracy = scores.score(run, 1, BENCHMARK, sampler).facts["accuracy"]["value"]
    return {
        "share": sampler.share,
        "kept": kept["kept"],
        "examples": chosen["examples"],
        "accuracy": accuracy,
    }


def main() -> None:
    """Run every way on every seed; what is in the file already is not run again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="what came out, by seed and way")
    out: Path = parser.parse_args().out
    found = json.loads(out.read_text()) if out.is_file() else {}
    plan = load_config(builtin_path("demo.toml"))
    sampling = plan.sampling.model_copy(update={"samples_per_question": MOST})
    with (
        tempfile.TemporaryDirectory(prefix="east-budget-") as folder,
        VllmSampler(plan.resources) as inner,
        TrlTrainer(lambda _: None, lambda _: None) as trainer,
    ):
        sampler = Replayed(inner)
        for seed, (way, rule) in itertools.product(SEEDS, WAYS.items()):
            if way in found.setdefault(str(seed), {}):
                continue
            sampler.way = rule
            store = str(Path(folder) / f"{seed}-{way}")
            changes = {"rounds": 1, "seed": seed, "store": store, "sampling": sampling}
            row = round_of(plan.model_copy(update=changes), sampler, trainer)
            found[str(seed)][way] = row
            out.write_text(json.dumps(found, indent=1))
            print(seed, way, row, flush=True)


if __name__ == "__main__":
    main()
