"""`east check`: everything about a run that can be verified without computing."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from east_core.answers.gold import GoldTrials, described
from east_core.answers.grading import Grader
from east_core.config import DatasetConfig, Replay, Resources, RunConfig, SamplingRecipe
from east_core.engine_python import engines_told
from east_core.engines.devices import device_of, require_means
from east_core.engines.lm_eval.harness import LmEval
from east_core.errors import ConfigError
from east_core.inputs import base_models as base_model
from east_core.inputs.context import context_needed
from east_core.inputs.decontamination import BenchmarkQuestions, told
from east_core.inputs.mixtures import TrainingQuestions
from east_core.inputs.questions import WithGold
from east_core.inputs.solutions import load_solutions
from east_core.inputs.templates import asks_for_date, template_of
from east_core.protocols import HarnessResult, PromptFormat
from east_core.records import Question
from east_core.runs.averaging import require_averageable
from east_core.runs.harness_tasks import harness_tasks
from east_core.runs.prompts import prompt_format, today
from east_core.runs.room import longest_answer, room_for
from east_core.runs.run import Run
from east_core.store import Store

if TYPE_CHECKING:
    from east_core.inputs.inspection import InspectedModel, ModelFacts

LISTED = 5
TRIED = 10


def check_run(config: RunConfig) -> Iterator[str]:
    """One line for each thing that was verified; the first that fails raises its EastError."""
    require_means(config.resources)
    yield f"settings   ok: run {config.name!r}, {config.rounds} rounds, {_batch(config)}"
    yield f"engines    ok: {engines_told()}"
    if _shards_nothing(config.resources):
        yield "ranks      ok: one, with nothing to shard: resources.zero_stage = 0 is faster"
    if config.resources.ray is not None:
        from east_core.engines.ray.cluster import cluster_facts

        yield f"cluster    ok: {cluster_facts(config.resources.ray)}"
    store = Store(config.store)
    yield f"store      ok: {store.check_writable()}"
    folder = base_model.locate_model(config.model, store.cache)
    base_model.check_model_folder(folder, config.model)
    if config.averaging is not None:
        require_averageable(folder)
        kept = f"{config.averaging.weight:g} of {config.averaging.earlier}"
        yield f"averaging  ok: each round's checkpoint keeps {kept}"
    model = _inspected(config, store, folder)
    yield from _check_model(config, model.facts)
    if asks_for_date(template_of(folder, config.model.chat_template)):
        yield f"date       ok: the template writes today's date; prompts say {_date(config, store)}"
    with Grader(processes=config.resources.grader_processes) as grader:
        for name, each in config.questions.named.items():
            named = f"{name}: " if name else ""
            yield f"questions  ok: {named}{_check_questions(each, grader)}"
        yield from _check_own_benchmarks(config, grader)
    surveyed = {}
    for name, task in harness_tasks(Run(config, store)).items():
        surveyed[name] = LmEval(on_line=lambda _: None).survey(task)
        yield f"benchmark  ok: {name}: {_surveyed(task.task, surveyed[name])}"
    count, line, sets = _check_overlaps(config, surveyed)
    yield f"overlap    ok: {line}"
    if sets is not None:
        yield f"mixture    ok: {sets}"
    if config.replay is not None:
        yield f"replay     ok: {_replay(config.replay)}"
    yield f"context    ok: {_check_context(config, store, model)}"
    _check_sizes(config, count)
    yield f"sizes      ok: {count} questions x {config.sampling.samples_per_question} samples"


def _batch(config: RunConfig) -> str:
    resources = config.resources
    return (
        f"batch {config.training.global_batch_size} = {resources.processes} processes x "
        f"{resources.micro_batch_size} x {config.accumulation_steps} accumulated"
    )


def _shards_nothing(resources: Resources) -> bool:
    """Whether ZeRO costs a lone GPU its time for nothing: 1.6 times, docs/training.md."""
    needed = resources.offload != "none" or resources.deepspeed_config is not None
    is_alone = resources.processes == 1 and resources.zero_stage > 0
    return is_alone and not needed and device_of(resources) == "cuda"


def _inspected(config: RunConfig, store: Store, folder: Path) -> "InspectedModel":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from east_core.inputs.inspection import inspect_model

    return inspect_model(folder, config.model, config.sampling.system_prompt, _form(config, store))


def _form(config: RunConfig, store: Store) -> PromptFormat:
    """How prompts are rendered by the run, or would be if it began today."""
    return dataclasses.replace(prompt_format(Run(config, store)), date=_date(config, store))


def _date(config: RunConfig, store: Store) -> str:
    """The date that the run began with, or would begin with today."""
    pinned = prompt_format(Run(config, store)).date
    return pinned or config.model.template_date or today().isoformat()


def _check_model(config: RunConfig, facts: "ModelFacts") -> Iterator[str]:
    """What is values of the model; raises ConfigError where it would not stop, or not fit."""
    yield f"model      ok: {config.model.name}: {facts.architecture}, {_rendering(config)}"
    yield f"tokenizer  ok: {facts.vocabulary} tokens; text comes back, ids are tokenizer.json's"
    yield f"turn       ok: {_turn(config, facts)}"
    yield f"generation ok: {_generation(config.sampling, facts)}"


def _rendering(config: RunConfig) -> str:
    """How the system prompt is given."""
    if config.sampling.system_prompt is None:
        return "no system prompt"
    if config.model.system_prompt_in == "user":
        return "system prompt in front of the question"
    return "system prompt in its system role"


def _turn(config: RunConfig, facts: "ModelFacts") -> str:
    """What ends an answer; raises ConfigError where the engine would go on behind it."""
    sampling, stops = config.sampling, ", ".join(facts.stops.values())
    if facts.turn_end is None:
        return f"the template ends no turn; sampling stops at {stops}"
    end, token = facts.turn_end
    if not (end in facts.stops or end in sampling.stop_token_ids or token in sampling.stop):
        raise ConfigError(
            f"model {config.model.name}: its template ends a turn with {token}, at which sampling "
            f"does not stop (it stops at {stops}); set sampling.stop_token_ids to [{end}]"
        )
    return f"ends in {token}; sampling stops at {stops}"


def _generation(sampling: SamplingRecipe, facts: "ModelFacts") -> str:
    """Our settings beside the makers': theirs are a choice, and never mixed in."""
    ours = {name: getattr(sampling, name) for name in facts.recommended}
    if ours == facts.recommended:
        return "as the model's makers recommend" if ours else "the makers recommend nothing"
    theirs = ", ".join(f"{name} = {value:g}" for name, value in facts.recommended.items())
    values = ", ".join(f"{name} = {value:g}" for name, value in ours.items())
    is_open = not sampling.model_fields_set & set(facts.recommended)
    advice = "; to sample as they do, set it under sampling" if is_open else ""
    return f"{values} (ours); the model's makers recommend {theirs}{advice}"


