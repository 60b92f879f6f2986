"""The stages of a run: what each is made of, where its artifact lives, and how it is built.

    {run}/config                       the run's settings; claims the address for this run
    {run}/questions                    the training questions, frozen at the run's start
    {run}/benchmarks/{name}            the test questions, likewise
    {run}/base-model                   which files the base model consists of (not the weights)
    {run}/round-00/scores/{name}       the base model's scores
    {run}/round-01/samples             completions of the questions by checkpoint 0, in shards
    {run}/round-01/weights             clusters, entropy and weight of every question
    {run}/round-01/examples            what is trained on
    {run}/round-01/checkpoint          the trained model
    {run}/round-01/scores/{name}       its scores
    {run}/round-01/report              the curves so far: accuracy, entropy, kept, loss

Round r samples from checkpoint r-1, trains checkpoint r and scores it. Every stage goes through
`materialize`: what is recorded is returned, what is missing is built from what is recorded.
A stage's revision is bumped by hand when its code changes what it makes.
"""

import collections
import dataclasses
import functools
import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core import base_model, figures
from east_core.adaptive import AdaptiveSampling
from east_core.artifacts import (
    ArtifactRecord,
    Stage,
    Store,
    existing,
    materialize,
    work_folder,
)
from east_core.clustering import cluster_all
from east_core.config import DatasetConfig, RunConfig, SamplingRecipe, SftRecipe, Training
from east_core.datasets import WithGold
from east_core.errors import ArtifactDamaged, NothingToLearn
from east_core.evaluation import Tally, grade, scores_as_facts
from east_core.examples import build_examples, example_type, survey_examples
from east_core.figures_entropy import draw_entropy_figure
from east_core.grading import Grader
from east_core.manifest import LOGS
from east_core.records import AnswerClusters, Prediction, Question, SampledQuestion
from east_core.report import (
    OVERHEAD_LOG,
    Lap,
    curves,
    overhead_seconds,
    summarise,
    training_losses,
)
from east_core.sampler import GenerationSettings, ModelSource, Sampler
from east_core.seeds import derive_seed
from east_core.tables import read_table, read_tables, write_table
from east_core.trainer import Trainer, TrainingJob
from east_core.weighing import Judge, Rules, WeighedQuestion, judge_here, weigh_samples

QUESTIONS, SAMPLES, EXAMPLES = "questions.parquet", "samples.parquet", "examples.parquet"
SHARDS, WEIGHTS = "shards.json", "weights"
PREDICTIONS, VOTES = "predictions.parquet", "votes.parquet"
CURVE, MAP = "accuracy.png", "questions.png"


@dataclass(frozen=True)
class Run:
    """A run's settings and its store: all that a stage needs to find what came before it."""

    config: RunConfig
    store: Store

    @classmethod
    def open(cls, config: RunConfig) -> "Run":
        """The run that `config` describes, in the store that it names."""
        return cls(config, Store(config.store))

    def address(self, *parts: str) -> str:
        """An address of this run, such as "demo/round-02/samples"."""
        return "/".join([self.config.name, *parts])

    def record(self, *parts: str) -> ArtifactRecord:
        """The record of an earlier stage. Raises StoreError where it is not there."""
        return self.store.require(self.address(*parts))


def round_name(number: int) -> str:
    """The folder of a round: "round-02"."""
    return f"round-{number:02d}"


def claim(run: Run) -> ArtifactRecord:
    """Record the run's settings at its address; a run with other settings is refused there.

    Places and sizes (store, resources, paths) and the number of rounds may differ on a resume.
    """
    science = run.config.model_dump(
        mode="json", exclude={"store", "resources", "rounds", "model", "questions", "benchmarks"}
    )

    def build(folder: Path) -> None:
        (folder / "config.json").write_text(run.config.model_dump_json(indent=2), "utf-8")

    return materialize(run.store, Stage(run.address("config"), "config", recipe=science), build)


