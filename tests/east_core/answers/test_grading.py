import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Pipe

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from east_core.answers import grading_worker
from east_core.answers.canonical import canonical_form
from east_core.answers.grading import Grader
from east_core.errors import EngineError

# what only math-verify can tell: these two are equal, and the next is not
LIMIT, VALUE, OTHER = r"\lim_{x \to 1} x", "1", r"\lim_{x \to 1} 2x"


@pytest.fixture(scope="module")
def grader():
    with Grader(processes=2) as grader:
        yield grader


def workers():
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if any("grading_worker" in part for part in process.cmdline())
    ]


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("(x+1)^2", "x^2+2x+1"),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"2\sqrt{2}", r"\sqrt{8}"),
        ("12345\\", "12345"),
        (r"(2\sqrt{2}, 1)", r"(\sqrt{8}, 1)"),
        (r"\{\sqrt{8}, 1\}", r"1, 2\sqrt{2}"),
        (r"(-\infty, 3) \cup (5, \infty)", r"(5,\infty)\cup(-\infty,3)"),
        ("1 < x < 2", "(1, 2)"),
        (r"\begin{pmatrix} 1/2 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 0.5 \\ 2 \end{pmatrix}"),
        (r"-\begin{pmatrix} 0 \\ 0 \end{pmatrix}", r"\begin{pmatrix} 0 \\ 0 \end{pmatrix}"),
        (
            r"\frac{1}{2}\begin{pmatrix} 1 \\ x \end{pmatrix}",
            r"\begin{pmatrix} .5 \\ x/2 \end{pmatrix}",
        ),
        ("3.14159265", r"\pi"),
        ("x + y = 3", "y = 3 - x"),
        ("4i + 3", "3 + 4i"),
        ("y = 2x + 3", "3 + 2x"),
        (r"S = \pi r^2", r"A = r^2\pi"),
    ],
)
def test_algebra_decides_where_spelling_does_not(grader, answer, gold):
    assert grader.equal(answer, gold)
    assert grader.equal(gold, answer)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("x^2", "x^3"),
        ("3t", "3"),
        ("1.41", r"\sqrt{2}"),
        (r"(1, \sqrt{8})", r"(2\sqrt{2}, 1)"),
        ("x > 3", r"x \ge 3"),
        ("4i - 3", "3 + 4i"),
        ("2x + 3", "2y + 3"),
    ],
)
def test_different_mathematics_differs(grader, answer, gold):
    assert not grader.equal(answer, gold)
    assert not grader.equal(gold, answer)


