import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from east_core.config import Replay, RunConfig
from east_core.protocols import example_type
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.examples import choose_examples
from east_core.tables import read_table, read_tables
from east_core.testing.fakes import InstantTrainer
from east_core.weighting.as_released import EntropyAsReleased, UniformAsReleased, batch_means
from east_core.weighting.base import QuestionStatistics
from east_core.weighting.strategies import weighting_kinds
from east_core.weighting.weighed import WeighedQuestion


def questions(*bits):
    return [QuestionStatistics(each, 0.5, 0.5) for each in bits]


def test_the_weights_by_hand():
    asked = questions(1.0, 3.4)
    assert EntropyAsReleased().weights(asked) == [1 / 6.8, 0.5]
    assert UniformAsReleased().weights(asked) == [pytest.approx(2.2 / 6.8)] * 2
    assert EntropyAsReleased(exponent=2, normalizer=2).weights(questions(2.0)) == [2]


def test_no_other_weighting_has_another_mean_than_one():
    odd = {kind for kind, each in weighting_kinds().items() if not each.has_mean_one}
    assert odd == {"entropy_as_released", "uniform_as_released"}


def test_what_keeps_a_mean_of_one_is_refused():
    for kept in ({"max_weight": 3}, {"normalize": "set"}):
        with pytest.raises(ValidationError, match="leave them out"):
            EntropyAsReleased(**kept)
    with pytest.raises(ValidationError, match="leave replay out"):
        RunConfig(weighting=UniformAsReleased(), replay=Replay())


def test_the_mean_over_batches_by_hand():
    assert sorted(batch_means([1.0, 2.0], 2, seed=0)) == [1.5, 1.5]
    assert batch_means([1.0, 2.0, 4.0], 1, seed=0) == [1, 2, 4]
    assert batch_means([1.0, 2.0, 4.0], 3, seed=0) == [pytest.approx(7 / 3)] * 3


@given(st.lists(st.floats(0, 10), max_size=30), st.integers(1, 5), st.integers(0, 9))
def test_batches_keep_the_sum_and_depend_on_the_seed_alone(weights, size, seed):
    means = batch_means(weights, size, seed)
    assert math.fsum(means) == pytest.approx(math.fsum(weights))
    assert means == batch_means(weights, size, seed)


class Recorder(InstantTrainer):
    """Keeps the jobs that it is given."""

    def __init__(self):
        super().__init__()
        self.jobs = []

    def train(self, job, out):
        self.jobs.append(job)
        return super().train(job, out)


def learned(run, number=1):
    record = run.record(run.at.examples(number))
    path = run.store.fetch(record) / EXAMPLES_FILE
    return list(read_table(path, example_type(run.config.training)))


def weighed(run):
    folder = run.store.fetch(run.record(run.at.weights(1))) / "weights"
    rows = read_tables(sorted(folder.glob("*.parquet")), WeighedQuestion)
    return {row.question_id: row for row in rows if row.kept}


def test_a_run_trains_with_the_released_weights_and_says_so(fake_run):
    trainer = Recorder()
    run = fake_run(trainer=trainer, rounds=1, weighting=EntropyAsReleased())
    rows, examples = weighed(run), learned(run)
    own = [rows[each.question_id].entropy_bits / 6.8 for each in examples]
    assert math.fsum(each.weight for each in examples) == pytest.approx(math.fsum(own))
    assert [each.weight for each in examples] != pytest.approx(own)  # neighbours have a part
    assert not trainer.jobs[0].has_mean_one
    facts = run.record(run.at.weights(1)).facts
    assert facts["mean_weight"] == pytest.approx(math.fsum(own) / len(own), rel=0.2)
    assert facts["mean_weight"] < 0.9
    assert run.record(run.at.checkpoint(1)).recipe["weights"] == "as released"


def test_with_a_batch_of_one_each_example_has_its_own_weight(fake_run):
    run = fake_run(rounds=1, weighting=EntropyAsReleased(batch_size=1))
    rows = weighed(run)
    for example in learned(run):
        assert example.weight == rows[example.question_id].entropy_bits / 6.8


def test_other_runs_know_nothing_of_it(fake_run):
    trainer = Recorder()
    run = fake_run(trainer=trainer, rounds=1)
    assert trainer.jobs[0].has_mean_one
    assert "mean_weight" not in run.record(run.at.weights(1)).facts
    assert "as_released" not in choose_examples(run, 1).recipe
    assert "weights" not in run.record(run.at.checkpoint(1)).recipe