def freeze_questions(run: Run, name: str, config: DatasetConfig) -> ArtifactRecord:
    """Copy the questions of a data set into the run, so that every round sees the same ones.

    `name` is "questions" for the training questions or "benchmarks/NAME".
    Raises DataError where a question or its answer is missing.
    """

    def build(folder: Path) -> dict[str, Any]:
        rows = WithGold(config)
        count = write_table(folder / QUESTIONS, Question, rows)
        return {"questions": count, "without_gold_answer": rows.without}

    stage = Stage(
        run.address(name), "questions", recipe=config.model_dump(mode="json", exclude={"path"})
    )
    return materialize(run.store, stage, build)


def register_base_model(run: Run) -> ArtifactRecord:
    """Record which files the base model consists of; another model under its name is refused."""
    config = run.config.model
    folder = base_model.locate_model(config, run.store.cache)
    base_model.check_model_folder(folder, config.name)
    files = base_model.fingerprint_files(folder)

    def build(folder: Path) -> None:
        (folder / "files.json").write_text(json.dumps(files, indent=2))
        # where the model was found is told, but a model is what its files are
        (folder / LOGS).mkdir()
        (folder / LOGS / "source.json").write_text(config.model_dump_json(indent=2))

    stage = Stage(run.address("base-model"), "base-model", recipe={"files": files})
    return materialize(run.store, stage, build)


def checkpoint_record(run: Run, number: int) -> ArtifactRecord:
    """The record of checkpoint `number`; checkpoint 0 is the base model."""
    if number == 0:
        return run.record("base-model")
    return run.record(round_name(number), "checkpoint")


def checkpoint(run: Run, number: int) -> ModelSource:
    """Checkpoint `number` in a local folder, downloaded and verified where it is remote."""
    record, config = checkpoint_record(run, number), run.config.model
    base = number == 0
    folder = base_model.locate_model(config, run.store.cache) if base else run.store.fetch(record)
    return base_model.model_source(folder, record.fingerprint, config)


def sample(run: Run, number: int, sampler: Sampler) -> ArtifactRecord:
    """Sample completions of every training question from checkpoint `number` - 1.

    Shard by shard: a shard that is recorded is not sampled again, and one that was deleted since
    (because it was damaged) is. The artifact lists its shards in question order, whatever their
    size, so a resume may use another shard size.
    """
    stage = sampling_stage(run, number)
    done = existing(run.store, stage)
    bounds = _shard_bounds(run, run.record("questions")) if done is None else _lost(run, done)
    shards = _sample_shards(run, number, sampler, [(_shard(stage, each), each) for each in bounds])
    if done is not None:
        return done
    build = functools.partial(_write_index, shards)
    return materialize(run.store, stage, build)


def _lost(run: Run, samples: ArtifactRecord) -> list[range]:
    """The bounds of the shards that recorded samples list, and that are not there any more.

    Only of shards of their own: those that were taken over from another run stay that run's.
    """
    own, there = f"{samples.address}/", set(run.store.addresses(samples.address))
    lost = [
        shard for shard in _listed(run, samples) if shard.startswith(own) and shard not in there
    ]
    numbers = ([int(number) for number in shard.removeprefix(own).split("-")] for shard in lost)
    return [range(first, last + 1) for first, last in numbers]


def sampling_stage(run: Run, number: int) -> Stage:
    """What identifies the samples of round `number`."""
    return Stage(
        run.address(round_name(number), "samples"),
        "samples",
        recipe=dataclasses.asdict(_sampling_settings(run, number)) | _adaptive_identity(run.config),
        inputs={
            "questions": run.record("questions"),
            "model": checkpoint_record(run, number - 1),
        },
    )


def _adaptive_identity(config: RunConfig) -> dict[str, Any]:
    """What adaptive sampling adds to a recipe: its settings, and whether it looks at gold."""
    recipe = config.sampling.adaptive
    if recipe is None:
        return {}
    return {"adaptive": recipe.model_dump(), "is_labelled": config.label_free is None}


