"""A round that keeps nothing: each cause has a message that names the setting to change."""

import pytest

from east_core.answers.grading import Grader
from east_core.answers.gradings import PythonGrading
from east_core.errors import NothingToLearn
from east_core.records import Completion, Question, SampledQuestion
from east_core.tables import write_table
from east_core.weighting.strategies import EntropyWeighting, LabelFree
from east_core.weighting.weighing import WeighingRules, weigh_samples

CUT = [Completion("so far 4 + 3", "length")] * 3
WRONG = [Completion("so \\boxed{2}", "stop"), Completion("so \\boxed{3}", "stop")]
RIGHT = Completion("so \\boxed{1}", "stop")
SILENT = Completion("They have three cats and four dogs, and that is all there is.", "stop")
UNBOXED = [Completion("The answer is 1.", "stop"), Completion("The answer is 5.", "stop")]


def message(folder, completions, **rules):
    questions = [SampledQuestion(Question(f"q{i}", "?", "1"), tuple(completions)) for i in range(4)]
    write_table(folder / "samples.parquet", SampledQuestion, questions)
    (folder / "out").mkdir()
    rule, shards = WeighingRules(EntropyWeighting(), **rules), [folder / "samples.parquet"]
    with Grader(processes=1) as grader, pytest.raises(NothingToLearn) as raised:
        weigh_samples(shards, folder / "out", rule, grader)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("completions", "shares", "setting"),
    [
        ([*CUT, SILENT], "75.0% truncated, 100.0% without an answer", "sampling.max_tokens"),
        ([*UNBOXED, *UNBOXED, SILENT], "80.0% with an answer but no box, 40.0% right",
         "training.targets = 'any'"),
        ([SILENT] * 4, "0.0% truncated, 100.0% without an answer", "sampling.system_prompt"),
        ([*WRONG, *WRONG], "100.0% wrong, 0.0% correct", "model.name"),
        ([RIGHT] * 4, "0.0% wrong, 100.0% correct", "sampling.temperature"),
    ],
)  # fmt: skip
def test_each_cause_names_its_shares_and_its_setting(tmp_path, completions, shares, setting):
    told = message(tmp_path, completions)
    assert told.startswith("none of 4 questions is kept")
    assert shares in told
    assert setting in told.split(". ")[-1]


def test_without_gold_answers_the_majority_is_what_is_missing(tmp_path):
    told = message(tmp_path, WRONG, label_free=LabelFree())
    assert "4 no_majority" in told
    assert "label_free.min_majority" in told


def test_where_any_answer_counts_none_is_unboxed(tmp_path):
    told = message(tmp_path, [UNBOXED[1], UNBOXED[1]], policy="lenient")
    assert "0.0% with an answer but no box, 100.0% wrong" in told


def test_what_no_grader_could_tell_is_no_matter_of_the_prompt(tmp_path):
    (tmp_path / "mine.py").write_text("def f(a, b): return 1 / 0")
    grading = PythonGrading(functions="mine:f", folder=str(tmp_path))
    said = message(tmp_path, [RIGHT] * 4, grading=grading)
    assert "4 answers could not be told, as warned: correct the grading's functions" in said
