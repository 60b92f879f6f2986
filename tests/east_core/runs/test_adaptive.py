import math
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.answers.grading import Grader
from east_core.config import AdaptiveRecipe, SamplingRecipe
from east_core.errors import ArtifactMismatch
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Completion, Question, SampledQuestion, entropy_bits
from east_core.runs import samples, weights
from east_core.runs.adaptive import (
    AdaptiveSampling,
    expected_change_bits,
    is_decided,
    step_settings,
    step_sizes,
)
from east_core.runs.run import Run
from east_core.tables import read_tables
from east_core.testing.fakes import ScriptedSampler
from east_core.weighting.strategies import LabelFree
from east_core.weighting.weighed import WeighedQuestion

RECIPE = AdaptiveRecipe(first=4, step=2, tolerance_bits=0.15, unanimous_after=6, all_wrong_after=8)
SETTINGS = GenerationSettings(12, 1.0, 1.0, 64, None, (), seed=5)


def test_the_expected_change_by_hand() -> None:
    # shares 1/2 and 1/2: the first-order variance is 0; K - 1 = 1; from n = 4 to N = 8
    bias = 0.5 * (1 / 4 - 1 / 8)
    variance = 0.5 * (1 / 16 - 1 / 64)
    expected = math.sqrt(bias**2 + variance) / math.log(2)
    assert expected_change_bits([2, 2], 8) == pytest.approx(expected)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(0, 200))
def test_nothing_changes_behind_the_last_completion(sizes: list[int], more: int) -> None:
    drawn = sum(sizes)
    assert expected_change_bits(sizes, drawn) == 0
    assert expected_change_bits([drawn], drawn + more) == 0
    assert expected_change_bits(sizes, drawn + more + 1) >= expected_change_bits(
        sizes, drawn + more
    )


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.8, 0.1, 0.1), (0.4, 0.3, 0.1, 0.1, 0.1)])
def test_the_expected_change_is_what_happens(shares: Sequence[float]) -> None:
    draw, drawn, most = random.Random(0), 24, 96
    told, changes = [], []
    for _ in range(1000):
        answers = draw.choices(range(len(shares)), shares, k=most)
        before, after = ([*Counter(part).values()] for part in (answers[:drawn], answers))
        told.append(expected_change_bits(before, most) ** 2)
        changes.append((entropy_bits(after) - entropy_bits(before)) ** 2)
    rms_told, rms_changes = (math.sqrt(statistics.fmean(squares)) for squares in (told, changes))
    assert rms_told == pytest.approx(rms_changes, abs=0.025)


def test_what_decides_a_question() -> None:
    assert is_decided([6, 6], 6, RECIPE, most=12)  # all are drawn
    assert not is_decided([5], 5, RECIPE, most=99)  # all alike, but it is early
    assert is_decided([6], 6, RECIPE, most=99)
    assert not is_decided([6], 0, RECIPE, most=99)  # all wrong, and it is early
    assert is_decided([4, 4], 0, RECIPE, most=99)
    assert not is_decided([6, 2], None, RECIPE, most=99)  # without gold answers none is wrong
    patient = RECIPE.model_copy(update={"all_wrong_after": None})
    assert not is_decided([40, 40], 0, patient, most=99)
    assert not is_decided([4, 1, 1], 4, RECIPE, most=99)
    assert is_decided([40, 10, 10], 40, RECIPE, most=99)


def test_the_steps_add_up_and_draw_from_seeds_of_their_own() -> None:
    assert list(step_sizes(RECIPE, 11)) == [4, 2, 2, 2, 1]
    steps = [step_settings(SETTINGS, number, 2) for number in range(5)]
    assert steps[0].seed == SETTINGS.seed  # the first is what is drawn without steps
    assert len({step.seed for step in steps}) == 5
    assert {step.samples_per_question for step in steps} == {2}


