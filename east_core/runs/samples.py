"""The samples of a round: completions of the training questions, in shards."""

import collections
import dataclasses
import functools
import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from east_core.answers.grading import Grader
from east_core.config import SamplingRecipe
from east_core.errors import ArtifactDamaged
from east_core.protocols import GenerationSettings, Sampler
from east_core.records import Question, SampledQuestion
from east_core.runs import addresses
from east_core.runs.adaptive import AdaptiveSampling
from east_core.runs.addresses import SAMPLES_FILE, SHARDS_FILE
from east_core.runs.best import source
from east_core.runs.prompts import engine_recipe, prompt_format
from east_core.runs.reading import reading_identity, thinking_limits, thinking_of
from east_core.runs.room import with_room
from east_core.runs.run import Run, checkpoint, checkpoint_record
from east_core.runs.shards import questions_by_shard, shard_bounds
from east_core.seeds import derive_seed
from east_core.store import (
    ArtifactRecord,
    Stage,
    existing,
    materialize,
)
from east_core.tables import write_table


def sample(run: Run, number: int, sampler: Sampler) -> ArtifactRecord:
    """Sample completions of every training question from the checkpoint before the round.

    Shard by shard: a shard that is recorded is not sampled again, and one that was deleted since
    (because it was damaged) is. The artifact lists its shards in question order, whatever their
    size, so a resume may use another shard size.
    """
    stage = sampling_stage(run, number)
    done = existing(run.store, stage)
    bounds = (
        shard_bounds(run, run.record(run.at.questions))
        if done is None
        else _missing_shards(run, done)
    )
    shards = _sample_shards(run, number, sampler, [(_shard(stage, each), each) for each in bounds])
    if done is not None:
        return done
    build = functools.partial(_write_index, shards)
    return materialize(run.store, stage, build)


def _missing_shards(run: Run, samples: ArtifactRecord) -> list[range]:
    """The bounds of the shards that recorded samples list, and that are not there any more.

    Only of shards of their own: those that were taken over from another run stay that run's.
    """
    own, there = f"{samples.address}/", set(run.store.addresses(samples.address))
    lost = [
        shard for shard in _listed(run, samples) if shard.startswith(own) and shard not in there
    ]
    return [addresses.shard_questions(shard) for shard in lost]


def sampling_stage(run: Run, number: int) -> Stage:
    """What identifies the samples of round `number`."""
    return Stage(
        run.at.samples(number),
        addresses.SAMPLES,
        recipe=sampling_settings(run, number).identity()
        | _adaptive_identity(run)
        | engine_recipe(run),
        inputs={
            "questions": run.record(run.at.questions),
            "model": checkpoint_record(run, source(run, number)),
        },
    )


def _adaptive_identity(run: Run) -> dict[str, Any]:
    """What adaptive sampling adds to a recipe: its settings, and which answers it looks at."""
    recipe = run.config.sampling.adaptive
    if recipe is None:
        return {}
    asked = {"adaptive": recipe.model_dump(), "is_labelled": run.config.label_free is None}
    return asked | reading_identity(run)


def _shard(samples: Stage, bounds: range) -> Stage:
    """The shard of the samples that holds the questions numbered `bounds`."""
    first, last = bounds.start, bounds.stop - 1
    address = addresses.shard_address(samples.address, bounds)
    recipe = {**samples.recipe, "first": first, "last": last}
    return dataclasses.replace(samples, address=address, recipe=recipe)


def sampling_settings(run: Run, number: int) -> GenerationSettings:
    """How the completions of round `number` are generated."""
    recipe = run.config.sampling
    return GenerationSettings(
        samples_per_question=recipe.samples_per_question,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        max_tokens=recipe.max_tokens,
        system_prompt=recipe.system_prompt,
        stop=recipe.stop,
        seed=derive_seed(run.config.seed, "sample", number),
        top_k=recipe.top_k,
        min_p=recipe.min_p,
        repetition_penalty=recipe.repetition_penalty,
        stop_token_ids=recipe.stop_token_ids,
        max_context=recipe.max_context,
        prompt=prompt_format(run),
        logprobs=keeps_logprobs(run),
        **thinking_limits(recipe),
    )


def keeps_logprobs(run: Run) -> bool:
    """Whether the samples of `run` have log-probabilities: asked for, or needed."""
    return run.config.sampling.logprobs or run.config.weighting.needs_perplexity


