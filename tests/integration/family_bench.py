"""A family's model at work: an engine that samples from it, and trainings on what it said."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from east_core.config import LoraRecipe, Resources, SftRecipe
from east_core.engines.trl.job import rank_job
from east_core.engines.trl.trainers import GlobalBatchSampler
from east_core.engines.trl.training import TrlTrainer
from east_core.engines.vllm.sampler import VllmSampler
from east_core.protocols import (
    Example,
    GenerationSettings,
    ModelSource,
    TrainingJob,
    TrainingResult,
    example_type,
)
from east_core.records import (
    Completion,
    LabelledExample,
    PreferencePair,
    Question,
    SampledQuestion,
    TrainingExample,
)
from east_core.tables import write_table
from east_core.testing.small_jobs import ONE_RANK, RECIPES
from tests.integration.families import FAMILIES
from tests.integration.teaching import ANSWERS, form_of
from tests.integration.training_runs import max_difference, whole_checkpoint

SYSTEM = "Reason step by step."
QUESTIONS = (Question("a", "2 + 3 = ?", "5"), Question("b", "What is 3 + 4?", "7"))
KEPT_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
SETTINGS = GenerationSettings(
    16, 1.0, 1.0, 24, SYSTEM, (), seed=1, needed_context=512, logprobs=True
)
BATCH = {"global_batch_size": 4, "epochs": 1.0, "learning_rate": 0.01, "warmup_ratio": 0.0}
# Where the reference's log-probabilities are the model's own.
AT_THE_START = {"dpo": math.log(2), "kto": 0.5}


@dataclass(frozen=True)
class Training:
    """A column of the table: a loss, and how its ranks are laid out."""

    loss: str
    ranks: int = 1
    zero_stage: int = 0
    lora: LoraRecipe | None = None
    router_loss: float = 0.0

    @property
    def recipe(self) -> Any:
        """What is trained: plain SGD, in which a wrong gradient shows."""
        return RECIPES[self.loss].model_copy(
            update={**BATCH, "lora": self.lora, "router_loss": self.router_loss}
        )

    @property
    def resources(self) -> Resources:
        """One batch of four at a time, over all ranks."""
        layout = {
            "processes": self.ranks,
            "micro_batch_size": 4 // self.ranks,
            "zero_stage": self.zero_stage,
        }
        return ONE_RANK.model_copy(update=layout)


TRAININGS = {
    "SFT": Training("sft"),
    "DPO": Training("dpo"),
    "KTO": Training("kto"),
    "LoRA": Training("sft", lora=LoraRecipe(rank=4, alpha=8)),
    "ZeRO-2, two ranks": Training("sft", ranks=2, zero_stage=2),
    "ZeRO-3, two ranks": Training("sft", ranks=2, zero_stage=3),
}

SFT_EXAMPLES = 4  # of each question
ROUTER = "SFT with the router's loss"


@dataclass(frozen=True)
class Trained:
    """What a training left: its checkpoint, and the ids of its rows beside those sampled.

    `first_loss` is the first step's loss by the sampling engine's own log-probabilities.
    """

    out: Path
    result: TrainingResult
    first_loss: float
    completions: int
    rows: list[list[int]]
    sampled: list[list[int]]


class Bench:
    """One family's engine, and the trainings on its samples; each is run once, when asked for."""

    def __init__(self, family: str, folder: Path, trainer: TrlTrainer) -> None:
        self.family, self.folder, self._trainer = FAMILIES[family], folder, trainer
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.end: int = tokenizer.convert_tokens_to_ids(self.family.turn_end)
        self.settings = replace(SETTINGS, prompt=form_of(self.family))
        resources = Resources(device="cpu", kv_cache_gib=0.25, max_sequences=16)
        self._sampler = VllmSampler(resources)
        self._samples: list[SampledQuestion] = []
        self._trained: dict[str, Trained] = {}
        self._failed: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.close()

    @property
    def engine(self) -> int:
        """The engine's process."""
        return self._sampler._engines[0].child.pid

    @property
    def samples(self) -> list[SampledQuestion]:
        """The base model's samples."""
        if not self._samples:
            if self._failed is not None:
                pytest.fail(f"nothing was sampled: {self._failed}")
            try:
                self._samples = self._sampled(self.folder, "base")
            except Exception as error:
                self._failed = error
                raise
        return self._samples

    def said(self) -> list[Completion]:
        """Every completion of the base model."""
        return _said(self.samples)

    def ask(self, folder: Path, name: str) -> list[Completion]:
        """What a checkpoint says, by the same engine."""
        return _said(self._sampled(folder, name))

    def _sampled(self, folder: Path, name: str) -> list[SampledQuestion]:
        model = ModelSource(folder, name)
        (shard,) = self._sampler.sample(model, [QUESTIONS], self.settings, len(QUESTIONS))
        return shard

    def trained(self, training: str) -> Trained:
        """What a training of the table leaves."""
        if training not in self._trained:
            self._trained[training] = self._train(training)
        return self._trained[training]

    def _train(self, training: str) -> Trained:
        column = {**TRAININGS, ROUTER: Training("sft", router_loss=0.1)}[training]
        work = self.folder.with_name(re.sub(r"\W+", "-", training))
        work.mkdir(exist_ok=True)  # a training that failed is tried again by the next test
        examples = list(_examples(column.loss, self.samples))
        write_table(work / "examples.parquet", example_type(column.recipe), examples)
        source = ModelSource(self.folder, "base")
        job = TrainingJob(
            model=source,
            reference=None if isinstance(column.recipe, SftRecipe) else source,
            examples=[work / "examples.parquet"],
            recipe=column.recipe,
            system_prompt=SYSTEM,
            seed=0,
            resources=column.resources,
            scratch=work / "scratch",
            prompt=form_of(self.family),
        )
        result = self._trainer.train(job, work / "out")
        rows = list(_trained_ids(rank_job(job, work / "out", "cpu").data_file))
        sampled = [ids for example in examples for ids in _sampled_ids(example)]
        first = AT_THE_START.get(column.loss) or _first_loss(job, self._ended())
        out = whole_checkpoint(job, work / "out")
        return Trained(out, result, first, len(sampled), rows, sampled)

    def _ended(self) -> list[Completion]:
        """The completions of SFT's examples."""
        said = [[c for c in item.completions if c.finish_reason == "stop"] for item in self.samples]
        return [each for ended in said for each in ended[:SFT_EXAMPLES]]


