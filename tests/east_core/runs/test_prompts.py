"""The room that a run asks of its engines for its prompts and answers."""

from collections.abc import Iterable, Iterator, Sequence

from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion
from east_core.testing.fakes import ScriptedSampler
from tests.east_core.conftest import FakeRun


class Listener(ScriptedSampler):
    """Remembers the settings that it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[GenerationSettings] = []

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        self.settings.append(settings)
        return super().sample(model, shards, settings, total)


def test_sampling_and_scoring_ask_for_one_room_that_holds_prompts_and_answers(
    fake_run: FakeRun,
) -> None:
    """One size, or an engine would start anew between the two."""
    sampler = Listener()
    run = fake_run(sampler=sampler, rounds=1)
    assert len(sampler.settings) == 3  # the base model's score, a round's samples and score
    (room,) = {each.needed_context for each in sampler.settings}
    sampling, evaluation = run.config.sampling, run.config.evaluation
    answer = max(sampling.max_tokens, evaluation.max_tokens)
    letters = len("39 + 1 = ?{{ messages }}") + len(sampling.system_prompt or "")
    assert room is not None
    assert answer + letters <= room < answer + letters + 128
    assert all("needed_context" not in each.identity() for each in sampler.settings)
