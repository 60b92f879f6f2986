"""The simulation against closed forms: where both are known, they must agree."""

import statistics
from dataclasses import replace

import pytest

from benchmarks.cluster import (
    HOUR,
    Costs,
    Design,
    Faults,
    Load,
    best_interval,
    expected_training,
    simulate,
)

COSTS = Costs(
    engine_gpus=1, engine_rate=10_000, training_rate=3_000, checkpoint=16e9, training_state=112e9
)
LOAD = Load(questions=5_000)
CALM = Faults()


def test_one_gpu_without_faults_takes_the_sum_of_its_parts() -> None:
    made = simulate(LOAD, 1, COSTS, Design(), CALM)
    last = 5_000 % 256  # the flow's process writes the last shard when all others are written
    tokens = 5_000 * 64 * 300
    sampling = 90 + tokens / 10_000 + last * 64 * COSTS.writing + COSTS.shard
    assert made.stages["sampling"] == pytest.approx(sampling)
    work = 5_000 * 0.6 * 3 * 450 / 3_000
    saves = (work - 1) // 900
    assert made.stages["training"] == pytest.approx(60 + work + saves * COSTS.saving(1))
    assert made.stages["weighing"] == pytest.approx(5_000 * 64 / 14_500)
    assert made.stages["publishing"] == pytest.approx(160)
    assert made.stages["loading"] == pytest.approx(16)
    assert (made.events, made.lost) == (0, 0)


def test_engines_share_equal_shards_evenly() -> None:
    load, quick = Load(questions=256 * 80), replace(COSTS, writing=0.0, shard=0.0)
    one = 256 * 64 * 300 / 10_000
    for gpus, waves in ((1, 80), (8, 10), (64, 2), (80, 1), (500, 1)):
        made = simulate(load, gpus, quick, Design(), CALM)
        assert made.stages["sampling"] == pytest.approx(90 + waves * one), gpus


def test_the_flows_process_bounds_sampling_from_some_number_of_engines_on() -> None:
    load, design = Load(questions=256 * 2000), Design()
    bound = 2000 * (256 * 64 * COSTS.writing + COSTS.shard)
    made = simulate(load, 2000, COSTS, design, CALM)
    first = 90 + 256 * 64 * 300 / 10_000
    assert made.stages["sampling"] == pytest.approx(first + bound)
    spread = simulate(load, 2000, COSTS, replace(design, writers=10), CALM)
    assert spread.stages["sampling"] == pytest.approx(first + bound / 10)


@pytest.mark.parametrize(("every", "rate"), [(300.0, 0.5), (900.0, 2.0), (2000.0, 0.1)])
def test_training_under_faults_takes_what_daly_expects(every: float, rate: float) -> None:
    load, faults = Load(questions=40_000), Faults(failures=rate / 8, replacement=120)
    design = Design(training_ranks=8, checkpoint_every=every)
    taken = [
        simulate(replace(load, samples=2), 8, COSTS, design, faults, seed).stages["training"]
        for seed in range(200)
    ]
    work = load.trained_tokens / (8 * 3_000)
    saving = COSTS.saving(8)
    expected = 60 + expected_training(work, every, saving, rate / HOUR, 120 + 60)
    error = statistics.stdev(taken) / 200**0.5
    assert abs(statistics.mean(taken) - expected) < 4 * error
    assert error < 0.05 * expected


def test_youngs_interval_is_near_the_best_one() -> None:
    saving, rate, work = 60.0, 1 / (6 * HOUR), 48 * HOUR
    best = best_interval(saving, rate)
    at_best = expected_training(work, best, saving, rate, 300)
    for every in (best / 8, best / 3, best * 3, best * 8):
        assert expected_training(work, every, saving, rate, 300) > at_best


def test_lost_shards_are_sampled_again_and_all_is_counted() -> None:
    faults = Faults(preemptions=1.0, straggling=0.2)
    made = simulate(Load(questions=20_000), 16, COSTS, Design(), faults, seed=3)
    calm = simulate(Load(questions=20_000), 16, COSTS, Design(), CALM)
    assert made.events > 0
    assert made.lost > 0
    assert made.stages["sampling"] > calm.stages["sampling"]
    assert made.busy == pytest.approx(calm.busy, rel=0.1)  # the same work, some of it twice
    assert made.used < calm.used


def test_the_same_seed_is_the_same_round() -> None:
    faults = Faults(failures=0.5, straggling=0.3)
    one, other = (simulate(LOAD, 8, COSTS, Design(), faults, seed=7) for _ in range(2))
    assert one == other
    assert simulate(LOAD, 8, COSTS, Design(), faults, seed=8) != one
