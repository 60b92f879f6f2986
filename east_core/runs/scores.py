"""The scores of a checkpoint on a benchmark of our own: questions that our engines answer."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from east_core.answers.clustering import cluster_all
from east_core.answers.grading import Grader
from east_core.config import DatasetConfig
from east_core.evaluation.scores import ScoreTotals, grade, scores_as_facts
from east_core.protocols import GenerationSettings, Sampler
from east_core.records import AnswerClusters, Completion, Prediction, Question, SampledQuestion
from east_core.runs import addresses
from east_core.runs.addresses import PREDICTIONS_FILE, QUESTIONS_FILE, SAMPLES_FILE, VOTES_FILE
from east_core.runs.earlier import earlier_with_same_outcome, scores_outcome
from east_core.runs.harness_tasks import harness_tasks, task_scoring_stage
from east_core.runs.prompts import engine_recipe, prompt_format
from east_core.runs.reading import (
    grading_identity,
    thinking_identity,
    thinking_limits,
    thinking_of,
)
from east_core.runs.room import with_room
from east_core.runs.run import Run, checkpoint, checkpoint_record
from east_core.runs.shards import questions_by_shard, shard_bounds
from east_core.seeds import derive_seed
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.tables import read_table, write_table

THINKING = ("thinking_budget", "thinking_end")


def score(run: Run, number: int, benchmark: str, sampler: Sampler) -> ArtifactRecord:
    """Score checkpoint `number` on a benchmark: by greedy completions, samples, or both."""
    questions = run.record(run.at.benchmark(benchmark))
    greedy, extra = _scoring_settings(run, number, benchmark)

    def answers(settings: GenerationSettings) -> Iterator[SampledQuestion]:
        bounds = shard_bounds(run, questions)
        shards, total = questions_by_shard(run, questions, bounds), sum(map(len, bounds))
        answered = sampler.sample(checkpoint(run, number), shards, with_room(run, settings), total)
        return itertools.chain.from_iterable(answered)

    def build(folder: Path) -> dict[str, Any]:
        if run.config.evaluation.mode == "sampled":
            assert extra is not None, "EvaluationRecipe sees to it"
            return _graded_samples(run, benchmark, folder, answers(extra))
        more = None if extra is None else lambda: answers(extra)
        return _graded(run, benchmark, folder, answers(greedy), more)

    def score_again(record: ArtifactRecord, folder: Path) -> dict[str, Any]:
        made = run.store.fetch(record)
        samples = functools.partial(read_table, made / SAMPLES_FILE, SampledQuestion)
        answered = _answered(run, questions, made)
        return _graded(run, benchmark, folder, answered, None if extra is None else samples)

    stage = scoring_stage(run, number, benchmark)
    earlier = earlier_with_same_outcome(run, stage, 2, score_again, scores_outcome)
    return earlier or materialize(run.store, stage, build)


def _answered(run: Run, questions: ArtifactRecord, made: Path) -> Iterator[SampledQuestion]:
    """The greedy completions of scores that are there already."""
    asked = read_table(run.store.fetch(questions) / QUESTIONS_FILE, Question)
    for question, given in zip(asked, read_table(made / PREDICTIONS_FILE, Prediction), strict=True):
        completion = Completion(given.completion, given.finish_reason, given.token_count)
        yield SampledQuestion(question, (completion,))


def _graded(
    run: Run,
    benchmark: str,
    folder: Path,
    greedy: Iterable[SampledQuestion],
    extra: Callable[[], Iterable[SampledQuestion]] | None,
) -> dict[str, Any]:
    """Grade the completions into `folder`, and return the scores as facts."""
    evaluation = run.config.evaluation
    totals, policy, thinking = ScoreTotals(), evaluation.answer_policy, thinking_of(run)
    grading = _questions(run, benchmark).grading
    with Grader(processes=run.config.resources.grader_processes) as grader:
        rows = totals.counting(grade(greedy, grader, policy, thinking, grading))
        write_table(folder / PREDICTIONS_FILE, Prediction, rows)
        if extra is not None:
            write_table(folder / SAMPLES_FILE, SampledQuestion, extra())
            sampled, copies = itertools.tee(read_table(folder / SAMPLES_FILE, SampledQuestion))
            clusters = cluster_all(copies, grader, policy, thinking, grading)
            votes = totals.counting_samples(
                zip((s.question for s in sampled), clusters, strict=True)
            )
            write_table(folder / VOTES_FILE, AnswerClusters, votes)
    return scores_as_facts(totals.scores(evaluation.confidence))


def _graded_samples(
    run: Run, benchmark: str, folder: Path, answered: Iterable[SampledQuestion]
) -> dict[str, Any]:
    """Grade the samples into `folder`, and return the scores, which are means over them."""
    evaluation = run.config.evaluation
    totals = ScoreTotals(evaluation.samples_per_question)
    write_table(folder / SAMPLES_FILE, SampledQuestion, answered)

    def samples() -> Iterator[SampledQuestion]:
        return read_table(folder / SAMPLES_FILE, SampledQuestion)

    with Grader(processes=run.config.resources.grader_processes) as grader:
        clusters = cluster_all(
            samples(),
            grader,
            evaluation.answer_policy,
            thinking_of(run),
            _questions(run, benchmark).grading,
        )
        questions = (each.question for each in samples())
        votes = totals.counting_samples(zip(questions, clusters, strict=True))
        write_table(folder / VOTES_FILE, AnswerClusters, votes)
    graded = zip(samples(), read_table(folder / VOTES_FILE, AnswerClusters), strict=True)
    write_table(folder / PREDICTIONS_FILE, Prediction, totals.counting_sampled(graded))
    return scores_as_facts(totals.scores(evaluation.confidence))


def scoring_stage(run: Run, number: int, benchmark: str) -> Stage:
    """What identifies the scores of checkpoint `number` on a benchmark, of whatever kind."""
    if benchmark in harness_tasks(run):
        return task_scoring_stage(run, number, benchmark)
    greedy, extra = _scoring_settings(run, number, benchmark)
    return Stage(
        run.at.scores(number, benchmark),
        addresses.SCORES,
        recipe={
            "evaluation": run.config.evaluation.identity(),
            "system_prompt": greedy.system_prompt,
            "stop": list(greedy.stop),
            "samples_seed": None if extra is None else extra.seed,
            **thinking_identity(run),
            **grading_identity(_questions(run, benchmark)),
            **_used(greedy, "stop_token_ids", "max_context", "prompt", *THINKING),
            **engine_recipe(run),
        },
        inputs={
            "model": checkpoint_record(run, number),
            "questions": run.record(run.at.benchmark(benchmark)),
        },
        revision=3,  # which answers are equal
    )


def _questions(run: Run, benchmark: str) -> DatasetConfig:
    """The settings of a benchmark of our own."""
    questions = run.config.benchmarks[benchmark]
    assert isinstance(questions, DatasetConfig)
    return questions


def _used(settings: GenerationSettings, *names: str) -> dict[str, Any]:
    """Those of the settings that are used: a recipe without them stays what it was."""
    identity = settings.identity()
    return {name: identity[name] for name in names if name in identity}


def _scoring_settings(
    run: Run, number: int, benchmark: str
) -> tuple[GenerationSettings, GenerationSettings | None]:
    """How the greedy completions and the extra samples are generated; None: no extra samples."""
    recipe = run.config.evaluation
    greedy = GenerationSettings(
        samples_per_question=1,
        temperature=0.0,
        top_p=1.0,
        max_tokens=recipe.max_tokens,
        system_prompt=run.config.sampling.system_prompt,
        stop=run.config.sampling.stop,
        seed=0,
        stop_token_ids=run.config.sampling.stop_token_ids,
        max_context=run.config.sampling.max_context,
        prompt=prompt_format(run),
        **thinking_limits(run.config.sampling),
    )
    if not recipe.samples_per_question:
        return greedy, None
    return greedy, dataclasses.replace(
        greedy,
        samples_per_question=recipe.samples_per_question,
        temperature=recipe.temperature,
        seed=derive_seed(run.config.seed, "score", benchmark, number),
    )
