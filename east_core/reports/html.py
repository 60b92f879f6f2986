"""One HTML file that tells a run to someone who was not there.

It needs nothing but itself: pictures are embedded, there is no script, and its content security
policy forbids every request. Whatever comes from models and data sets is escaped.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.evaluation.estimates import PairedDifference, compare_outcomes
from east_core.evaluation.scores import Scores, scores_from_facts
from east_core.records import Prediction, Question
from east_core.reports import figures
from east_core.reports.curves import curves
from east_core.reports.pages import page_environment
from east_core.reports.text import SET_COLUMNS, set_row
from east_core.runs.addresses import QUESTIONS_FILE, QUESTIONS_PICTURE, RunAddresses, is_shard
from east_core.runs.extent import claimed_settings, rounds_asked
from east_core.runs.predictions import read_outcomes, read_predictions
from east_core.runs.summary import RoundSummary, stopped_early, summarise_records, training_losses
from east_core.seeds import derive_seed
from east_core.store import ArtifactRecord, Store
from east_core.tables import read_table

SHOWN_SOLUTIONS = 3
DROP_REASONS = {
    "all_wrong": "no completion is correct: there is nothing to learn from",
    "unanimous": "all completions give one answer: the entropy is 0",
    "no_majority": "no single answer has the majority that label-free training asks for",
    "filtered": "the weighting is a filter, and the question is outside of its bounds",
}
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class CheckpointScores:
    """One checkpoint's scores on a benchmark, and how they differ from the base model's."""

    round: int
    scores: Scores
    against_base: PairedDifference | None


@dataclass(frozen=True)
class Solution:
    """A question with the base model's solution and the last checkpoint's."""

    question: Question
    before: Prediction
    after: Prediction


@dataclass(frozen=True)
class BenchmarkSection:
    """A benchmark's scores by round, and solutions before and after, by what became of them."""

    name: str
    rows: Sequence[CheckpointScores]
    solutions: Mapping[str, Sequence[Solution]]

    @property
    def base(self) -> CheckpointScores:
        """The first checkpoint that was scored."""
        return self.rows[0]

    @property
    def last(self) -> CheckpointScores:
        """The last checkpoint that was scored."""
        return self.rows[-1]


def write_report_page(store: Store, run_name: str) -> str:
    """Write {run}/report.html into the store, replacing an older one; return its path or URL.

    Raises DataError where there is no such run.
    """
    path = RunAddresses(run_name).report_page
    store.write(path, render(store, run_name).encode())
    return store.url(path)


def render(store: Store, run_name: str) -> str:
    """The report of a run, finished or not, as HTML. Raises DataError where there is no run."""
    records = list(store.records(run_name))
    rounds = summarise_records(records, run_name, store.root)
    losses = training_losses(store, run_name, [summary.round for summary in rounds])
    drawn = curves(rounds, losses, run_name)
    pictures = {
        f"{label} by round": _data_uri(figures.svg(drawn[label]), "svg+xml") for label in drawn
    }
    page: str = _template("run.html").render(
        name=run_name,
        store=store.root,
        rounds=rounds,
        config=claimed_settings(store, run_name),
        stopped=stopped_early(rounds),
        rounds_asked=rounds_asked(store, run_name, (record.address for record in records)),
        pictures={**pictures, **_question_map(store, records)},
        benchmarks=[_benchmark(store, run_name, name, rounds) for name in _names(rounds)],
        drop_reasons=DROP_REASONS,
        set_columns=SET_COLUMNS,
        set_rows=[(each.round, *set_row(*named)) for each in rounds for named in each.sets.items()],
        stages=sorted({stage for summary in rounds for stage in summary.seconds}),
        lineage=[record for record in records if not is_shard(record.address)],
        shards=sum(is_shard(record.address) for record in records),
        versions=_versions(records),
        code_versions=sorted({record.code_version for record in records}),
        finished_at=max(record.created_at for record in records),
    )
    return page


def _template(name: str) -> Any:
    return page_environment(_TEMPLATES).get_template(name)


def _question_map(store: Store, records: Sequence[ArtifactRecord]) -> dict[str, str]:
    """The last round's questions at (entropy, error rate), as its report stage drew them."""
    drawn = [
        record for record in records if any(file.path == QUESTIONS_PICTURE for file in record.files)
    ]
    if not drawn or store.is_pruned(drawn[-1]):
        return {}
    image = (store.fetch(drawn[-1], [QUESTIONS_PICTURE]) / QUESTIONS_PICTURE).read_bytes()
    return {"entropy, error rate and top wrong answer of every question": _data_uri(image, "png")}


def _data_uri(image: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _names(rounds: Sequence[RoundSummary]) -> list[str]:
    return sorted({name for summary in rounds for name in summary.accuracy})


def _benchmark(
    store: Store, run_name: str, name: str, rounds: Sequence[RoundSummary]
) -> BenchmarkSection:
    at = RunAddresses(run_name)
    records = {
        summary.round: store.require(at.scores(summary.round, name))
        for summary in rounds
        if name in summary.accuracy
    }
    base, last = min(records), max(records)
    before = read_predictions(store, records[base])
    at_first = read_outcomes(store, records[base])
    rows = [
        CheckpointScores(
            round=number,
            scores=scores_from_facts(record.facts),
            against_base=None
            if number == base
            else compare_outcomes(at_first, read_outcomes(store, record)),
        )
        for number, record in records.items()
    ]
    questions = store.fetch(store.require(at.benchmark(name))) / QUESTIONS_FILE
    after = read_predictions(store, records[last]) if last > base else []
    return BenchmarkSection(
        name, rows, choose_solutions(read_table(questions, Question), before, after)
    )


def choose_solutions(
    questions: Iterable[Question], before: Sequence[Prediction], after: Sequence[Prediction]
) -> dict[str, list[Solution]]:
    """A few solutions of each kind, drawn by a hash of the question's id: nobody picked them."""
    then = {prediction.question_id: prediction for prediction in before}
    now = {prediction.question_id: prediction for prediction in after}
    chosen: dict[str, list[Solution]] = {"learnt": [], "unlearnt": [], "never solved": []}
    asked = {question.id: question for question in questions if question.id in now}
    for name in sorted(asked, key=lambda name: (derive_seed(0, name), name)):
        kind = _kind(then[name].is_correct, now[name].is_correct)
        if kind and len(chosen[kind]) < SHOWN_SOLUTIONS:
            chosen[kind].append(Solution(asked[name], then[name], now[name]))
    return chosen


def _kind(before: bool, after: bool) -> str | None:
    if before:
        return None if after else "unlearnt"
    return "learnt" if after else "never solved"


def _versions(records: Iterable[ArtifactRecord]) -> dict[str, list[str]]:
    """The versions of each library that took part; more than one where the run was resumed."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in sorted(found)}