def _check_context(config: RunConfig, store: Store, model: "InspectedModel") -> str:
    """What the longest prompt needs, and how many prompts leave no room for max_tokens."""
    sampling, form = config.sampling, _form(config, store)
    lengths = list(model.prompt_lengths(_prompts(config), sampling.system_prompt, form))
    most = longest_answer(config)
    asked = sampling.max_context or _room(config, store)
    values = context_needed(lengths, most, asked, model.facts.context)
    if values.is_full:
        raise ConfigError(
            f"all {len(lengths)} prompts leave no room for {most} tokens in a context of "
            f"{values.limit}; lower sampling.max_tokens, or raise sampling.max_context"
        )
    return values.line


def _room(config: RunConfig, store: Store) -> int:
    """What the run will ask its engines for, where no limit is set."""
    longest = max((len(prompt.encode()) for prompt in _prompts(config)), default=0)
    return room_for(Run(config, store), longest)


def _prompts(config: RunConfig) -> Iterator[str]:
    """All questions that the run will sample, of training and benchmarks."""
    for each in (*config.questions.named.values(), *_own_benchmarks(config).values()):
        yield from (question.prompt for question in WithGold(each))


def _check_questions(config: DatasetConfig, grader: Grader) -> str:
    """How many questions there are, and those with a gold answer of no use."""
    count, rows = 0, WithGold(config)
    by_spelling: list[str] = []
    shown: list[str] = []
    config.grading.prepare()
    for question, trial in GoldTrials(config.path, config.grading, grader).of(rows):
        count += 1
        if not trial.is_accepted:
            by_spelling.append(question.id)
        if trial.said and len(shown) < TRIED:
            shown.append(f"  {described(question, trial)}")
    line = f"{config.path}: {count} questions"
    line += _listed(rows.without, "left out, their solutions have no final answer")
    line += _listed(rows.several, "box several answers in their solution, only the last one counts")
    line += _listed(by_spelling, "have gold answers that are compared by spelling alone")
    return "\n".join([line, *shown])


