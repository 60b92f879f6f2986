"""Questions from every source, each with its gold answer, or one line that says what is wrong."""

import json
from pathlib import Path

import fsspec
import pytest

from east_core.config import DatasetConfig
from east_core.errors import DataError
from east_core.inputs.questions import WithGold, load_questions
from east_core.records import Question
from east_core.tables import write_table


def write_jsonl(path: Path, *rows: object) -> DatasetConfig:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DatasetConfig(path=str(path))


def test_gsm8k_keeps_the_number_behind_the_hashes(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "16 - 3 = <<16-3=13>>13\n#### 1,300"}
    config = write_jsonl(tmp_path / "gsm8k.jsonl", row).model_copy(update={"format": "gsm8k"})
    assert list(load_questions(config)) == [Question("gsm8k-000000", "How many?", "1,300")]


def test_math_keeps_nested_braces_level_and_subject(tmp_path: Path) -> None:
    row = {
        "problem": "Half?",
        "solution": "So \\boxed{\\frac{1}{2}}.",
        "level": "Level 3",
        "type": "Algebra",
    }
    config = write_jsonl(tmp_path / "math.jsonl", row).model_copy(update={"format": "math"})
    (question,) = load_questions(config)
    assert question.answer == "\\frac{1}{2}"
    assert (question.level, question.subject) == ("Level 3", "Algebra")


def test_a_table_by_column_mapping_from_parquet_and_any_url(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", Question, [Question("a", "1+1?", "2")])
    filesystem = fsspec.filesystem("memory")
    filesystem.put_file(str(tmp_path / "table.parquet"), "/questions/table.parquet")
    config = DatasetConfig(
        path="memory://questions", question_column="prompt", answer_column="answer"
    )
    assert list(load_questions(config)) == [Question("a", "1+1?", "2")]


def test_a_folder_is_read_in_order_up_to_the_limit(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b.jsonl", {"question": "third", "answer": "3"})
    write_jsonl(
        tmp_path / "a.jsonl",
        {"question": "first", "answer": "1"},
        {"question": "second", "answer": "2"},
    )
    whole = DatasetConfig(path=str(tmp_path))
    assert [q.prompt for q in load_questions(whole)] == ["first", "second", "third"]
    two = DatasetConfig(path=str(tmp_path / "*.jsonl"), limit=2)
    assert [q.answer for q in load_questions(two)] == ["1", "2"]


def test_label_free_questions_have_no_answer(tmp_path: Path) -> None:
    config = write_jsonl(tmp_path / "q.jsonl", {"question": "Why?"})
    (question,) = load_questions(config.model_copy(update={"answer_column": None}))
    assert question.answer is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"question": "q", "answer": ""}', "q.jsonl line 1: no gold answer in column 'answer'"),
        ('{"question": "q"}', "q.jsonl line 1: no gold answer"),
        ('{"answer": "1"}', r"q.jsonl line 1: no question in column 'question'; the row has"),
        ('{"question": "q", "answer": "1"}\n{oops', "q.jsonl line 2: not JSON"),
        ("[1, 2]", "q.jsonl line 1: expected a JSON object, got list"),
        ("", "the data set is empty"),
        (
            '{"id": 1, "question": "q", "answer": "1"}\n{"id": 1, "question": "r", "answer": "2"}',
            "line 2: id '1' stands at q.jsonl line 1 already",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(lines)
    with pytest.raises(DataError, match=message):
        list(load_questions(DatasetConfig(path=str(path))))


def test_a_solution_without_a_final_answer_is_left_out_and_listed(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "it is seven"}, {"question": "r", "answer": "#### 7"}]
    config = write_jsonl(tmp_path / "q.jsonl", *rows).model_copy(update={"format": "gsm8k"})
    questions = WithGold(config)
    assert [question.answer for question in questions] == ["7"]
    assert questions.without == ["q-000000"]


def test_a_data_set_of_another_answer_format_is_refused(tmp_path: Path) -> None:
    config = write_jsonl(tmp_path / "q.jsonl", {"question": "q", "answer": "it is seven"})
    with pytest.raises(DataError, match=r"no solution ends in a final answer.*'#### 72'"):
        list(WithGold(config.model_copy(update={"format": "gsm8k"})))


def test_a_path_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.jsonl or \.parquet file there"):
        list(load_questions(DatasetConfig(path=str(tmp_path / "absent.jsonl"))))


@pytest.mark.parametrize(
    ("name", "format_", "count", "without"),
    [
        ("gsm8k_train", "gsm8k", 7473, 0),
        ("gsm8k_test", "gsm8k", 1319, 0),
        ("math_train_4subjects", "math", 4587, 2),  # each ends in an empty box
        ("math_test", "math", 5000, 0),
    ],
)
def test_the_real_data_sets_parse_completely(
    shared_data: Path, name: str, format_: str, count: int, without: int
) -> None:
    config = DatasetConfig.model_validate(
        {"path": str(shared_data / f"{name}.jsonl"), "format": format_}
    )
    questions = WithGold(config)
    assert sum(1 for _ in questions) == count
    assert len(questions.without) == without


def test_solutions_that_box_different_things_are_listed(tmp_path: Path) -> None:
    rows = [
        {"problem": "Roots?", "solution": "So \\boxed{2} and \\boxed{3}."},
        {"problem": "Root?", "solution": "So \\boxed{2}, again \\boxed{2}."},
    ]
    config = write_jsonl(tmp_path / "math.jsonl", *rows).model_copy(update={"format": "math"})
    questions = WithGold(config)
    assert [question.answer for question in questions] == ["3", "2"]
    assert questions.several == ["math-000000"]
