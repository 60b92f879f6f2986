"""Solutions that are given: questions with a completion to train on."""

from collections.abc import Iterator

from east_core.errors import DataError
from east_core.inputs.questions import file_rows
from east_core.records import TrainingExample

COLUMNS = ("question", "completion")


def load_solutions(path: str) -> Iterator[TrainingExample]:
    """The solutions in JSONL or Parquet, in file order, each with the weight 1.

    Their ids are "replay/ID", or made of their number. Raises DataError naming the row where a
    question or a completion is missing, and where there are none at all.
    """
    number = -1
    for number, (where, row) in enumerate(file_rows(path)):
        for column in COLUMNS:
            if not isinstance(row.get(column), str) or not row[column].strip():
                raise DataError(f"{where}: no text in column {column!r}, which replay needs")
        name = row.get("id")
        yield TrainingExample(
            question_id=f"replay/{f'{number:06d}' if name is None else name}",
            prompt=row["question"].strip(),
            completion=row["completion"],
            weight=1.0,
        )
    if number < 0:
        raise DataError(f"{path}: there are no solutions to replay; it needs at least one")