def _shard(samples: Stage, bounds: range) -> Stage:
    """The shard of the samples that holds the questions numbered `bounds`."""
    first, last = bounds.start, bounds.stop - 1
    address = f"{samples.address}/{first:07d}-{last:07d}"
    recipe = {**samples.recipe, "first": first, "last": last}
    return dataclasses.replace(samples, address=address, recipe=recipe)


def _sampling_settings(run: Run, number: int) -> GenerationSettings:
    recipe = run.config.sampling
    return GenerationSettings(
        samples_per_question=recipe.samples_per_question,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        max_tokens=recipe.max_tokens,
        system_prompt=recipe.system_prompt,
        stop=recipe.stop,
        seed=derive_seed(run.config.seed, "sample", number),
    )


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
    shards = _shards(run, run.record("questions"), bounds)
    model, settings = checkpoint(run, number - 1), _sampling_settings(run, number)
    recipe, resources = run.config.sampling.adaptive, run.config.resources
    if recipe is None:
        yield from sampler.sample(model, shards, settings, sum(map(len, bounds)))
        return

    def draw(
        asked: Sequence[Sequence[Question]], step: GenerationSettings
    ) -> Iterator[list[SampledQuestion]]:
        return sampler.sample(model, asked, step, sum(map(len, asked)))

    with Grader(processes=resources.grader_processes) as grader:
        adaptive = AdaptiveSampling(draw, recipe, grader, run.config.label_free is None)
        while together := list(itertools.islice(shards, resources.engines)):
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


def _shard_bounds(run: Run, questions: ArtifactRecord) -> list[range]:
    """The question numbers of each shard."""
    count, size = int(str(questions.facts["questions"])), run.config.resources.shard_questions
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def _shards(
    run: Run, questions: ArtifactRecord, bounds: Sequence[range]
) -> Iterator[list[Question]]:
    """The questions of each of the ascending `bounds`, read as they are needed."""
    rows = read_table(run.store.fetch(questions) / QUESTIONS, Question)
    position = 0
    for wanted in bounds:
        yield list(itertools.islice(rows, wanted.start - position, wanted.stop - position))
        position = wanted.stop


