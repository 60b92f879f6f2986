"""Pages in Markdown come from the templates of the HTML page's set; a model's words stay words."""

from east_core.evaluation.estimates import Estimate
from east_core.records import Prediction, Question
from east_core.reports.rendering import render
from east_core.reports.solutions import Solution
from east_core.runs.summary import RoundSummary

HOSTILE = "![x](http://y/z)\n# <script>alert(1)</script>"
SCORE = Estimate(0.5, 0.4, 0.6, 100)


def test_what_a_model_wrote_is_nothing_but_text() -> None:
    before = Prediction("q", HOSTILE, HOSTILE, "7", is_correct=False)
    after = Prediction("q", HOSTILE, "7", "7", is_correct=True)
    solution = Solution(Question("q", HOSTILE, HOSTILE), before, after)
    page = render("solutions.md", benchmarks=[{"learnt": [solution]}], longest=1200)
    assert page.startswith("## Learnt\n")
    unsafe = [line for line in page.splitlines() if "<script>" in line or "![x]" in line]
    assert len(unsafe) == 4, "two completions of two lines"
    assert all(line.startswith("    ") for line in unsafe), "in a code block"


def test_the_table_of_rounds_has_a_row_for_each() -> None:
    rounds = [
        RoundSummary(0, {"gsm": SCORE, "math": SCORE}, None, None, None, {}),
        RoundSummary(1, {"gsm": SCORE}, 5, 3, 1.234, {}),
    ]
    pictures = {"accuracy": "http://here/accuracy.svg"}
    page = render("curves.md", rounds=rounds, pictures=pictures, url="store/run", shown=None)
    assert "![accuracy](http://here/accuracy.svg)" in page
    assert "\n| 0 | gsm 50.0% [40.0, 60.0]; math 50.0% [40.0, 60.0] |  |  |  |\n" in page
    assert "\n| 1 | gsm 50.0% [40.0, 60.0] | 5 | 3 | 1.23 |\n" in page
