"""What a study has shown: every arm's accuracy over seeds, and its difference from the baseline.

Two things make an accuracy uncertain: the seed (sampling and training) and the draw of the test
questions. Each gets an interval of its own: over seeds (Student's t, on the runs' accuracies) and
over questions (bootstrap, on the mean over the seeds). Differences are paired both by seed and by
question. A difference counts as real only where neither interval of it holds 0 and the p-value,
corrected by Holm for the number of arms, is below 1 - confidence.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.errors import DataError
from east_core.evaluation.estimates import (
    Estimate,
    mean_estimate,
    paired_difference,
    share_estimate,
)
from east_core.reports import figures, text
from east_core.runs.addresses import (
    COMPARISON,
    COMPARISON_FILE,
    COMPARISON_TABLE,
    RunAddresses,
    comparison_address,
)
from east_core.runs.predictions import read_outcomes
from east_core.store import ArtifactRecord, Stage, Store, materialize
from east_core.store.manifest import canonical_json
from east_core.studies.study import Arm, StudyConfig
from east_core.weighting.strategies import weighting_kinds

CONFIDENCE = 0.95
MOST_LINES = 7
Correct = Mapping[str, float]  # by question id: right or wrong, or the share of right samples


@dataclass(frozen=True)
class ArmResult:
    """One arm on one benchmark: the accuracy of every round over the seeds that finished it.

    With several seeds the interval is over seeds, with one it is Wilson's over questions
    (`share_estimate`).
    """

    arm: str
    label: str
    benchmark: str
    by_round: Mapping[int, Estimate]
    by_seed: Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class ArmDifference:
    """An arm minus the baseline in the last round, on the seeds and questions that both have.

    `over_seeds` is None for a single seed. `p_value` is of the paired t-test over seeds, or of
    McNemar's exact test for a single seed; `p_holm` is corrected for the number of arms.
    """

    arm: str
    label: str
    benchmark: str
    value: float
    over_seeds: Estimate | None
    over_questions: Estimate
    p_value: float
    p_holm: float

    @property
    def is_real(self) -> bool:
        """Whether neither kind of chance explains it."""
        intervals = [self.over_questions] + ([self.over_seeds] if self.over_seeds else [])
        beyond = all(interval.low > 0 or interval.high < 0 for interval in intervals)
        return beyond and self.p_holm < 1 - CONFIDENCE


@dataclass(frozen=True)
class Comparison:
    """A study's results; `missing` names the runs that have not finished, which don't count."""

    study: str
    baseline: str
    rounds: int
    arms: Sequence[ArmResult]
    differences: Sequence[ArmDifference]
    missing: Sequence[str]


def publish_comparison(store: Store, study: StudyConfig) -> ArtifactRecord:
    """Compare the finished runs of a study: JSON, a Markdown table, and figures, as an artifact.

    Every state of the study has a comparison of its own, named after what it compares.
    Raises DataError where no seed of the baseline has finished.
    """
    inputs = _finished(store, study)
    recipe = {"study": study.model_dump(mode="json", exclude={"store", "run"})}
    wanted = {name: record.content for name, record in inputs.items()}
    digest = hashlib.sha256(canonical_json([recipe, wanted]).encode()).hexdigest()

    def build(folder: Path) -> None:
        comparison = compare_study(store, study)
        (folder / COMPARISON_FILE).write_text(json.dumps(as_json(comparison), indent=2))
        (folder / COMPARISON_TABLE).write_text(as_markdown(comparison))
        for name, figure in _figures(comparison, study.arms()):
            (folder / f"{name}.png").write_bytes(figures.png(figure))
            (folder / f"{name}.svg").write_bytes(figures.svg(figure))

    stage = Stage(comparison_address(digest), COMPARISON, recipe=recipe, inputs=inputs)
    return materialize(store, stage, build)


def compare_study(store: Store, study: StudyConfig) -> Comparison:
    """Compare the finished runs of a study. Raises DataError without a finished baseline."""
    graded = {
        (arm, benchmark): _graded(store, study, arm, benchmark)
        for arm in study.arms()
        for benchmark in _benchmarks(study)
    }
    done = _finished(store, study)
    rounds = _rounds(study)
    if not any(f"{study.baseline}-seed-" in name for name in done):
        raise DataError(f"no run of the baseline {study.baseline!r} has finished in {store.root}")
    return Comparison(
        study=study.name,
        baseline=study.baseline,
        rounds=rounds,
        arms=[_result(arm, name, rows) for (arm, name), rows in graded.items() if rows],
        differences=list(_differences(study, graded)),
        missing=[
            config.name
            for config in study.runs()
            if not all(f"{config.name}/{name}" in done for name in config.benchmarks)
        ],
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    plain = dataclasses.asdict(comparison)
    for row, difference in zip(plain["differences"], comparison.differences, strict=True):
        row["is_real"] = difference.is_real
    return plain


def as_markdown(comparison: Comparison) -> str:
    """The comparison as a table for people, and what it lets one conclude."""
    lines = [f"# {comparison.study}: round {comparison.rounds}, against {comparison.baseline}", ""]
    lines += ["| arm | benchmark | seeds | accuracy | difference (points) | over seeds "]
    lines[-1] += "| over questions | p (Holm) |"
    lines.append("|---" * 8 + "|")
    differences = {(row.arm, row.benchmark): row for row in comparison.differences}
    for arm in comparison.arms:
        lines.append(_line(arm, differences.get((arm.arm, arm.benchmark))))
    lines += ["", *_conclusions(comparison), *_note(comparison)]
    if comparison.missing:
        lines += ["", f"Not finished, not counted: {', '.join(comparison.missing)}."]
    return "\n".join(lines) + "\n"


def _line(arm: ArmResult, difference: ArmDifference | None) -> str:
    last = max(arm.by_round)
    accuracy = arm.by_round[last]
    shown = text.with_interval(accuracy)
    start = f"| {arm.label} | {arm.benchmark} | {len(arm.by_seed)} | {shown} |"
    if difference is None:
        return f"{start} | | | |"
    return (
        f"{start} {text.points(difference.value)} | {_points(difference.over_seeds)} "
        f"| {_points(difference.over_questions)} | {difference.p_holm:.3f} |"
    )


def _points(interval: Estimate | None) -> str:
    return text.point_bounds(interval.low, interval.high) if interval else ""


def _conclusions(comparison: Comparison) -> Iterator[str]:
    for row in comparison.differences:
        verdict = (
            f"is {'better' if row.value > 0 else 'worse'} than {comparison.baseline} by "
            f"{100 * abs(row.value):.1f} points"
            if row.is_real
            else f"can't be told apart from {comparison.baseline} by these runs"
        )
        yield f"- {row.benchmark}: {row.label} {verdict}."


def _note(comparison: Comparison) -> Iterator[str]:
    """What is to be known of arms that repeat the released code's weights."""
    kinds = [kind for kind, each in weighting_kinds().items() if not each.has_mean_one]
    if any(kind in arm.label for arm in comparison.arms for kind in kinds):
        yield (
            "- Weights as released have another mean than 1: what such an arm gains may be the "
            "learning rate's. uniform_as_released against uniform tells that part, "
            "entropy_as_released against uniform_as_released the weighting's "
            "(docs/weighting.md)."
        )


