"""Answers that graders get wrong, a group for each kind of fault: ours and, where it is, a file."""

import json

import pytest

from east_core.answers.clustering import cluster
from east_core.answers.grading import Grader
from east_core.records import Completion, Question, SampledQuestion

# kind: (gold answer, answers that are it, answers that are not)
KINDS = {
    "letters are no units": [
        ("3ab", ["3ba", r"3a\cdot b"], ["3", "3cd", "3 cd"]),
        ("7", ["7 km", "7km", r"7\text{ kg}", "7 m^2", "7 apples"], ["7ab", "7x", "7abc"]),
        ("x+2cm", ["2mc+x"], ["x+2", "2"]),
        ("5cx", ["5xc"], ["5", "5 cm"]),
        ("12tp", ["12pt", r"12\cdot p\cdot t"], ["12", "12 pints"]),
        ("12pt", ["12tp", "12"], ["12p", "24tp"]),
        ("7cm", ["7mc"], ["7c", "14mc"]),
        ("9nm", ["9mn", "9 nm", "9"], ["9 m", "9n"]),
        (r"\frac{1}{2}mv^2", [r"\frac{mv^2}{2}"], [r"\frac{1}{2}", r"\frac{1}{2}mv"]),
    ],
    "equations without unknowns": [
        ("12", ["5+7=12", "x=12", "12=x", "f(2)=12", r"\gcd(24,36)=12"], ["5+8=13", "5+8=12"]),
        (r"\frac{1}{4}", [r"\frac14=0.25", "0.25"], [r"\frac15=0.25", "0.2"]),
        ("9", ["x = 18/2 = 9", r"\frac{27}{3}=9"], ["x = 18/2 = 8", "x+y=9", "2x=9", "x=y=9z"]),
    ],
    "equations about unknowns": [
        ("3x-y=2", ["6x-2y=4", "y=3x-2", "2=3x-y"], ["3x-y=3", "x-y=2", "2", "3a-b=2"]),
        ("y=2x+3", ["2x+3", "f(x)=2x+3", "2x-y+3=0"], ["y=2x", "x=2y+3", "3", "y=3x+2"]),
        ("x=5", ["5", "5=x", "2x=10"], ["6", "x=6", "y=6", "x^2=25"]),
        ("x^2+y^2=4", ["2x^2+2y^2=8", "4-x^2-y^2=0"], ["x^2+y^2=2", "x^2-y^2=4", "4"]),
    ],
    "sums and products": [
        (r"\sum_{k=1}^{n} k^2", [r"\frac{n(n+1)(2n+1)}{6}"], [r"\sum_{k=1}^{n} k", r"k^2", "n"]),
        (r"\prod_{k=1}^{5} k", ["120", "5!"], ["15", r"\sum_{k=1}^{5} k"]),
        (r"\int_0^1 x\,dx", [r"\frac12", r"\int_0^1 t\,dt"], [r"\int_0^2 x\,dx", "x", "1"]),
        (r"\int_1^3 (2u^2-1)\,du+1", [r"\frac{49}{3}", "1+\\int_{1}^{3}(2x^2-1)dx"],
         [r"\int_1^3 (2u^2-1+1)\,du", r"\int_1^3 (2u^2-x)\,du+1"]),
        (r"\int_0^{\pi} \sin x\,dx", ["2", r"\int_0^\pi \sin(t)dt"],
         ["1", r"\int_0^\pi \cos x\,dx"]),
        (r"\frac{x^2}{2}", [r"\int_0^x x\,dx"], [r"\int_0^x x^2\,dx"]),
        ("7", [r"\int_0^7 dx", r"\int_{2}^{9}\mathrm{d}x"], [r"\int_0^6 dx"]),
        (r"\int_0^b e^{x}\,dx", ["e^b-1", r"\int_0^b e^t dt"], ["e^b", r"\int_0^b e^{x}\,db"]),
    ],
    "upright letters": [
        ("3e", [r"3\mathrm{e}"], ["3", "e"]),
        ("2-5i", [r"2-5\mathrm{i}", r"-5\mathrm{i}+2"], ["2-5", "2+5i", "-3"]),
        (r"\ln 3", [r"\operatorname{ln} 3", r"\mathrm{ln}(3)", r"\ln(3)"], [r"\ln 4", "3"]),
    ],
    "approximately": [
        ("7", [r"x \approx 7", r"\approx 7", "about 7"], [r"x\approx 8"]),
        (r"\frac{22}{7}", [r"\frac{22}{7} \approx 3.14"], [r"\frac{21}{7}\approx 3.14", "3.14"]),
    ],
    "small numbers": [
        (r"\frac{1}{25!}", [r"\frac{1}{25\cdot 24!}"], [r"\frac{1}{24!}", "0"]),
        ("4.2e-12", [r"4.2\times 10^{-12}", r"42\cdot10^{-13}"], ["4.1e-12", "0", r"10^{-12}"]),
        (r"e^{-60}", [r"\frac{1}{e^{60}}"], [r"e^{-61}", "0"]),
    ],
    "a tuple of names": [
        ("(5, 3)", ["(x,y)=(5,3)", "(y, x) = (3, 5)", "(a,b)=(5,3)", "(m,b)=(5,3)", "a=5, b=3"],
         ["(x,y)=(3,5)", "(y,x)=(5,3)", "m=3, b=5", "m=5, b=3", "(x,y,z)=(5,3,1)"]),
        ("(p,q)=(7,2)", ["(7,2)", "p=7, q=2", "q=2, p=7"], ["(2,7)", "p=2, q=7", "7"]),
        ("(1,2), (2,1)", [r"(x,y)=(1,2) \text{ and } (2,1)", r"(x,y)=(1,2), (x,y)=(2,1)"],
         ["(x,y)=(1,2)", "(1,2),(1,2)"]),
    ],
    "one name for all that follow": [
        ("1, 2", ["x=1, 2", r"x = 2 \text{ or } 1", "x=1, x=2"], ["x=1, 3", "x=1, y=2", "1"]),
        ("n=4,-8", ["4,-8", "n=-8, 4"], ["n=4", "4,8"]),
    ],
    "names of lengths, areas and ratios": [
        ("|AB|=4", ["4", "|AB|=2^2"], ["|AB|=5", "|CD|=4", "-4"]),
        (r"\frac{AB}{CD}=\frac{2}{3}", [r"\frac{2}{3}", "AB/CD=2/3"],
         [r"\frac{CD}{AB}=\frac{2}{3}", r"\frac{3}{2}"]),
        ("AB:CD=2:3", ["2:3", "AB:CD=4:6"], ["3:2", "CD:AB=2:3"]),
        ("AB=4", ["4"], ["CD=4"]),
    ],
    "units beside powers of ten": [
        ("2.5e6 m/s", [r"2.5\times10^6\text{ m/s}", r"2.5 \times 10^{6}", "2500000",
                       r"2.5 \times 10^6\ \mathrm{m\,s^{-1}}"], ["2.5e7 m/s", "2.5"]),
    ],
    "spellings of one number": [
        ("12345", ["12 345", "12{, }345", r"12\,345"], ["12, 345", "12 3456"]),
        (r"28\%", ["28 pct", "28 percent", "28"], ["0.028"]),
        (r"\frac{\pi}{2}", [r"\\frac{\\pi}{2}", r"\\left(\\frac{\\pi}{2}\\right)"], [r"\\pi"]),
    ],
    "short words": [
        ("CAT", [r"\text{CAT}", "cat"], ["ACT", "TAC"]),
        ("IX", [r"\mathrm{IX}"], ["XI", "9"]),
        (r"\text{Ann}", ["Ann", r"\textbf{Ann}"], ["Nan"]),
        ("the dog bit the man", ["The dog bit the man."], ["the man bit the dog"]),
        ("xy", ["yx", r"x\cdot y"], ["x", "xz"]),
    ],
    "names in lists": [
        ("(2,7)", ["x=2, y=7", "y=7, x=2", "2, 7"], ["x=7, y=2", "7, 2", "(7,2)"]),
        ("m=4, n=9", ["n=9, m=4", "4, 9", "(4, 9)"], ["9, 4", "m=9, n=4"]),
        ("2 cats, 3 dogs", ["3 dogs, 2 cats"], ["2 dogs, 3 cats"]),
    ],
    "choices": [
        ("A: 1, B: 2", ["B: 2, A: 1"], ["A: 2, B: 1", "A"]),
        ("C", ["(C)", "C.", "(C) because of it", r"\textbf{C}"], ["C) and D)", "A) or C)", "D"]),
    ],
    "and, or": [
        (r"x>2 \text{ and } x<5", ["2<x<5", "(2,5)", "5>x>2"], [r"x>2 \text{ or } x<5", "x>2"]),
        (r"x<0 \text{ or } x\ge 4", [r"(-\infty,0)\cup[4,\infty)"], [r"x<0 \text{ and } x\ge4"]),
        (r"x\ne 3", [r"(-\infty,3)\cup(3,\infty)", r"\mathbb{R}\setminus\{3\}"], ["x=3", "3"]),
        ("x=2 or x>7", [r"\{2\}\cup(7,\infty)"], ["x>7", "x=2 and x>7", "x=7 or x>2"]),
    ],
    "sets of numbers": [
        (r"(2,5)\cup(6,9)", [r"(6,9)\cup(2,5)", r"(2,4)\cup(6,9)\cup(3,5)"],
         ["(2,9)", r"(2,5)\cup[6,9)", r"(2,6)\cup(5,9)", r"(2,5)\cup(6,8)", r"(2,5)\cup(9,6)"]),
        ("(1,4)", [r"(1,3)\cup(2,4)", r"(1,2]\cup(2,4)", r"(0,4)\cap(1,7)", r"(1,2]\cup[2,4)"],
         [r"(1,2)\cup(2,4)", r"(1,4)\setminus\{2\}", r"\{(1,3)\}\cup\{(2,4)\}"]),
        ("[3,7]", [r"[3,7)\cup\{7\}", r"\{3\}\cup(3,7]"], [r"[3,7)\cup\{8\}", r"(3,7)\cup\{7\}"]),
        (r"(-\infty,\infty)", [r"(-\infty,2)\cup(1,\infty)"], [r"(-\infty,2)\cup(2,\infty)"]),
        (r"(0,1)\cup(1,\infty)", [r"(0,\infty)\setminus\{1\}"], [r"(0,\infty)\setminus\{2\}"]),
        (r"\{1,5\}\cup\{8\}", ["1,5,8", r"\{5\}\cup\{1,8\}"], ["1,5", "(1,5,8)"]),
        (r"(-\infty,\sqrt5)\cup(2,9)", ["(-\\infty,9)"], [r"(-\infty,\sqrt5)", r"(2,9)"]),
        (r"(a,b)\cup(c,d)", [r"(c,d)\cup(a,b)"], ["(a,d)", r"(a,c)\cup(b,d)"]),
    ],
    "values of a function": [
        ("f(1)<f(3)<f(2)", ["f(2)>f(3)>f(1)"], ["f(1)<f(4)<f(2)", "f(3)<f(1)<f(2)"]),
        ("f(a)<f(b)", ["f(b)>f(a)"], ["f(b)<f(a)", "f(a)<f(c)"]),
        ("f(2)=9", ["9"], ["f(3)=9"]),
    ],
    "two signs": [
        (r"\pm 3, \pm 4", ["-4,-3,3,4"], ["3,4", r"\pm 3"]),
        (r"1 \pm \sqrt2", [r"1+\sqrt{2}, 1-\sqrt{2}"], [r"1+\sqrt2"]),
    ],
    "wrappers and remarks": [
        (
            "8",
            [r"\textcolor{red}{8}", r"\underline{8}", r"{\bf 8}", r"\mathsf{8}", r"\color{blue} 8",
             "8 (maximum)", r"\text{It is } 8", r"8 \text{ (smallest)}"],
            [r"\underline{9}", "9 (maximum)"],
        ),
    ],
    "degrees": [
        (r"\cos 60^\circ", [r"\frac12", "0.5"], [r"\cos 60", "60"]),
        (r"45^\circ", ["45", "45 degrees", "45°"], [r"\frac{\pi}{5}"]),
        (r"8\cos 40^\circ", [r"8\sin 50^\circ"], [r"8\sin 40^\circ", r"8\cos 40"]),
    ],
    "dates": [
        ("2021-11-07", [r"\text{2021-11-07}"], ["2003", "2021-07-11"]),
        ("3/4/2020", [], ["4/3/2020"]),
        ("05/01/2021", ["5/1/2021", "5/01/2021"], ["01/05/2021", "15/1/2021", "5/10/2021"]),
        ("12 - 3", ["9"], ["15"]),
    ],
    "spellings": [
        (r"2\sqrt3", ["2sqrt(3)", r"2\sqrt{3}", "2√3"], ["sqrt(3)", "2sqrt(2)"]),
        ("e^{3}+1", ["exp(3)+1"], ["exp(3)"]),
        (r"\frac{\pi}{2}", ["pi/2"], ["pi", "2"]),
        ("x^{12}", ["x¹²"], ["x^2", "x^{21}"]),
        ("60", ["60 mph", "60 km/h", r"60\,\mathrm{km/h}", "USD 60", "60 USD", "60°F"], ["61 mph"]),
        (r"\emptyset", [r"\varnothing", r"\{\}"], [r"\{\emptyset\}", "0"]),
        ("7+2i", ["7.0+2.0i"], ["7-2i"]),
        ("3:4", ["6:8"], ["4:3"]),
    ],
}  # fmt: skip
CASES = [
    (kind, gold, right, wrong) for kind, golds in KINDS.items() for gold, right, wrong in golds
]


