from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.answers.beside import read_beside
from east_core.answers.canonical import MAX_CHARS, canonical_form
from east_core.answers.equality import compare


def never(a, b):
    raise AssertionError(f"{a} and {b} should be decided without math-verify")


def equal(a, b):
    gold = canonical_form(a)
    return compare(gold, read_beside(gold, canonical_form(b)), never)


@pytest.mark.parametrize(
    "spellings",
    [
        ("1/2", "0.5", ".5", r"\frac{1}{2}", r"\dfrac12", r"\frac{2}{4}", r"50\%", "½", "$0.50$"),
        ("1,234", "1234", r"1{,}234", r"1,\!234", "1234.0", r"\$1,234", "1234 dollars", "+1234"),
        ("-5", "−5", r"$-5$", "(-5)", r"x = -5", r"-5^\circ", r"-5\text{ cm}", "\u200f-5\u200f"),
        (r"1\frac{1}{2}", "3/2", "1 1/2", "1.5", r"\frac{3}{2}\text{ hours}"),
        (r"0.\overline{3}", "1/3", "0.333333", "0.33333333"),
        ("3000000", r"3 \times 10^6", "3e6", "3 million", r"3\cdot10^{6}"),
        ("(1, 2)", r"\left(1,2\right)", r"(1.0, \frac{4}{2})", "x \\in (1,2)"),
        ("1, 2", "2,1", r"\{1,2\}", "1 and 2", r"2 \text{ or } 1", "x=1 or x=2", "1, 2, 1"),
        (r"\pm 3", "3, -3", "x = ±3"),
        ("[0, 1)", r"\left[0,1\right)"),
        (r"\text{Sunday}", "Sunday", "sunday.", r"\textbf{Sunday}"),
        ("(C)", "C", r"\text{(C)}", "C.", "C) 12 apples", r"\textbf{(C)}"),
        ("1011_2", "1011_{2}", r"1011_{\text{2}}"),
        ("8:34 p.m.", r"8\!:\!34\text{ p.m.}", "08:34 PM"),
        ("x^2+1", "x^2 + 1", "$x^{2}+1$", r"\boxed{x^2+1}"),
        ("١٢", "12", "１２"),
    ],
    ids=lambda spellings: spellings[0],
)
def test_spellings_of_one_answer_are_equal_without_algebra(spellings):
    for spelling in spellings:
        assert equal(spellings[0], spelling), spelling
        assert equal(spelling, spellings[0]), spelling


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1/3", "0.33"),
        ("50", r"50\%"),
        ("(1, 2)", "(2, 1)"),
        ("(1, 2)", "[1, 2]"),
        ("(1, 2)", "1, 2"),
        ("1, 2", "1, 3"),
        ("1, 2", "12"),
        ("1 2", "12"),
        ("[-36, 104]", "-36104"),
        ("1011_2", "1011"),
        ("1011_2", "1011_3"),
        ("0.000000123", "0.000000456"),
        ("5", "-5"),
        (r"\text{east}", r"\text{west}"),
        ("A", "B"),
        ("8:34 a.m.", "8:34 p.m."),
        ("no solution", "0"),
        ("x = 1, y = 2", "x = 2, y = 1"),
    ],
)
def test_different_answers_differ(a, b):
    verdict = compare(canonical_form(a), canonical_form(b), lambda *_: None)
    assert not verdict


def test_an_assignment_in_a_list_keeps_its_name_only_where_the_names_differ():
    assert equal("x = 1, y = 2", "y = 2, x = 1")
    assert equal("x = 1, x = 2", "1, 2")


def test_what_has_no_value_here_is_left_open():
    limit, value = canonical_form(r"\int_0^\infty e^{-x} dx"), canonical_form("1")
    assert compare(limit, value, lambda *_: None) is None


def test_a_definite_integral_is_its_value():
    assert canonical_form(r"\int_0^1 2x dx").key == canonical_form("1").key


@pytest.mark.parametrize(
    ("gold", "answer", "agree"),
    [
        ("50", r"50\%", True),
        (r"50\%", "50", True),
        ("50", "0.5", False),
        (r"50\%", "0.5", True),
        ("0.5", r"50\%", True),
        ("0.5", "50", False),
        ("(1, 2)", "1, 2", True),
        ("(1, 2)", "2, 1", False),
        ("1, 2", "(1, 2)", False),
        ("1011_2", "1011", True),
        ("1011", "1011_2", True),
        ("1011_2", "11", False),
    ],
)
def test_some_notations_are_read_as_the_gold_answer_suggests(gold, answer, agree):
    gold_form = canonical_form(gold)
    read = read_beside(gold_form, canonical_form(answer))
    assert bool(compare(gold_form, read, never)) is agree


@given(st.fractions(max_denominator=10**6))
def test_any_fraction_is_its_own_value(value):
    assert canonical_form(str(value)).value == value
    latex = rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert canonical_form(latex).value == value


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_any_decimal_is_its_own_value(digits, places):
    value = Fraction(digits, 10**places)
    written = f"{digits / 10**places:.{places}f}"
    if Fraction(written) == value:  # the float printed all digits
        assert canonical_form(written).value == value
        assert canonical_form(f"{float(written):,.{places}f}").value == value


@given(st.text(max_size=300))
def test_any_text_has_a_form_that_equals_itself(text):
    form = canonical_form(text)
    assert form == canonical_form(text)
    assert compare(form, form, never) is True


LATEX = st.lists(
    st.sampled_from(
        [r"\frac", "{", "}", "(", ")", "[", "]", ",", "1", "23", "x", r"\sqrt", "^", "_", "-", "=",
         r"\pm", r"\%", r"\text{cm}", " ", "$", r"\{", r"\}", ".", "/", r"\infty", r"\cup", "!"]
    ),
    max_size=30,
)  # fmt: skip


@given(LATEX, LATEX)
def test_comparison_is_symmetric_for_any_latex(a, b):
    left, right = canonical_form("".join(a)), canonical_form("".join(b))
    assert compare(left, right, lambda *_: None) == compare(right, left, lambda *_: None)


def test_an_endless_answer_is_only_text():
    digits = "9" * 100_000
    assert canonical_form(digits).kind == "text"
    assert equal(digits, digits)
    assert not equal(digits, "9" * 99_999)
    assert len(canonical_form("9" * MAX_CHARS).key) <= MAX_CHARS + 20
