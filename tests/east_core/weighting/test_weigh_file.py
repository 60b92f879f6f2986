import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from east_core.answers.gradings import ChoiceGrading, PythonGrading
from east_core.errors import ConfigError, DataError
from east_core.weighting.strategies import (
    DifficultyWeighting,
    EntropyWeighting,
    LabelFree,
    PerplexityWeighting,
    UniformWeighting,
)
from east_core.weighting.weigh_file import weigh_file

DATA = Path(
    os.environ.get("EAST_SHARED_DATA", Path(__file__).parents[3].parent / "shared" / "data")
)
ENTROPY = EntropyWeighting()
MIXED = {"id": "a", "question": "?", "gold": "72", "responses": ["#### 72", r"\boxed{70}"]}
SPREAD = {"id": 7, "gold": 1, "responses": ["1", "2", "3", "I am not sure about that."]}
KNOWN = {"id": "c", "gold": "5", "responses": ["#### 5", r"\boxed{5.0}"]}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def weigh(tmp_path):
    def weigh(rows, weighting=ENTROPY, **settings):
        source = write_lines(tmp_path / "samples.jsonl", rows)
        weigh_file(source, tmp_path / "out.jsonl", weighting, processes=1, **settings)
        return read_lines(tmp_path / "out.jsonl")

    return weigh


def test_a_file_is_weighed_under_another_grading(weigh):
    row = {"id": 1, "gold": "B", "responses": ["The answer is b", "(B) cells", "(C)", "Answer: C"]}
    (line,) = weigh([row], grading=ChoiceGrading())
    found = sorted((c["count"], c["is_correct"]) for c in line["clusters"])
    assert found == [(2, False), (2, True)]


def test_a_gold_answer_that_functions_reject_is_named(weigh, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def extract(text, question): return text\n"
        "def same(a, b): return a == b\n"
        "def accepts(gold): return gold.isdigit()\n"
    )
    grading = PythonGrading(functions="mine", folder=str(tmp_path))
    rows = [{"id": n, "gold": gold, "responses": ["1"]} for n, gold in enumerate(["1", "one"])]
    with pytest.raises(DataError, match=r"answer of 1: 'one': accepts\(gold\) returned False"):
        weigh(rows, grading=grading)
    assert not (tmp_path / "out.jsonl").exists()
    assert len(weigh(rows[:1], grading=grading)) == 1


def test_the_output_line_by_line(weigh):
    assert weigh([MIXED, SPREAD, KNOWN]) == [
        {
            "id": "a",
            "clusters": [
                {"answer": "70", "count": 1, "is_correct": False},
                {"answer": "72", "count": 1, "is_correct": True},
            ],
            "entropy_bits": 1.0,
            "accuracy": 0.5,
            "rejected_share": 0.5,
            "kept": True,
            "drop_reason": None,
            "weight": pytest.approx(2 / 3),
        },
        {
            "id": 7,
            "clusters": [
                {"answer": "1", "count": 1, "is_correct": True},
                {"answer": "2", "count": 1, "is_correct": False},
                {"answer": "3", "count": 1, "is_correct": False},
                {"answer": None, "count": 1, "is_correct": False},
            ],
            "entropy_bits": 2.0,
            "accuracy": 0.25,
            "rejected_share": 0.25,
            "kept": True,
            "drop_reason": None,
            "weight": pytest.approx(4 / 3),
        },
        {
            "id": "c",
            "clusters": [{"answer": "5", "count": 2, "is_correct": True}],
            "entropy_bits": 0.0,
            "accuracy": 1.0,
            "rejected_share": 0.0,
            "kept": False,
            "drop_reason": "unanimous",
            "weight": 0.0,
        },
    ]


def test_a_file_in_which_every_question_is_unanimous_is_a_result(weigh):
    (line,) = weigh([KNOWN])
    assert (line["kept"], line["drop_reason"], line["weight"]) == (False, "unanimous", 0)
    (line,) = weigh([KNOWN], UniformWeighting(drop_unanimous=False))
    assert (line["kept"], line["drop_reason"], line["weight"]) == (True, None, 1)


def test_parquet_in_and_out_says_the_same_as_jsonl(weigh, tmp_path):
    rows = [MIXED, {**SPREAD, "id": "b", "gold": "1"}, KNOWN]
    lines = weigh(rows)
    source, out = tmp_path / "samples.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.Table.from_pylist(rows), source)
    weigh_file(source, out, EntropyWeighting(), processes=1)
    assert pq.read_table(out).to_pylist() == lines


def test_the_gold_answer_may_be_a_whole_solution(weigh):
    (line,) = weigh([{**MIXED, "gold": "70 + 2 = <<70+2=72>>72\n#### 72"}])
    assert line["accuracy"] == 0.5
    (line,) = weigh([{**MIXED, "gold": r"so $\boxed{72}$."}])
    assert line["accuracy"] == 0.5


def test_label_free_lines_carry_the_pseudo_label(weigh):
    rows = [{"id": "a", "responses": ["7", "7", "2"]}, {"id": "b", "responses": ["7", "2"]}]
    lines = weigh(rows, label_free=LabelFree())
    assert [line["pseudo_label"] for line in lines] == ["7", None]
    assert [line["drop_reason"] for line in lines] == [None, "no_majority"]
    assert lines[0]["clusters"][0]["is_correct"]