@pytest.fixture(scope="module")
def grader():
    with Grader(processes=1) as grader:
        yield grader


def correct(grader, gold, responses):
    """Whether each response is in the cluster of the gold answer."""
    completions = tuple(Completion(text, "stop") for text in responses)
    clusters = cluster(SampledQuestion(Question("q", "?", gold), completions), grader, "boxed")
    right = {member for c in clusters.clusters if c.is_correct for member in c.members}
    return [index in right for index in range(len(responses))]


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [case[1:] for case in CASES],
    ids=[f"{kind}: {gold}" for kind, gold, _, _ in CASES],
)
def test_right_answers_are_correct_and_no_wrong_one_is_beside_them(grader, gold, right, wrong):
    answers = [gold, *right, *wrong]
    verdicts = correct(grader, gold, [rf"\boxed{{{answer}}}" for answer in answers])
    expected = [True] * (1 + len(right)) + [False] * len(wrong)
    assert dict(zip(answers, verdicts, strict=True)) == dict(zip(answers, expected, strict=True))


def test_the_known_faults_are_mended(grader, shared_data):
    path = shared_data / "answers" / "wrongly_graded.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} in {path.parent}")
    failed = []
    for case in map(json.loads, path.read_text().splitlines()):
        verdicts = correct(grader, case["gold"], case["responses"])
        if verdicts != case["expected"]:
            failed.append((case["id"], verdicts))
    assert failed == []
