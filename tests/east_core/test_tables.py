"""Records survive a round trip through Parquet, nested ones and missing values too."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from east_core.errors import DataError
from east_core.records import (
    Completion,
    Question,
    SampledQuestion,
    TokenIds,
    TrainingExample,
    entropy_bits,
)
from east_core.seeds import derive_seed
from east_core.tables import ROWS_PER_GROUP, read_table, read_tables, write_table


def sampled(number: int) -> SampledQuestion:
    question = Question(f"q{number}", "1 + 1 = ?", "2", level=None, subject="sums")
    completions = (
        Completion("\\boxed{2}", "stop", 4, -0.25, TokenIds([number, 128009])),
        Completion("", "length", 9, None),
        Completion("", "length", ids=TokenIds()),
    )
    return SampledQuestion(question, completions, TokenIds([1, number]) if number else None)


def test_nested_records_come_back_equal(tmp_path: Path) -> None:
    rows = [sampled(number) for number in range(3)]
    assert write_table(tmp_path / "t.parquet", SampledQuestion, rows) == 3
    assert list(read_table(tmp_path / "t.parquet", SampledQuestion)) == rows


def test_rows_stream_in_groups_and_files_follow_each_other(tmp_path: Path) -> None:
    def rows() -> Iterator[Question]:
        yield from (Question(str(number), "p") for number in range(ROWS_PER_GROUP + 5))

    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        write_table(path, Question, rows())
    ids = [row.id for row in read_tables(paths, Question)]
    assert len(ids) == 2 * (ROWS_PER_GROUP + 5)
    assert ids[: ROWS_PER_GROUP + 5] == ids[ROWS_PER_GROUP + 5 :]


def test_rows_after_the_first_of_a_group_keep_their_ids(tmp_path: Path) -> None:
    rows = [sampled(number % 300) for number in range(ROWS_PER_GROUP + 70)]
    write_table(tmp_path / "t.parquet", SampledQuestion, rows)
    assert list(read_table(tmp_path / "t.parquet", SampledQuestion)) == rows


def test_token_ids_are_32_bit_lists_to_everyone_else(tmp_path: Path) -> None:
    row = TrainingExample("q", "?", "5", 1.0, TokenIds([1]), TokenIds([5, 2]))
    write_table(tmp_path / "t.parquet", TrainingExample, [row])
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["completion_ids"].to_pylist() == [[5, 2]]
    assert table.schema.field("completion_ids").type.value_type == pa.int32()


def test_files_from_before_a_field_give_its_default(tmp_path: Path) -> None:
    old = {"question_id": ["q"], "prompt": ["?"], "completion": ["5"], "weight": [1.0]}
    pq.write_table(pa.table(old), tmp_path / "old.parquet")
    expected = TrainingExample("q", "?", "5", 1.0)
    assert list(read_table(tmp_path / "old.parquet", TrainingExample)) == [expected]
    with pytest.raises(DataError, match="no column 'id'"):
        list(read_table(tmp_path / "old.parquet", Question))


def test_samples_from_before_ids_are_read(tmp_path: Path) -> None:
    question = {"id": "q", "prompt": "?", "answer": "5", "level": None, "subject": None}
    completion = {"text": "5", "finish_reason": "stop", "token_count": 2, "mean_logprob": -0.5}
    old = pa.Table.from_pylist([{"question": question, "completions": [completion] * 2}])
    pq.write_table(old, tmp_path / "old.parquet")
    (row,) = read_table(tmp_path / "old.parquet", SampledQuestion)
    assert row == SampledQuestion(Question("q", "?", "5"), (Completion("5", "stop", 2, -0.5),) * 2)


def test_token_ids_behave_as_a_tuple_would() -> None:
    ids = TokenIds([3, 1, 2])
    assert [*ids] == [3, 1, 2]
    assert (ids[-1], ids[:2], len(ids)) == (2, TokenIds([3, 1]), 3)
    assert (ids, hash(ids)) == (TokenIds([3, 1, 2]), hash(TokenIds([3, 1, 2])))
    assert ids != TokenIds([3, 1])
    assert pickle.loads(pickle.dumps(ids)) == ids
    with pytest.raises(OverflowError):
        TokenIds([2**31])


def test_pandas_reads_the_columns_by_field_name(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", Question, [Question("a", "p", "7")])
    assert pd.read_parquet(tmp_path / "t.parquet").answer.tolist() == ["7"]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / name, SampledQuestion, [sampled(1)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_row_that_lacks_a_required_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"null|None|required"):
        write_table(tmp_path / "t.parquet", Question, [Question("a", None)])  # type: ignore[arg-type]


def test_entropy_of_hand_worked_distributions() -> None:
    assert entropy_bits([4]) == 0
    assert entropy_bits([2, 2]) == 1
    assert entropy_bits([1, 1, 1, 1]) == 2
    # 3/4 log2(4/3) + 1/4 log2(4) = 0.3113 + 0.5
    assert entropy_bits([3, 1]) == pytest.approx(0.8112781, abs=1e-7)


def test_seeds_depend_on_their_parts_alone() -> None:
    assert derive_seed(1, "sample", 2) == derive_seed(1, "sample", 2)
    assert len({derive_seed(1, "q", n) for n in range(1000)}) == 1000
    assert 0 <= derive_seed(7, "x") < 2**31