def test_difficulty_lines_carry_the_number_of_examples(weigh):
    lines = weigh([MIXED, SPREAD], DifficultyWeighting(most_examples=8))
    assert [line["example_count"] for line in lines] == [4, 6]


def test_log_probabilities_and_finish_reasons_are_used(weigh):
    rows = [
        {**MIXED, "mean_logprobs": [-1.0, -5.0]},
        {**MIXED, "id": "b", "mean_logprobs": [0.0, -5.0]},
    ]
    weights = [line["weight"] for line in weigh(rows, PerplexityWeighting())]
    assert weights[0] / weights[1] == pytest.approx(2.718281828)
    (line,) = weigh([{**MIXED, "finish_reasons": ["length", "stop"]}])
    assert line["clusters"][1]["answer"] is None
    with pytest.raises(DataError, match="mean_logprob"):
        weigh([MIXED], PerplexityWeighting())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "line 3: not JSON"),
        (b"\xff\xfe", "line 3: not UTF-8"),
        ("[" * 100_000, "line 3: not JSON"),
        ("[1, 2]", "line 3: not an object"),
        ('{"gold": "1", "responses": ["1"]}', "line 3: 'id'"),
        ('{"id": null, "gold": "1", "responses": ["1"]}', "line 3: 'id'"),
        ('{"id": 1, "responses": ["1"]}', "line 3: 'gold'.*--label-free"),
        ('{"id": 1, "gold": " ", "responses": ["1"]}', "line 3: 'gold'"),
        ('{"id": 1, "gold": ["1"], "responses": ["1"]}', "line 3: 'gold'"),
        ('{"id": 1, "gold": "1"}', "line 3: 'responses'"),
        ('{"id": 1, "gold": "1", "responses": []}', "line 3: 'responses'"),
        ('{"id": 1, "gold": "1", "responses": "1"}', "line 3: 'responses'"),
        ('{"id": 1, "gold": "1", "responses": ["1", 2]}', "line 3: every one of 'responses'"),
        ('{"id": 1, "gold": "1", "responses": ["1"], "mean_logprobs": []}', "line 3: 'mean_logp"),
        ('{"id": 1, "gold": "1", "responses": ["1"], "mean_logprobs": [2]}', "line 3: 2 is not"),
        ('{"id": 1, "gold": "1", "responses": ["1"], "finish_reasons": ["x"]}', "line 3: 'x' is"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_malformed_lines_are_named_and_leave_no_output(tmp_path, line, message):
    good = json.dumps(MIXED).encode() + b"\n\n"  # an empty line counts, and is not malformed
    source, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(good + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    out.write_text("what was here before")
    with pytest.raises(DataError, match=message) as caught:
        weigh_file(source, out, EntropyWeighting(), processes=1)
    assert "\n" not in str(caught.value)
    assert out.read_text() == "what was here before"
    assert {path.name for path in tmp_path.iterdir()} == {"samples.jsonl", "out.jsonl"}


def test_paths_that_cannot_be_used_are_named(tmp_path):
    source = write_lines(tmp_path / "samples.jsonl", [MIXED])
    empty = write_lines(tmp_path / "empty.jsonl", [])
    fake = tmp_path / "fake.parquet"
    fake.write_text("not parquet")
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    for wrong_source, out, message in (
        (tmp_path / "none.jsonl", tmp_path / "o.jsonl", "no file"),
        (tmp_path / "none.csv", tmp_path / "o.jsonl", "must end in"),
        (source, tmp_path / "o.csv", "must end in"),
        (source, tmp_path / "none" / "o.jsonl", "can't write"),
        (source, folder, "is a folder"),
        (empty, tmp_path / "o.jsonl", "no questions"),
        (fake, tmp_path / "o.jsonl", "can't be read as Parquet"),
    ):
        with pytest.raises(DataError, match=message):
            weigh_file(wrong_source, out, EntropyWeighting(), processes=1)
        assert not out.is_file()


def test_an_undefined_weighting_leaves_no_output(weigh, tmp_path):
    with pytest.raises(ConfigError, match="infinite"):
        weigh([KNOWN], EntropyWeighting(exponent=-1, drop_unanimous=False))
    assert not (tmp_path / "out.jsonl").exists()


def test_half_a_surrogate_pair_is_data(tmp_path):
    source = tmp_path / "samples.jsonl"
    source.write_text('{"id": "a", "gold": "1", "responses": ["\\ud83d \\\\boxed{1}", "2"]}\n')
    weigh_file(source, tmp_path / "out.jsonl", EntropyWeighting(), processes=1)
    assert read_lines(tmp_path / "out.jsonl")[0]["accuracy"] == 0.5


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared GSM8K and MATH files")
@pytest.mark.parametrize("name", ["gsm8k_train", "math_test"])
def test_a_thousand_real_solutions_are_all_correct_with_entropy_zero(weigh, name):
    lines = [json.loads(line) for line in (DATA / f"{name}.jsonl").open()][:1000]
    rows = [
        {"id": number, "gold": line["answer"], "responses": [line["answer"]] * 2}
        for number, line in enumerate(lines)
    ]
    for line in weigh(rows):
        assert (line["accuracy"], line["entropy_bits"]) == (1, 0), line
