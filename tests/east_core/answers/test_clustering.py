import random
from math import log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from east_core.answers.clustering import cluster, cluster_all
from east_core.answers.grading import Grader
from east_core.records import Completion, Question, SampledQuestion


@pytest.fixture(scope="module")
def grader():
    with Grader(processes=2) as grader:
        yield grader


def sampled(texts, gold="1/2", finish="stop"):
    completions = tuple(Completion(text, finish) for text in texts)
    return SampledQuestion(Question("q", "?", gold), completions)


def shape(clusters):
    return [(c.answer, len(c.members), c.is_correct) for c in clusters.clusters]


def test_the_clusters_a_mathematician_would_make(grader):
    texts = ["1/2", "0.5", r"\frac{1}{2}", r"50\%", "no answer"]
    assert shape(cluster(sampled(texts), grader, "lenient")) == [("0.5", 4, True), (None, 1, False)]


def test_members_are_positions_and_the_most_common_spelling_stands_for_all(grader):
    texts = [rf"\boxed{{{answer}}}" for answer in ("3", "x+1", "1+x", "1+x", "3.0")]
    clusters = cluster(sampled(texts, gold="x + 1"), grader, "boxed").clusters
    assert [(c.answer, c.members, c.is_correct) for c in clusters] == [
        ("1+x", (1, 2, 3), True),
        ("3", (0, 4), False),
    ]


def test_without_a_gold_answer_nothing_is_correct(grader):
    clusters = cluster(sampled(["1/2", "0.5", "3"], gold=None), grader, "lenient")
    assert shape(clusters) == [("0.5", 2, False), ("3", 1, False)]


def test_percent_joins_the_gold_answer_alone(grader):
    texts = [r"\boxed{50}", r"\boxed{50\%}", r"\boxed{0.5}"]
    beside_50 = cluster(sampled(texts, gold="50"), grader, "boxed")
    assert shape(beside_50) == [("50", 2, True), ("0.5", 1, False)]
    beside_half = cluster(sampled(texts, gold="0.5"), grader, "boxed")
    assert shape(beside_half) == [("0.5", 2, True), ("50", 1, False)]


def test_no_answer_is_a_cluster_that_is_never_correct(grader):
    clusters = cluster(sampled(["hm", "let me see", r"\boxed{0.5}"]), grader, "boxed")
    assert shape(clusters) == [(None, 2, False), ("0.5", 1, True)]
    assert clusters.rejected_share == 0


def test_a_truncated_completion_joins_a_cluster_only_with_a_closed_box(grader):
    texts = ["The answer is 0.5", r"\boxed{0.5} and so"]
    assert shape(cluster(sampled(texts, finish="length"), grader, "lenient")) == [
        ("0.5", 1, True),
        (None, 1, False),
    ]


def test_a_stream_keeps_its_order(grader):
    golds = ["x+1", "2", r"\sqrt{8}", "7"] * 50
    questions = [
        SampledQuestion(
            Question(str(number), "?", gold),
            (Completion(rf"\boxed{{{gold}}}"), Completion(r"\boxed{1+x}"), Completion("")),
        )
        for number, gold in enumerate(golds)
    ]
    streamed = list(cluster_all(iter(questions), grader, "boxed"))
    assert streamed == [cluster(question, grader, "boxed") for question in questions]


def test_a_stream_is_read_little_by_little(grader):
    read = 0

    def questions():
        nonlocal read
        for number in range(10_000):
            read += 1
            yield sampled([rf"\boxed{{{number}+x}}"], gold=f"x+{number}")

    stream = cluster_all(questions(), grader, "boxed")
    next(stream)
    assert read < 200
    stream.close()


BOXED = st.sampled_from(["", "1/2", "0.5", "3", "x+1", "1+x", "2, 1", r"\{1, 2\}", "(1, 2)", "C"])


@settings(deadline=None, max_examples=60)
@given(st.lists(BOXED, min_size=1, max_size=24), BOXED.filter(bool), st.integers(0, 2**32))
def test_clusters_partition_the_completions_whatever_their_order(grader, answers, gold, seed):
    texts = [rf"\boxed{{{answer}}}" for answer in answers]
    clusters = cluster(sampled(texts, gold), grader, "boxed")
    members = [member for c in clusters.clusters for member in c.members]
    assert sorted(members) == list(range(len(texts)))
    assert sum(c.is_correct for c in clusters.clusters) <= 1
    assert 0 <= clusters.entropy_bits <= log2(len(texts)) + 1e-12
    random.Random(seed).shuffle(texts)
    assert shape(cluster(sampled(texts, gold), grader, "boxed")) == shape(clusters)
