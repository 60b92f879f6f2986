import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.answers.numeric import plainly_different, value_at_point


@pytest.mark.parametrize(
    ("latex", "value"),
    [
        ("2+3*4", 14),
        ("-3^2", -9),
        ("2^{-1}", 0.5),
        (r"\frac{1}{2}\pi", math.pi / 2),
        (r"3\sqrt{2}", 3 * math.sqrt(2)),
        (r"\sqrt[3]{8}", 2),
        ("(1+i)(2-i)", 3 + 1j),
        (r"2\cdot3/4", 1.5),
        ("6/3*2", 4),
        ("e", math.e),
    ],
)
def test_constants(latex, value):
    assert value_at_point(latex) == pytest.approx(value)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("(x+1)^2", "x^2+2x+1"),
        (r"\frac{x}{y}", "x/y"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        ("2(a+b)", "2b+2a"),
        ("1.4142136", r"\sqrt{2}"),
    ],
)
def test_equal_expressions_are_never_plainly_different(a, b):
    assert value_at_point(a) is not None
    assert not plainly_different(value_at_point(a), value_at_point(b))


@pytest.mark.parametrize(("a", "b"), [("x+1", "x+2"), ("x", "y"), ("x", "X"), (r"3\sqrt{2}", "4")])
def test_plainly_different_expressions(a, b):
    assert plainly_different(value_at_point(a), value_at_point(b))


@pytest.mark.parametrize(
    "latex",
    ["1/2x", "x^12", r"1\frac{1}{2}x", r"\sin x", "10^{10^{10}}", "9^{9^{9}}", r"\sqrt{-4}", "x=1",
     "1/0", "0^0", "", "5!", "|x|", "(", "(1", "1)", "10^{10}-10^{10}", "x_1",
     "(" * 40 + "1" + ")" * 40,
     r"\begin{pmatrix}1\end{pmatrix}", "1,2", r"\frac{1}", "--1", "2;"],
)  # fmt: skip
def test_what_is_ambiguous_or_out_of_reach_is_left_to_math_verify(latex):
    assert value_at_point(latex) is None


EXPRESSIONS = st.recursive(
    st.one_of(st.integers(1, 99).map(str), st.sampled_from("abxyz")),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
        st.tuples(inner, inner).map(lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"),
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, EXPRESSIONS)
def test_the_commutative_law_holds(a, b):
    for left, right in ((f"{a}+{b}", f"{b}+{a}"), (f"({a})({b})", f"({b})*({a})")):
        assert not plainly_different(value_at_point(left), value_at_point(right))


@given(EXPRESSIONS)
def test_one_more_is_plainly_different_wherever_a_double_can_tell(a):
    value = value_at_point(a)
    if value is not None and abs(value) < 1e4:
        assert plainly_different(value, value_at_point(f"{a}+1"))