def _first_loss(job: TrainingJob, trained: Sequence[Completion]) -> float:
    """SFT's loss on the first batch, by the log-probabilities that the engine sampled with."""
    size = job.recipe.global_batch_size
    order = GlobalBatchSampler(len(trained), size, job.recipe.epochs, job.seed)
    batch = [trained[row] for row in itertools.islice(order, size)]
    told = sum((each.mean_logprob or 0.0) * each.token_count for each in batch)
    return -told / sum(each.token_count for each in batch)


def differs(one: Path, other: Path) -> float:
    """The largest difference between two checkpoints' parameters."""
    return max_difference(*(load_file(each / "model.safetensors") for each in (one, other)))


def _said(samples: Sequence[SampledQuestion]) -> list[Completion]:
    return [each for item in samples for each in item.completions]


def _examples(loss: str, samples: Sequence[SampledQuestion]) -> Iterator[Example]:
    """A batch or two of what ended its turn, of each question; the first of ANSWERS is right.

    Where a question was never answered so, any other of its completions does as well here.
    """
    for item in samples:
        question, ended = item.question, [c for c in item.completions if c.finish_reason == "stop"]
        head = (question.id, question.prompt)
        right = [each for each in ended if ANSWERS[0] in each.text][:2] or ended[:2]
        wrong = [each for each in ended if ANSWERS[1] in each.text][:2] or ended[2:4]
        match loss:
            case "sft":
                for c in ended[:SFT_EXAMPLES]:
                    yield TrainingExample(*head, c.text, 1.0, item.prompt_ids, c.ids)
            case "dpo":
                for one, other in zip((right * 2)[:2], (wrong * 2)[:2], strict=True):
                    yield PreferencePair(
                        *head, one.text, other.text, 1.0,
                        prompt_ids=item.prompt_ids, chosen_ids=one.ids, rejected_ids=other.ids,
                    )  # fmt: skip
            case "kto":
                for c in [*right, *wrong]:
                    yield LabelledExample(
                        *head, c.text, c in right, 1.0,
                        prompt_ids=item.prompt_ids, completion_ids=c.ids,
                    )  # fmt: skip


def _sampled_ids(example: Example) -> Iterator[list[int]]:
    """The sampled ids of an example's sequences, prompt first."""
    for name in ("completion_ids", "chosen_ids", "rejected_ids"):
        if ids := getattr(example, name, None):
            assert example.prompt_ids is not None
            yield [*example.prompt_ids, *ids]


def _trained_ids(data_file: Path) -> Iterator[list[int]]:
    """The ids of every sequence in the rows of a training; for SFT those with a label behind."""
    *rows, _filler = pa.ipc.open_stream(pa.memory_map(str(data_file))).read_all().to_pylist()
    for row in rows:
        if "input_ids" in row:
            labels = row["labels"]
            start = next(at for at, label in enumerate(labels) if label != -100)
            assert labels[start:] == row["input_ids"][start:]
            yield row["input_ids"]
        for name in ("completion_ids", "chosen_ids", "rejected_ids"):
            if name in row:
                yield [*row["prompt_ids"], *row[name]]