class ByName:
    """Answers as each question's id says: "same", "wrong", or one new answer after the other."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(
        self, shards: Sequence[Sequence[Question]], settings: GenerationSettings
    ) -> list[list[SampledQuestion]]:
        self.asked.append(["+".join(question.id for question in shard) for shard in shards])
        return [[self._answered(question, settings) for question in shard] for shard in shards]

    def _answered(self, question: Question, settings: GenerationSettings) -> SampledQuestion:
        answers = {"same": [1], "wrong": [2, 3], "spread": [1, settings.seed]}[question.id]
        count = settings.samples_per_question
        texts = [f"\\boxed{{{answers[i % len(answers)]}}}" for i in range(count)]
        return SampledQuestion(question, tuple(Completion(text, "stop") for text in texts))


@pytest.mark.parametrize(("labelled", "drawn_of_wrong"), [(True, 8), (False, 12)])
def test_a_shard_is_drawn_until_each_question_is_decided(
    labelled: bool, drawn_of_wrong: int
) -> None:
    draw, patient = ByName(), RECIPE.model_copy(update={"tolerance_bits": 0.01})
    questions = [Question(name, "?", "1") for name in ("spread", "same", "wrong")]
    with Grader(processes=1) as grader:
        adaptive = AdaptiveSampling(draw, patient, grader, labelled)
        ((*sampled,),) = adaptive.sample([questions], SETTINGS)
    assert [item.question for item in sampled] == questions
    assert [len(item.completions) for item in sampled] == [12, 6, drawn_of_wrong]
    assert draw.asked[0] == ["spread+same+wrong"]
    assert draw.asked[-1][0].startswith("spread")
    assert len(draw.asked) == 5


def test_shards_go_through_the_steps_together_and_come_out_as_alone() -> None:
    draw, patient = ByName(), RECIPE.model_copy(update={"tolerance_bits": 0.01})
    spread, same, wrong = (Question(name, "?", "1") for name in ("spread", "same", "wrong"))
    shards = [[same], [spread, wrong], [same, same]]
    with Grader(processes=1) as grader:
        adaptive = AdaptiveSampling(draw, patient, grader)
        together = adaptive.sample(shards, SETTINGS)
        steps = list(draw.asked)
        alone = [adaptive.sample([shard], SETTINGS)[0] for shard in shards]
    assert together == alone
    assert steps[:2] == [["same", "spread+wrong", "same+same"]] * 2
    assert steps[2:] == [["spread+wrong"], ["spread"], ["spread"]]


class Interrupted(ScriptedSampler):
    """Ends the run in the middle of a shard's steps."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.left = calls

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        self.left -= settings.temperature > 0
        if self.left < 0:
            raise KeyboardInterrupt
        return super().sample(model, shards, settings, total)


ADAPTIVE = SamplingRecipe(samples_per_question=24, adaptive=RECIPE)


def test_a_run_tells_how_many_completions_it_took(fake_run) -> None:
    run = fake_run(rounds=1, sampling=ADAPTIVE)
    facts = run.record(run.at.samples(1)).facts
    rows = list(
        read_tables(weights.weight_files(run, run.record(run.at.weights(1))), WeighedQuestion)
    )
    counts = [row.sample_count for row in rows]
    assert 4 <= min(counts) < max(counts) <= 24
    assert facts["completions"] == sum(counts)
    assert facts["mean_samples"] == statistics.fmean(counts)
    assert facts["tokens_saved"] == facts["tokens"] / sum(counts) * (24 * 40 - sum(counts))
    assert math.isclose(statistics.fmean(row.weight for row in rows if row.kept), 1)
    assert run.record(run.at.checkpoint(1)).facts["examples"] >= 16


def test_an_interrupted_shard_is_sampled_anew_and_the_finished_ones_stay(
    fake_run, tmp_path
) -> None:
    settings = {"rounds": 1, "sampling": ADAPTIVE}
    small = {"resources": {"shard_questions": 15}}
    whole = fake_run(**settings)
    with pytest.raises(KeyboardInterrupt):
        fake_run(tmp_path, Interrupted(calls=8), **settings, **small)
    sampler = ScriptedSampler()
    again = fake_run(tmp_path, sampler, **settings, **small)
    made = again.record(again.at.samples(1))
    assert made.facts == whole.record(whole.at.samples(1)).facts
    rows = [
        list(read_tables(samples.sample_files(run, run.record(run.at.samples(1))), SampledQuestion))
        for run in (whole, again)
    ]
    assert rows[0] == rows[1]
    assert "q0" not in sampler.sampled[40:100]  # its shard was recorded before the interruption


def test_other_steps_are_other_samples(fake_run, tmp_path) -> None:
    run: Run = fake_run(tmp_path, rounds=1, sampling=ADAPTIVE)
    other = RECIPE.model_copy(update={"tolerance_bits": 0.1})
    changed = run.config.model_copy(
        update={"sampling": ADAPTIVE.model_copy(update={"adaptive": other})}
    )
    with pytest.raises(ArtifactMismatch, match="tolerance_bits"):
        samples.sample(Run.open(changed), 1, ScriptedSampler())
    label_free = run.config.model_copy(update={"label_free": LabelFree()})
    with pytest.raises(ArtifactMismatch, match="is_labelled"):
        samples.sample(Run.open(label_free), 1, ScriptedSampler())


def test_a_first_step_that_takes_all_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing to adapt"):
        SamplingRecipe(samples_per_question=8, adaptive=AdaptiveRecipe(first=8))
