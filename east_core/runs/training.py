"""The checkpoint of a round: trained on its examples."""

import dataclasses
from pathlib import Path
from typing import Any

from east_core.config import RunConfig, SftRecipe, Training
from east_core.errors import NothingToLearn
from east_core.inputs.adapters import is_adapter, make_whole
from east_core.protocols import Sampler, Trainer, TrainingJob
from east_core.runs import addresses
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.averaging import average_in_place
from east_core.runs.best import source
from east_core.runs.prompts import prompt_format
from east_core.runs.run import Run, checkpoint, checkpoint_record
from east_core.seeds import derive_seed
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
    work_folder,
)


def train(run: Run, number: int, sampler: Sampler, trainer: Trainer) -> ArtifactRecord:
    """Train checkpoint `number` on the round's examples, and average it where that is asked for.

    Raises NothingToLearn where there are fewer examples than one global batch.
    """
    config = run.config
    examples = run.record(run.at.examples(number))
    _require_a_batch(config, number, examples)
    start = 0 if config.start_from == "base" else source(run, number)
    inputs = {"examples": examples, "model": checkpoint_record(run, start)}
    reference = _reference_number(config.training, source(run, number))
    if reference is not None:
        inputs["reference"] = checkpoint_record(run, reference)
    earlier = _averaged_with(run, number)
    if earlier is not None:
        inputs["averaged with"] = checkpoint_record(run, earlier)
    seed, form = derive_seed(config.seed, "train", number), prompt_format(run)

    def build(folder: Path) -> dict[str, Any]:
        job = TrainingJob(
            model=checkpoint(run, start),
            reference=None if reference is None else checkpoint(run, reference),
            examples=[run.store.fetch(examples) / EXAMPLES_FILE],
            recipe=config.training,
            system_prompt=config.sampling.system_prompt,
            prompt=form,
            seed=seed,
            resources=config.resources,
            scratch=work_folder(folder),
            stop_token_ids=config.sampling.stop_token_ids,
            has_mean_one=config.weighting.has_mean_one,
        )
        sampler.release()
        facts = dataclasses.asdict(trainer.train(job, folder))
        if config.averaging is not None and earlier is not None:
            make_whole(folder, job.model.folder)
            models = {number: folder, earlier: checkpoint(run, earlier).folder}
            average_in_place(models, number, config.averaging.weight)
        # an adapter is a model only together with what it was trained from
        return {**facts, "adapter_of": inputs["model"].content} if is_adapter(folder) else facts

    stage = Stage(
        run.at.checkpoint(number),
        addresses.CHECKPOINT,
        recipe={
            "training": config.training.identity(),
            "system_prompt": config.sampling.system_prompt,
            "seed": seed,
            **({"prompt": form.identity()} if form.identity() else {}),
            **({} if config.weighting.has_mean_one else {"weights": "as released"}),
            **({} if config.averaging is None else {"averaging": config.averaging.identity()}),
        },
        inputs=inputs,
    )
    return materialize(run.store, stage, build)


def _averaged_with(run: Run, number: int) -> int | None:
    """Which checkpoint the trained one is averaged with; None where it stays as it is."""
    averaging = run.config.averaging
    if averaging is None:
        return None
    return 0 if averaging.earlier == "base" else source(run, number)


def _reference_number(recipe: Training, sampled_from: int) -> int | None:
    """Which checkpoint DPO and KTO are held to; None for SFT."""
    if isinstance(recipe, SftRecipe):
        return None
    return sampled_from if recipe.reference == "previous" else 0


def _require_a_batch(config: RunConfig, number: int, examples: ArtifactRecord) -> None:
    count, batch = int(str(examples.facts["examples"])), config.training.global_batch_size
    if count < batch:
        raise NothingToLearn(
            f"round {number}: {count} training examples are fewer than one global batch of "
            f"{batch}; sample more completions a question, use easier or more questions, or lower "
            "training.global_batch_size"
        )
