"""The questions of a round with their clusters, weights and completions, a page at a time.

Filters and sorting work on columns of the weighed questions, and only the completions of the
questions on the page are read, without their token ids.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from east_core.errors import StoreError
from east_core.runs.addresses import (
    SAMPLES_FILE,
    SHARDS_FILE,
    WEIGHTS_FOLDER,
    RunAddresses,
    shard_questions,
)
from east_core.store import Store

PER_PAGE = 20
FILTERS = {
    "all": "all questions",
    "kept": "kept",
    "dropped": "dropped",
    "all-wrong": "all wrong",
    "no-answer": "a completion without an answer",
    "truncated": "a completion cut off",
    "gained": "right for the first time since the round before",
    "lost": "no longer right since the round before",
}
SORTS = {
    "order": "order of the data set",
    "weight": "weight, largest first",
    "entropy": "entropy, largest first",
    "accuracy": "accuracy, lowest first",
}
_COLUMNS = {"weight": ("weight", "descending"), "entropy": ("entropy_bits", "descending")}
_COLUMNS["accuracy"] = ("accuracy", "ascending")


@dataclass(frozen=True)
class ShownCompletion:
    """A completion and the answer of its cluster."""

    text: str
    answer: str | None
    is_correct: bool
    finish_reason: str
    token_count: int
    mean_logprob: float | None


@dataclass(frozen=True)
class ShownQuestion:
    """A question of the page: `weighed` holds the columns of its row."""

    prompt: str
    gold: str | None
    weighed: Mapping[str, Any]
    completions: Sequence[ShownCompletion]


@dataclass(frozen=True)
class SamplesPage:
    """One page of a round's questions; `matching` of `total` pass the filter.

    `sets` are the names of a mixture's sets.
    """

    questions: Sequence[ShownQuestion]
    matching: int
    total: int
    page: int
    sets: Sequence[str] = ()

    @property
    def pages(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-self.matching // PER_PAGE))


def samples_page(
    store: Store, run: str, number: int, shown: str, sort: str, page: int, of_set: str = ""
) -> SamplesPage:
    """A page of the questions of round `number`, of one set of a mixture where it is named.

    Raises StoreError where the round is not weighed.
    """
    table = _weighed(store, run, number)
    chosen = _filtered(store, run, number, table, shown)
    if of_set:
        chosen = chosen.filter(pc.starts_with(chosen["question_id"], f"{of_set}/"))
    if sort in _COLUMNS:
        chosen = chosen.sort_by([_COLUMNS[sort], ("position", "ascending")])
    page = min(max(1, page), max(1, -(-chosen.num_rows // PER_PAGE)))
    rows = chosen.slice((page - 1) * PER_PAGE, PER_PAGE).to_pylist()
    sampled = _sampled(store, run, number, [row["position"] for row in rows])
    questions = [_shown(row, sampled[row["position"]]) for row in rows]
    sets = store.require(RunAddresses(run).weights(number)).facts.get("sets", {})
    return SamplesPage(questions, chosen.num_rows, table.num_rows, page, list(sets))


def _weighed(store: Store, run: str, number: int) -> Any:
    """The weighed questions of a round as a table, with their position in the data set."""
    record = store.require(RunAddresses(run).weights(number))
    folder = store.fetch(record) / WEIGHTS_FOLDER
    table = pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("*.parquet")))
    return table.append_column("position", pa.array(range(table.num_rows)))


def _filtered(store: Store, run: str, number: int, table: Any, shown: str) -> Any:
    masks = {
        "kept": lambda: table["kept"],
        "dropped": lambda: pc.invert(table["kept"]),
        "all-wrong": lambda: pc.equal(table["accuracy"], 0.0),
        "no-answer": lambda: pc.greater(table["no_answer"], 0),
        "truncated": lambda: pc.greater(table["truncated"], 0),
        "gained": lambda: _flipped(store, run, number, table, is_gain=True),
        "lost": lambda: _flipped(store, run, number, table, is_gain=False),
    }
    return table.filter(masks[shown]()) if shown in masks else table


def _flipped(store: Store, run: str, number: int, table: Any, *, is_gain: bool) -> Any:
    """Which questions have a right completion now and had none in the round before, or reverse."""
    if number < 2 or store.record(RunAddresses(run).weights(number - 1)) is None:
        return pa.array([False] * table.num_rows)
    before = _weighed(store, run, number - 1)
    solved = {
        name
        for name, share in zip(
            before["question_id"].to_pylist(), before["accuracy"].to_pylist(), strict=True
        )
        if share > 0
    }
    now = zip(table["question_id"].to_pylist(), table["accuracy"].to_pylist(), strict=True)
    if is_gain:
        return pa.array([share > 0 and name not in solved for name, share in now])
    return pa.array([share == 0 and name in solved for name, share in now])


def _sampled(
    store: Store, run: str, number: int, positions: Sequence[int]
) -> dict[int, Mapping[str, Any]]:
    """The sampled questions at these positions of the data set."""
    record = store.require(RunAddresses(run).samples(number))
    index = json.loads((store.fetch(record, [SHARDS_FILE]) / SHARDS_FILE).read_text("utf-8"))
    found: dict[int, Mapping[str, Any]] = {}
    first = 0
    for address in index:
        count = len(shard_questions(address))
        wanted = [position for position in positions if first <= position < first + count]
        if wanted:
            file = store.fetch(store.require(address), [SAMPLES_FILE]) / SAMPLES_FILE
            table = _without_ids(file)
            found |= {at: table.slice(at - first, 1).to_pylist()[0] for at in wanted}
        first += count
    if len(found) < len(set(positions)):
        raise StoreError(f"{record.address} lists fewer questions than are weighed")
    return found


def _without_ids(path: Path) -> Any:
    with pq.ParquetFile(path) as file:
        paths = [file.schema.column(i).path for i in range(len(file.schema))]
        kept = [path for path in paths if not {"ids", "prompt_ids"} & set(path.split("."))]
        return file.read(columns=kept)


def _shown(row: Mapping[str, Any], sampled: Mapping[str, Any]) -> ShownQuestion:
    clusters = {
        member: (cluster["answer"], cluster["is_correct"])
        for cluster in row["clusters"]
        for member in cluster["members"]
    }
    completions = [
        ShownCompletion(
            text=each["text"],
            answer=clusters.get(at, (None, False))[0],
            is_correct=clusters.get(at, (None, False))[1],
            finish_reason=each["finish_reason"],
            token_count=each["token_count"],
            mean_logprob=each["mean_logprob"],
        )
        for at, each in enumerate(sampled["completions"])
    ]
    return ShownQuestion(
        sampled["question"]["prompt"], sampled["question"]["answer"], row, completions
    )