def _finished(store: Store, study: StudyConfig) -> dict[str, ArtifactRecord]:
    """The last round's scores of every run that has them, as RUN/BENCHMARK."""
    found = {}
    for config in study.runs():
        for name in config.benchmarks:
            record = store.record(RunAddresses(config.name).scores(config.rounds, name))
            if record is not None:
                found[f"{config.name}/{name}"] = record
    return found


def _rounds(study: StudyConfig) -> int:
    return next(study.runs()).rounds


def _benchmarks(study: StudyConfig) -> list[str]:
    return sorted(next(study.runs()).benchmarks)


def _graded(store: Store, study: StudyConfig, arm: Arm, benchmark: str) -> dict[int, list[Correct]]:
    """By seed that finished: for every round, which questions are answered correctly."""
    graded = {}
    for seed in study.seeds:
        addresses = [
            RunAddresses(arm.run_name(seed)).scores(number, benchmark)
            for number in range(_rounds(study) + 1)
        ]
        if store.record(addresses[-1]) is not None:
            graded[seed] = [_correct(store, store.require(address)) for address in addresses]
    return graded


def _correct(store: Store, record: ArtifactRecord) -> Correct:
    return read_outcomes(store, record)


def _result(arm: Arm, benchmark: str, graded: Mapping[int, Sequence[Correct]]) -> ArmResult:
    by_seed = {seed: [_mean(correct) for correct in rounds] for seed, rounds in graded.items()}
    rounds = range(len(next(iter(by_seed.values()))))
    return ArmResult(
        arm=arm.name,
        label=arm.label,
        benchmark=benchmark,
        by_round={number: _accuracy(graded, number) for number in rounds},
        by_seed=by_seed,
    )


