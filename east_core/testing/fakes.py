"""A scripted sampler and an instant trainer behind the real interfaces, for tests of the flows.

Their "model" is a folder with one number, its skill: the chance of a correct answer. Training
raises it. Everything else (stages, records, weights, reports) is the real thing.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from east_core.config import Resources
from east_core.errors import NothingToLearn
from east_core.protocols import GenerationSettings, ModelSource, TrainingJob, TrainingResult
from east_core.records import Completion, Question, SampledQuestion
from east_core.seeds import derive_seed
from east_core.tables import read_tables

SKILL_FILE = "skill.json"
SKILL_GAIN = 0.2
_NO_TENSORS = (2).to_bytes(8, "little") + b"{}"  # a whole .safetensors: the skill is all


def write_model(folder: Path, skill: float = 0.4) -> Path:
    """A model folder that passes the base model's checks and that only these fakes can use."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(_NO_TENSORS)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / SKILL_FILE).write_text(json.dumps(skill))
    return folder


class ScriptedSampler:
    """Answers correctly with the model's skill, by the same rules of determinism as vLLM."""

    def __init__(self) -> None:
        self.sampled: list[str] = []  # the ids of all questions asked, in order

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,  # noqa: ARG002
    ) -> Iterator[list[SampledQuestion]]:
        """See `Sampler.sample`."""
        skill = _skill(model.folder)
        for shard in shards:
            self.sampled += [question.id for question in shard]
            yield [_answered(question, settings, skill) for question in shard]

    def release(self) -> None:
        """Nothing to free."""

    def close(self) -> None:
        """Nothing to end."""


class InstantTrainer:
    """Copies the model and raises its skill."""

    def warm_up(self, resources: Resources) -> None:
        """Nothing to import."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """See `Trainer.train`."""
        from east_core.protocols import example_type

        examples = sum(1 for _ in read_tables(job.examples, example_type(job.recipe)))
        if examples < job.recipe.global_batch_size:
            raise NothingToLearn(f"{examples} examples do not fill a batch")
        shutil.copytree(job.model.folder, out, dirs_exist_ok=True)
        skill = _skill(job.model.folder) + SKILL_GAIN
        (out / SKILL_FILE).write_text(json.dumps(round(min(1.0, skill), 3)))
        return TrainingResult(
            steps=1, examples=examples, dropped_too_long=0, first_loss=1.0, last_loss=0.5
        )


def _skill(folder: Path) -> float:
    return float(json.loads((folder / SKILL_FILE).read_text()))


def _answered(question: Question, settings: GenerationSettings, skill: float) -> SampledQuestion:
    completions = [
        _completion(question, settings, index, skill)
        for index in range(settings.samples_per_question)
    ]
    return SampledQuestion(question, tuple(completions))


def _completion(
    question: Question, settings: GenerationSettings, index: int, skill: float
) -> Completion:
    draw = derive_seed(settings.seed, question.id, index) / 2**31
    wrong = f"{(question.answer or '')}0{1 if draw < (1 + skill) / 2 else 2}"
    answer = question.answer if draw < skill else wrong
    text = f"I think it is \\boxed{{{answer}}}."
    return Completion(text, "stop", token_count=len(text.split()), mean_logprob=-0.5)