def _write_samples(
    folder: Path, sampled: Sequence[SampledQuestion], recipe: SamplingRecipe
) -> dict[str, int]:
    """Write a shard; its facts can be summed over shards."""
    completions = [completion for item in sampled for completion in item.completions]
    facts = {
        "questions": write_table(folder / SAMPLES, SampledQuestion, sampled),
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
    (folder / SHARDS).write_text(json.dumps(index, indent=2))
    facts: list[Mapping[str, Any]] = [shard.facts for shard in shards]
    sums = {name: sum(fact[name] for fact in facts) for name in facts[0]}
    if "tokens_saved" in sums:
        sums["mean_samples"] = sums["completions"] / sums["questions"]
    return sums


def weigh(run: Run, number: int, judge: Judge = judge_here) -> ArtifactRecord:
    """Cluster every question's completions by final answer and weigh the questions.

    `judge` clusters them, here or elsewhere. The facts are the round's statistics
    (`RoundStatistics`).
    """
    samples = run.record(round_name(number), "samples")
    config = run.config

    def build(folder: Path) -> dict[str, Any]:
        out = folder / WEIGHTS
        out.mkdir()
        with Grader(processes=config.resources.grader_processes) as grader:
            rules = Rules(config.weighting, label_free=config.label_free)
            statistics = weigh_samples(sample_files(run, samples), out, rules, grader, judge)
        return dataclasses.asdict(statistics)

    stage = Stage(
        run.address(round_name(number), "weights"),
        "weights",
        recipe=config.model_dump(mode="json", include={"weighting", "label_free"}),
        inputs={"samples": samples},
    )
    return materialize(run.store, stage, build)


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
        files.append(run.store.fetch(shard) / SAMPLES)
    return files


def _listed(run: Run, samples: ArtifactRecord) -> dict[str, str]:
    """The contents of a round's shards by their addresses, in question order."""
    shards: dict[str, str] = json.loads((run.store.fetch(samples) / SHARDS).read_text())
    return shards


def weight_files(run: Run, weights: ArtifactRecord) -> list[Path]:
    """The local files of weighed questions of a round, in question order."""
    return sorted((run.store.fetch(weights) / WEIGHTS).glob("*.parquet"))


def choose_examples(run: Run, number: int) -> ArtifactRecord:
    """Choose what is trained on among the completions of the weighed questions."""
    recipe = run.config.training
    samples = run.record(round_name(number), "samples")
    weights = run.record(round_name(number), "weights")

    def pairs() -> Iterator[tuple[SampledQuestion, WeighedQuestion]]:
        sampled = read_tables(sample_files(run, samples), SampledQuestion)
        weighed = read_tables(weight_files(run, weights), WeighedQuestion)
        return zip(sampled, weighed, strict=True)

    def build(folder: Path) -> dict[str, Any]:
        survey = survey_examples(pairs(), recipe, run.config.seed, number)
        rows = build_examples(pairs(), recipe, run.config.seed, number, survey)
        write_table(folder / EXAMPLES, example_type(recipe), rows)
        return dataclasses.asdict(survey)

    stage = Stage(
        run.address(round_name(number), "examples"),
        "examples",
        recipe={"training": example_choice(recipe), "seed": run.config.seed},
        inputs={"samples": samples, "weights": weights},
    )
    return materialize(run.store, stage, build)


def example_choice(recipe: Training) -> dict[str, Any]:
    """The part of a training recipe that decides which completions are trained on."""
    names = {"loss", "completions_per_question", "weight_sharing"}
    return recipe.model_dump(mode="json", include=names)


def train(run: Run, number: int, sampler: Sampler, trainer: Trainer) -> ArtifactRecord:
    """Train checkpoint `number` on the round's examples.

    Raises NothingToLearn where there are fewer examples than one global batch.
    """
    config = run.config
    examples = run.record(round_name(number), "examples")
    _require_a_batch(config, number, examples)
    start = number - 1 if config.start_from == "previous" else 0
    inputs = {"examples": examples, "model": checkpoint_record(run, start)}
    reference = _reference_number(config.training, number)
    if reference is not None:
        inputs["reference"] = checkpoint_record(run, reference)
    seed = derive_seed(config.seed, "train", number)

    def build(folder: Path) -> dict[str, Any]:
        job = TrainingJob(
            model=checkpoint(run, start),
            reference=None if reference is None else checkpoint(run, reference),
            examples=[run.store.fetch(examples) / EXAMPLES],
            recipe=config.training,
            system_prompt=config.sampling.system_prompt,
            seed=seed,
            resources=config.resources,
            scratch=work_folder(folder),
        )
        sampler.release()
        return dataclasses.asdict(trainer.train(job, folder))

    stage = Stage(
        run.address(round_name(number), "checkpoint"),
        "checkpoint",
        recipe={
            "training": config.training.model_dump(mode="json"),
            "system_prompt": config.sampling.system_prompt,
            "seed": seed,
        },
        inputs=inputs,
    )
    return materialize(run.store, stage, build)


def _reference_number(recipe: Training, number: int) -> int | None:
    """Which checkpoint DPO and KTO are held to; None for SFT."""
    if isinstance(recipe, SftRecipe):
        return None
    return number - 1 if recipe.reference == "previous" else 0


def _require_a_batch(config: RunConfig, number: int, examples: ArtifactRecord) -> None:
    count, batch = int(str(examples.facts["examples"])), config.training.global_batch_size
    if count < batch:
        raise NothingToLearn(
            f"round {number}: {count} training examples are fewer than one global batch of "
            f"{batch}; sample more completions a question, use easier or more questions, or lower "
            "training.global_batch_size"
        )


def score(run: Run, number: int, benchmark: str, sampler: Sampler) -> ArtifactRecord:
    """Score checkpoint `number` on a benchmark, by greedy completions and any extra samples."""
    evaluation = run.config.evaluation
    questions = run.record("benchmarks", benchmark)
    greedy, extra = _scoring_settings(run, number, benchmark)

    def answers(settings: GenerationSettings) -> Iterator[SampledQuestion]:
        bounds = _shard_bounds(run, questions)
        shards, total = _shards(run, questions, bounds), sum(map(len, bounds))
        answered = sampler.sample(checkpoint(run, number), shards, settings, total)
        return itertools.chain.from_iterable(answered)

    def build(folder: Path) -> dict[str, Any]:
        tally, policy = Tally(), evaluation.answer_policy
        with Grader(processes=run.config.resources.grader_processes) as grader:
            rows = tally.counting(grade(answers(greedy), grader, policy))
            write_table(folder / PREDICTIONS, Prediction, rows)
            if extra is not None:
                write_table(folder / SAMPLES, SampledQuestion, answers(extra))
                sampled, copies = itertools.tee(read_table(folder / SAMPLES, SampledQuestion))
                clusters = cluster_all(copies, grader, policy)
                votes = tally.voting(zip((s.question for s in sampled), clusters, strict=True))
                write_table(folder / VOTES, AnswerClusters, votes)
        return scores_as_facts(tally.scores(evaluation.confidence))

    return materialize(run.store, scoring_stage(run, number, benchmark), build)


def scoring_stage(run: Run, number: int, benchmark: str) -> Stage:
    """What identifies the scores of checkpoint `number` on a benchmark."""
    greedy, extra = _scoring_settings(run, number, benchmark)
    return Stage(
        run.address(round_name(number), "scores", benchmark),
        "scores",
        recipe={
            "evaluation": run.config.evaluation.model_dump(mode="json"),
            "system_prompt": greedy.system_prompt,
            "stop": list(greedy.stop),
            "samples_seed": None if extra is None else extra.seed,
        },
        inputs={
            "model": checkpoint_record(run, number),
            "questions": run.record("benchmarks", benchmark),
        },
        revision=2,
    )


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
    )
    if not recipe.samples_per_question:
        return greedy, None
    return greedy, dataclasses.replace(
        greedy,
        samples_per_question=recipe.samples_per_question,
        temperature=recipe.temperature,
        seed=derive_seed(run.config.seed, "score", benchmark, number),
    )