def _accuracy(graded: Mapping[int, Sequence[Correct]], number: int) -> Estimate:
    values = [_mean(rounds[number]) for rounds in graded.values()]
    if len(values) > 1:
        return over_seeds(values)
    (correct,) = (rounds[number] for rounds in graded.values())
    return share_estimate(list(correct.values()), CONFIDENCE)


def _mean(correct: Correct) -> float:
    return sum(correct.values()) / len(correct)


def over_seeds(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The mean of one value a seed, with Student's t interval. Needs two seeds at least."""
    from scipy.stats import sem, t

    n, mean = len(values), math.fsum(values) / len(values)
    half = float(t.ppf((1 + confidence) / 2, n - 1) * sem(values))
    return Estimate(mean, mean - half, mean + half, n)


def _differences(
    study: StudyConfig, graded: Mapping[tuple[Arm, str], Mapping[int, Sequence[Correct]]]
) -> Iterator[ArmDifference]:
    """Every arm against the baseline, the p-values corrected within a benchmark."""
    from statsmodels.stats.multitest import multipletests

    baseline = study.arms()[0]
    for name in _benchmarks(study):
        rows = [
            _difference(arm, name, graded[baseline, name], graded[arm, name])
            for arm in study.arms()[1:]
            if graded[baseline, name].keys() & graded[arm, name].keys()
        ]
        if rows:
            corrected = multipletests([row.p_value for row in rows], method="holm")[1]
            for row, p_holm in zip(rows, corrected, strict=True):
                yield dataclasses.replace(row, p_holm=float(p_holm))


def _difference(
    arm: Arm,
    benchmark: str,
    baseline: Mapping[int, Sequence[Correct]],
    graded: Mapping[int, Sequence[Correct]],
) -> ArmDifference:
    seeds = sorted(baseline.keys() & graded.keys())
    pairs = [(baseline[seed][-1], graded[seed][-1]) for seed in seeds]
    per_seed = [_mean(ours) - _mean(theirs) for theirs, ours in pairs]
    per_question = [
        sum(ours[name] - theirs[name] for theirs, ours in pairs) / len(pairs)
        for name in pairs[0][0]
    ]
    theirs, ours = pairs[0]
    single = paired_difference(list(theirs.values()), [ours[name] for name in theirs], CONFIDENCE)
    p_value = single.p_value if len(seeds) == 1 else _t_test(per_seed)
    return ArmDifference(
        arm=arm.name,
        label=arm.label,
        benchmark=benchmark,
        value=math.fsum(per_seed) / len(per_seed),
        over_seeds=over_seeds(per_seed) if len(seeds) > 1 else None,
        over_questions=mean_estimate(per_question, CONFIDENCE),
        p_value=p_value,
        p_holm=p_value,
    )


def _t_test(differences: Sequence[float]) -> float:
    """The two-sided paired t-test; equal differences leave no doubt but where they are 0."""
    from scipy.stats import ttest_1samp

    if len(set(differences)) == 1:
        return 0.0 if differences[0] else 1.0
    return float(ttest_1samp(differences, 0.0).pvalue)


def _figures(comparison: Comparison, arms: Sequence[Arm]) -> Iterator[tuple[str, Any]]:
    """Accuracy by round for few arms, and by exponent for every loss and weighting with several."""
    exponent = {arm.name: arm.exponent for arm in arms}
    for benchmark in sorted({result.benchmark for result in comparison.arms}):
        results = [result for result in comparison.arms if result.benchmark == benchmark]
        title = f"{comparison.study}, {benchmark}"
        curves = {result.label: result.by_round for result in results[:MOST_LINES]}
        yield f"rounds-{benchmark}", figures.estimates_by_round(curves, title)
        last = {result.arm: result.by_round[comparison.rounds] for result in results}
        for kind in sorted({(arm.loss, arm.weighting) for arm in arms}):
            curve = {
                value: last[arm.name]
                for arm in sorted(arms, key=lambda arm: arm.exponent or 0.0)
                if (arm.loss, arm.weighting) == kind
                and (value := exponent[arm.name]) is not None
                and arm.name in last
            }
            if len(curve) > 2:
                name = "-".join(("exponents", *kind, benchmark))
                base = last.get(comparison.baseline)
                yield name, figures.estimates_by_exponent(curve, base, f"{title}: {kind[1]}")