def _sample_shards(
    run: Run, number: int, sampler: Sampler, shards: Sequence[tuple[Stage, range]]
) -> list[ArtifactRecord]:
    """The shards' records in question order; only those that are missing are sampled."""
    missing = [shard for shard in shards if existing(run.store, shard[0]) is None]
    if missing:
        sampled = _sampled_shards(run, number, sampler, [bounds for _, bounds in missing])
        stream = zip([shard for shard, _ in missing], sampled, strict=True)
        for shard, _ in missing:
            _publish_next(run, shard, stream)
        collections.deque(stream, maxlen=0)  # lets the sampler finish its stage
    return [run.store.require(shard.address) for shard, _ in shards]


def _sampled_shards(
    run: Run, number: int, sampler: Sampler, bounds: Sequence[range]
) -> Iterator[list[SampledQuestion]]:
    """Each shard's completions in order, in one go, or in steps where sampling is adaptive."""
    shards = questions_by_shard(run, run.record(run.at.questions), bounds)
    model, settings = (
        checkpoint(run, source(run, number)),
        with_room(run, sampling_settings(run, number)),
    )
    recipe, resources = run.config.sampling.adaptive, run.config.resources
    if recipe is None:
        yield from sampler.sample(model, shards, settings, sum(map(len, bounds)))
        return

    def draw(
        asked: Sequence[Sequence[Question]], step: GenerationSettings
    ) -> Iterator[list[SampledQuestion]]:
        return sampler.sample(model, asked, step, sum(map(len, asked)))

    with Grader(processes=resources.grader_processes) as grader:
        adaptive = AdaptiveSampling(
            draw,
            recipe,
            grader,
            is_labelled=run.config.label_free is None,
            policy=run.config.training.answer_policy,
            thinking=thinking_of(run),
            grading=run.config.questions.grading,
        )
        at_once = 1 if resources.engines == "auto" else resources.engines
        while together := list(itertools.islice(shards, at_once)):
            yield from adaptive.sample(together, settings)


def _publish_next(
    run: Run, shard: Stage, stream: Iterator[tuple[Stage, list[SampledQuestion]]]
) -> None:
    """Wait for a shard's completions inside its build, so that its record tells the time."""
    recipe = run.config.sampling

    def build(folder: Path) -> dict[str, int]:
        # a shard before this one may not have been built now, but published from a killed build
        completions = next(sampled for owner, sampled in stream if owner.address == shard.address)
        return _write_samples(folder, completions, recipe)

    materialize(run.store, shard, build)


def _write_samples(
    folder: Path, sampled: Sequence[SampledQuestion], recipe: SamplingRecipe
) -> dict[str, int]:
    """Write a shard; its facts can be summed over shards."""
    completions = [completion for item in sampled for completion in item.completions]
    facts = {
        "questions": write_table(folder / SAMPLES_FILE, SampledQuestion, sampled),
        "completions": len(completions),
        "tokens": sum(completion.token_count for completion in completions),
        "truncated": sum(completion.finish_reason == "length" for completion in completions),
    }
    if recipe.adaptive is not None:
        facts["tokens_saved"] = _tokens_saved(sampled, recipe.samples_per_question)
    return facts


def _tokens_saved(sampled: Sequence[SampledQuestion], most: int) -> int:
    """What the completions left out would have taken, each as long as its question's mean."""
    return round(
        sum(
            statistics.fmean(completion.token_count for completion in item.completions)
            * (most - len(item.completions))
            for item in sampled
        )
    )


def _write_index(shards: Sequence[ArtifactRecord], folder: Path) -> dict[str, Any]:
    """List the shards with their contents, and return the sums of their facts."""
    index = {shard.address: shard.content for shard in shards}
    (folder / SHARDS_FILE).write_text(json.dumps(index, indent=2))
    facts: list[Mapping[str, Any]] = [shard.facts for shard in shards]
    sums = {name: sum(fact[name] for fact in facts) for name in facts[0]}
    if "tokens_saved" in sums:
        sums["mean_samples"] = sums["completions"] / sums["questions"]
    return sums


def sample_files(run: Run, samples: ArtifactRecord) -> list[Path]:
    """The local sample files of a round, in question order.

    Raises ArtifactDamaged where a shard was made again and came out otherwise (as on GPUs it may).
    """
    files = []
    for address, content in _listed(run, samples).items():
        shard = run.store.require(address)
        if shard.content != content:
            raise ArtifactDamaged(
                f"{address} was made again, and is not what {samples.address} was made of; delete "
                f"the address {samples.address} and what was made from it, and run again"
            )
        files.append(run.store.fetch(shard) / SAMPLES_FILE)
    return files


def _listed(run: Run, samples: ArtifactRecord) -> dict[str, str]:
    """The contents of a round's shards by their addresses, in question order."""
    shards: dict[str, str] = json.loads((run.store.fetch(samples) / SHARDS_FILE).read_text())
    return shards
