"""Records survive a round trip through Parquet, nested ones and missing values too."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from east_core.records import Completion, Question, SampledQuestion, entropy_bits
from east_core.seeds import derive_seed
from east_core.tables import ROWS_PER_GROUP, read_table, read_tables, write_table


def sampled(number: int) -> SampledQuestion:
    question = Question(f"q{number}", "1 + 1 = ?", "2", level=None, subject="sums")
    completions = (Completion("\\boxed{2}", "stop", 4, -0.25), Completion("", "length", 9, None))
    return SampledQuestion(question, completions)


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