def report(run: Run, number: int, lap: Lap | None = None) -> ArtifactRecord:
    """Draw the curves up to round `number`, and the round's questions (EAST, Figure 5).

    `lap` is the time that the round took so far; the report's log tells the overhead in it.
    """
    name = run.config.name

    def build(folder: Path) -> None:
        if lap is not None:
            seconds = overhead_seconds(run.store.records(name), lap)
            (folder / LOGS).mkdir()
            (folder / OVERHEAD_LOG).write_text(json.dumps({"seconds": seconds}))
        rounds = [past for past in summarise(run.store, name) if past.round <= number]
        losses = training_losses(run.store, name, range(1, number + 1))
        for drawn, figure in curves(rounds, losses, name).items():
            (folder / f"{drawn}.png").write_bytes(figures.png(figure))
            (folder / f"{drawn}.svg").write_bytes(figures.svg(figure))
        if number:
            files = weight_files(run, run.record(round_name(number), "weights"))
            title = f"{name}: questions of round {number}"
            draw_entropy_figure(read_tables(files, WeighedQuestion), folder / MAP, title)

    stage = Stage(
        run.address(round_name(number), "report"),
        "report",
        inputs=_reported(run, number),
        revision=3,
    )
    return materialize(run.store, stage, build)


def _reported(run: Run, number: int) -> dict[str, ArtifactRecord]:
    """What the curves up to round `number` are drawn from."""
    parts: list[tuple[str, ...]] = [
        (round_name(past), "scores", benchmark)
        for past in range(number + 1)
        for benchmark in run.config.benchmarks
    ]
    parts += [
        (round_name(past), stage)
        for past in range(1, number + 1)
        for stage in ("weights", "checkpoint")
    ]
    return {"/".join(part): run.record(*part) for part in parts}
