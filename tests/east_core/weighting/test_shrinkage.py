import math

import numpy as np
import pytest

from east_core.errors import ConfigError, DataError
from east_core.records import entropy_bits
from east_core.runs.adaptive import expected_change_bits
from east_core.weighting.base import QuestionStatistics
from east_core.weighting.shrinkage import ShrunkEntropyWeighting, entropy_variance
from east_core.weighting.strategies import EntropyWeighting


def clustered(*sizes):
    return QuestionStatistics(entropy_bits(list(sizes)), 0.5, 0.5, sizes=sizes)


def test_shrinkage_by_hand():
    # mean 2, variance 2; own variance 2 - 1 = 1: halfway where v = 1, untouched where it is tiny
    weighting = ShrunkEntropyWeighting()
    assert weighting.of_round([1.0, 3.0], [1.0, 1.0]) == [1.5, 2.5]
    assert weighting.of_round([1.0, 3.0], [2.0, 0.0]) == pytest.approx([2 - 1 / 3, 3])
    assert ShrunkEntropyWeighting(exponent=2).of_round([1.0, 3.0], [1.0, 1.0]) == [2.25, 6.25]


def test_where_chance_explains_the_spread_all_weights_are_one():
    # 1 bit and 0.81 bits from 8 completions
    weights = ShrunkEntropyWeighting().weights([clustered(4, 4), clustered(6, 2)])
    assert weights == [1, 1]
    assert ShrunkEntropyWeighting().weights([clustered(5, 3)]) == [1]


def test_the_variance_by_hand():
    # p = 3/4, 1/4: the variance of ln p is 3/16 ln^2 3; plus (K - 1) / 2 n^2
    nats = 3 / 16 * math.log(3) ** 2 / 8 + 1 / 128
    assert entropy_variance([6, 2]) == pytest.approx(nats / math.log(2) ** 2)
    assert entropy_variance([4, 4]) == pytest.approx(1 / 128 / math.log(2) ** 2)


def test_the_variance_is_the_one_of_adaptive_sampling():
    many = 10**9  # completions after which nothing is left of bias and variance
    bias = 2 / (2 * 20 * math.log(2))
    assert expected_change_bits([12, 5, 3], many) ** 2 == pytest.approx(
        bias**2 + entropy_variance([12, 5, 3]), rel=1e-6
    )


def test_a_unanimous_question_is_not_certain():
    assert entropy_variance([8]) == entropy_variance([8, 1]) > entropy_variance([80])
    assert ShrunkEntropyWeighting().weights([clustered(8), *[clustered(2, 2, 2, 2)] * 3])[0] > 0
    with pytest.raises(ConfigError, match="kept questions have the weight 0"):
        ShrunkEntropyWeighting().weights([clustered(8), clustered(8)])


def test_it_needs_the_sizes():
    with pytest.raises(DataError, match="sizes of the answer clusters"):
        ShrunkEntropyWeighting().weights([QuestionStatistics(1.0, 0.5, 0.5)])


def test_shrunk_weights_are_nearer_to_those_of_endless_completions():
    random = np.random.default_rng(1)
    chances = random.dirichlet([1.0] * 4, size=400)
    draws = [random.multinomial(8, each) for each in chances]
    drawn = [clustered(*(int(size) for size in each if size)) for each in draws]
    true = [QuestionStatistics(-float(np.sum(p * np.log2(p))), 0.5, 0.5) for p in chances]
    wanted = np.array(EntropyWeighting().weights(true))
    error = {
        weighting.kind: np.mean((np.array(weighting.weights(drawn)) - wanted) ** 2)
        for weighting in (EntropyWeighting(), ShrunkEntropyWeighting())
    }
    assert error["shrunk_entropy"] < 0.9 * error["entropy"]