def _check_own_benchmarks(config: RunConfig, grader: Grader) -> Iterator[str]:
    own = _own_benchmarks(config)
    for name, benchmark in own.items():
        yield f"benchmark  ok: {name}: {_check_questions(benchmark, grader)}"
    if own and not config.evaluation.samples_per_question:
        yield "scores     ok: greedy only; evaluation.samples_per_question = 8 adds pass@k, maj@k"


def _own_benchmarks(config: RunConfig) -> dict[str, DatasetConfig]:
    """The benchmarks that our engines answer."""
    named = config.benchmarks.items()
    return {name: each for name, each in named if isinstance(each, DatasetConfig)}


def _surveyed(task: str, found: HarnessResult) -> str:
    """What a task of lm-evaluation-harness asks, and which of its outcomes counts."""
    of_harness = f"lm_eval {found.task['lm_eval']}, task {task} {found.task['version']}"
    return f"{of_harness}: {len(found.questions)} questions, right by {found.metric}"


def _check_overlaps(
    config: RunConfig,
    surveyed: Mapping[str, HarnessResult] = {},
) -> tuple[int, str, str | None]:
    """The number of questions that are trained on, those that stand in a benchmark, the sets."""
    benchmarks: dict[str, Iterable[Question]] = {
        **{name: WithGold(each) for name, each in _own_benchmarks(config).items()},
        **{name: found.questions for name, found in surveyed.items()},
    }
    rows = TrainingQuestions(config.questions, BenchmarkQuestions(benchmarks))
    count = sum(1 for _ in rows)
    line = told(rows.found, config.questions.decontaminate, LISTED)
    return count, line, _mixture(rows.sizes) if rows.sizes else None


def _replay(replay: Replay) -> str:
    """What is replayed; raises DataError where solutions can't be read."""
    each = f"{replay.share:.1%} of each round's examples"
    if replay.path is None:
        return f"{each}, from the second round on, are earlier rounds'"
    count = sum(1 for _ in load_solutions(replay.path))
    return f"{each} are of the {count} solutions in {replay.path}"


def _mixture(sizes: Mapping[str, tuple[int, int]]) -> str:
    """How many questions each set gives, of those that it has."""
    total = sum(given for given, _ in sizes.values())
    sets = (
        f"{name} {given} of its {available} ({given / total:.1%})"
        for name, (given, available) in sizes.items()
    )
    return f"{total} questions: {', '.join(sets)}"


def _listed(ids: list[str], what: str) -> str:
    more = ", ..." if len(ids) > LISTED else ""
    return f"; {len(ids)} {what}: {', '.join(ids[:LISTED])}{more}" if ids else ""


def _check_sizes(config: RunConfig, questions: int) -> None:
    if questions < config.training.global_batch_size:
        raise ConfigError(
            f"{questions} questions can never fill one global batch of "
            f"{config.training.global_batch_size}; add questions or lower "
            "training.global_batch_size"
        )