def test_plain_numbers_start_no_worker_and_import_no_sympy():
    code = (
        "import sys; from east_core.answers.grading import Grader; g = Grader();"
        "assert g.equal('0.5', r'\\frac{1}{2}') and not g.equal('3', '4'); g.close();"
        "assert not {'sympy', 'math_verify'} & sys.modules.keys();"
        "import psutil; assert not psutil.Process().children()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equality_is_closed_under_transitivity_in_any_order(grader):
    forms = [
        canonical_form(a) for a in (r"\sqrt{8}", r"2\sqrt{2}", r"\frac{4}{\sqrt{2}}", "x", "3")
    ]
    for order in (forms, forms[::-1], forms[2:] + forms[:2]):
        labels = dict(zip((form.key for form in order), grader.partition(order), strict=True))
        assert len({labels[form.key] for form in forms[:3]}) == 1
        assert len(set(labels.values())) == 3


ANSWERS = st.sampled_from(
    ["1/2", "0.5", r"50\%", "50", "1, 2", "2, 1", "(1, 2)", r"\sqrt{2}", "2^{1/2}",
     r"\frac{2}{\sqrt 2}", "1.41421356", r"\lim_{x \to 1} x", r"\lim_{t \to 1} t", "x+1", "1+x",
     "y+1", r"\text{east}", "C", "0.333333", r"\frac{1}{3}"]
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(ANSWERS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_partition_does_not_depend_on_the_order(grader, answers, random):
    def classes(order):
        labels = grader.partition([canonical_form(answer) for answer in order])
        return {
            frozenset(a for a, other in zip(order, labels, strict=True) if other == label)
            for label in labels
        }

    shuffled = answers[:]
    random.shuffle(shuffled)
    assert classes(answers) == classes(shuffled)


def test_many_pairs_keep_their_order(grader):
    equal = [(LIMIT, VALUE), ("x+1", "1+x"), (r"50\%", "50"), ("0.5", "1/2")]
    different = [(OTHER, VALUE), ("2", "3"), ("x", "y"), ("0.5", "1/3")]
    pairs = [pair for both in zip(equal, different, strict=True) for pair in both] * 40
    assert list(grader.equal_many(iter(pairs))) == [True, False] * 160


def test_answers_that_only_equal_their_own_spelling_are_told_apart(grader):
    assert grader.accepts("72")
    assert grader.accepts(r"(\frac{1}{2}, \sqrt{3}]")
    assert grader.accepts(r"\text{Evelyn}")
    assert not grader.accepts(r"\frac{1}{")
    assert grader.equal(r"\frac{1}{", r"\frac{1}{")


def test_what_takes_too_long_is_different_and_counted_and_the_next_comparison_works():
    with Grader(processes=1, seconds=0.5) as grader:
        begun = time.perf_counter()
        assert not grader.equal("100000000!", "x")
        assert not grader.equal("10^{10^{10}}", "10^{10^{11}}")
        assert grader.undecided == 2
        assert grader.equal(LIMIT, VALUE)
        assert grader.undecided == 2
        assert time.perf_counter() - begun < 60


def test_a_form_that_hangs_costs_its_time_only_once():
    with Grader(processes=1, seconds=2.0) as grader:
        assert grader.equal(LIMIT, VALUE)
        begun = time.perf_counter()
        assert not grader.equal("10^{10^{10}}", "y")
        first = time.perf_counter() - begun
        for other in "abcdefghjk":
            assert not grader.equal("10^{10^{10}}", other)
        assert grader.undecided == 11
        assert time.perf_counter() - begun < 2 * first


def test_a_question_has_a_budget_and_the_next_one_has_its_own():
    towers = [canonical_form(f"{k}^{{{k}^{{{k}^{{{k}}}}}}}x") for k in range(3, 15)]
    before = workers()
    with Grader(processes=1, seconds=0.5, question_seconds=1.0) as grader:
        assert grader.equal(LIMIT, VALUE)
        mine = [process for process in workers() if process not in before]
        parent = next(process for process in mine if process.parent() not in mine)
        begun = parent.cpu_times()
        assert len(set(grader.partition(towers))) == 12
        ended = parent.cpu_times()
        assert ended.children_user + ended.user - begun.children_user - begun.user < 4
        assert grader.undecided > 0
        undecided = grader.undecided
        assert grader.equal("x+2", "2+x")
        assert grader.undecided == undecided


def test_the_process_that_compares_has_its_address_space_limited():
    before = workers()
    with Grader(processes=1, megabytes=700) as grader:
        assert grader.equal(LIMIT, VALUE)
        limits = {p.rlimit(psutil.RLIMIT_AS)[0] for p in workers() if p not in before}
    assert 700 << 20 in limits


@pytest.mark.parametrize("victim", ["worker", "child"])
def test_whoever_is_killed_is_replaced_and_asked_again(victim):
    before = workers()
    with Grader(processes=1) as grader:
        assert grader.equal(LIMIT, VALUE)
        mine = [process for process in workers() if process not in before]
        child = next(process for process in mine if process.parent() in mine)
        killed = child if victim == "child" else child.parent()
        killed.send_signal(signal.SIGKILL)
        assert grader.equal(OTHER, "2")
        assert grader.undecided == 0


@pytest.mark.parametrize(("kills", "verdict"), [(1, True), (2, True), (3, None)])
def test_a_step_in_which_the_child_is_killed_is_taken_again(kills, verdict, tmp_path, monkeypatch):
    def killed(a, b):
        mark = tmp_path / str(len(list(tmp_path.iterdir())))
        if int(mark.name) < kills:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    monkeypatch.setattr(grading_worker, "same", killed)
    monkeypatch.setattr(grading_worker, "is_read", bool)
    comparer = grading_worker.PairComparer(1.0, 1 << 20, Pipe()[0])
    assert comparer.compare_pairs(["1", "2"], [(0, 1)], budget=1.5) == [verdict]
    comparer.end_child()


def test_closing_leaves_no_process_behind():
    before = workers()
    with Grader(processes=2) as grader:
        list(grader.equal_many([(rf"\lim_{{x \to {k}}} x^2", str(k * k)) for k in range(10)]))
        started = [process for process in workers() if process not in before]
        assert started
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_no_worker_outlives_a_killed_owner():
    code = (
        "import os, sys; from east_core.answers.grading import Grader; g = Grader(1);"
        r"assert g.equal(r'\lim_{x \to 1} x', '1'); print('ready', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout.readline() == b"ready\n"
    family = psutil.Process(owner.pid).children(recursive=True)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert family
    assert not psutil.wait_procs(family, timeout=10)[1]


def test_it_works_in_threads(grader):
    def check(number):
        assert threading.current_thread() is not threading.main_thread()
        return grader.equal(rf"\lim_{{x \to {number % 5}}} x^2", str((number % 5) ** 2))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(40)))


def test_a_worker_that_cannot_start_says_why(monkeypatch, tmp_path):
    broken = tmp_path / "grading_worker.py"
    broken.write_text("raise ImportError('no math_verify here')")
    monkeypatch.setattr("east_core.answers.grading._PROGRAM", broken)
    with Grader(processes=1) as grader, pytest.raises(EngineError, match="no math_verify here"):
        grader.equal(LIMIT, VALUE)
