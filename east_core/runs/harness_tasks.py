"""Benchmarks that are tasks of lm-evaluation-harness: their questions, and a checkpoint's scores.

What a task is (its questions, the harness's version, its own version and settings, the metric) is
frozen when a run begins, as our own questions are. Scores depend on that, and another version of
the harness or of the task is refused later on: their numbers could not be compared.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from east_core.config import HarnessTask
from east_core.errors import DataError
from east_core.evaluation.scores import ScoreTotals, scores_as_facts
from east_core.protocols import Harness, HarnessJob, HarnessResult, Sampler
from east_core.records import Prediction, Question
from east_core.runs import addresses
from east_core.runs.addresses import PREDICTIONS_FILE, QUESTIONS_FILE, TASK_FILE
from east_core.runs.prompts import prompt_format
from east_core.runs.run import Run, checkpoint, checkpoint_record
from east_core.store import ArtifactRecord, Stage, materialize
from east_core.tables import read_table, write_table


def harness_tasks(run: Run) -> dict[str, HarnessTask]:
    """Those of the run's benchmarks that are a harness's tasks, by name."""
    named = run.config.benchmarks.items()
    return {name: each for name, each in named if isinstance(each, HarnessTask)}


def freeze_tasks(run: Run, harness: Harness) -> list[ArtifactRecord]:
    """Record what each task asks, and how it grades. Raises ConfigError where it can't be had."""
    return [_freeze(run, name, task, harness) for name, task in harness_tasks(run).items()]


def _freeze(run: Run, name: str, task: HarnessTask, harness: Harness) -> ArtifactRecord:
    def build(folder: Path) -> dict[str, Any]:
        found = harness.survey(task)
        count = write_table(folder / QUESTIONS_FILE, Question, found.questions)
        (folder / TASK_FILE).write_text(_written(found.task), "utf-8")
        return {"questions": count, "metric": found.metric, **_versions(found)}

    stage = Stage(run.at.benchmark(name), addresses.QUESTIONS, recipe={"harness": task.asked()})
    return materialize(run.store, stage, build)


def score_task(
    run: Run, number: int, benchmark: str, harness: Harness, sampler: Sampler
) -> ArtifactRecord:
    """Score checkpoint `number` on a benchmark that is a harness's task.

    The sampler gives the device away for it.
    """
    frozen, task = run.record(run.at.benchmark(benchmark)), harness_tasks(run)[benchmark]

    def build(folder: Path) -> dict[str, Any]:
        sampler.release()
        scored = harness.score(
            HarnessJob(
                task=task,
                metric=str(frozen.facts["metric"]),
                model=checkpoint(run, number),
                prompt=prompt_format(run),
                resources=run.config.resources,
                max_context=run.config.sampling.max_context,
            )
        )
        _require_frozen(run, benchmark, frozen, scored)
        totals = ScoreTotals()
        write_table(folder / PREDICTIONS_FILE, Prediction, totals.counting(scored.predictions))
        scores = totals.scores(run.config.evaluation.confidence)
        how = {**_versions(scored), **scored.setup, "metric": scored.metric}
        return {**scores_as_facts(scores), "harness": how}

    return materialize(run.store, task_scoring_stage(run, number, benchmark), build)


def task_scoring_stage(run: Run, number: int, benchmark: str) -> Stage:
    """What identifies the scores of checkpoint `number` on a harness's task."""
    task = harness_tasks(run)[benchmark]
    form = prompt_format(run).identity() if task.apply_chat_template else {}
    return Stage(
        run.at.scores(number, benchmark),
        addresses.SCORES,
        recipe={
            "harness": task.asked(),
            "confidence": run.config.evaluation.confidence,
            **({"prompt": form} if form else {}),
        },
        inputs={
            "model": checkpoint_record(run, number),
            "questions": run.record(run.at.benchmark(benchmark)),
        },
    )


def _require_frozen(
    run: Run, benchmark: str, frozen: ArtifactRecord, scored: HarnessResult
) -> None:
    """Refuse a harness, a task or data other than those that the run began with."""
    folder = run.store.fetch(frozen)
    began = json.loads((folder / TASK_FILE).read_text("utf-8"))
    now = json.loads(_written(scored.task))
    if changed := sorted(name for name in began | now if began.get(name) != now.get(name)):
        versions = " and ".join(f"lm_eval {each.get('lm_eval')}" for each in (began, now))
        raise DataError(
            f"benchmark {benchmark}: the task's {', '.join(changed)} changed since the run began "
            f"({versions}); go on with the harness that it began with, or begin a run anew"
        )
    asked = [question.id for question in read_table(folder / QUESTIONS_FILE, Question)]
    if asked != [row.question_id for row in scored.predictions]:
        raise DataError(
            f"benchmark {benchmark}: lm_eval asked {len(scored.predictions)} questions that are "
            f"not the {len(asked)} with which the run began; has the task's data set changed?"
        )


def _versions(found: HarnessResult) -> Mapping[str, Any]:
    return {"lm_eval": found.task["lm_eval"], "task_version": found.task["version"]}


def _written(task: Mapping[str, Any]) -> str:
    return json.dumps(task, indent=2, sort_keys=True)
