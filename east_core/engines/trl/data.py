"""Training examples as token ids on local disk, the same rows for every rank.

One rank reads the round's Parquet rows, takes the ids that were sampled as they are (and makes ids
of text only where a sample has none), drops what is longer than the recipe or the model's context
allows, and writes one Arrow file that all ranks map into memory. The last row is a filler, which
completes a ragged last batch and counts for nothing.
"""

import dataclasses
import functools
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.engines.trl.job import longest_sequence
from east_core.errors import DataError, NothingToLearn
from east_core.inputs.chat import ChatTokenizer, check_tokenizer, prompt_token_ids
from east_core.inputs.turns import end_of_turn, is_kept_by_encoding, stop_ids
from east_core.protocols import NO_IDS, IdSources, TrainingJob, example_type
from east_core.records import LabelledExample, PreferencePair, TokenIds, TrainingExample
from east_core.tables import ROWS_PER_GROUP, read_tables

IGNORED_LABEL = -100
MEAN_TOLERANCE = 1e-6
_IDS = pa.list_(pa.int64())
_COMMON = [("weight", pa.float64()), ("is_counted", pa.bool_())]
_SCHEMAS = {
    "sft": pa.schema([("input_ids", _IDS), ("labels", _IDS), *_COMMON]),
    "dpo": pa.schema(
        [("prompt_ids", _IDS), ("chosen_ids", _IDS), ("rejected_ids", _IDS), *_COMMON]
    ),
    "kto": pa.schema(
        [("prompt_ids", _IDS), ("completion_ids", _IDS), ("label", pa.bool_()), *_COMMON]
    ),
}
Row = dict[str, Any]
Source = Literal["sampled", "ended", "encoded", "drifted"]


@dataclass(frozen=True)
class TrainingData:
    """What was prepared. `examples` counts rows trained on, without the filler.

    `ids` tells where the ids of their completions came from, `digest` what all rows hold
    (`rows_digest`).

    `weight_scale` brings the mean weight back to 1 where examples were too long; it is exactly 1
    where none was, and where the weights need not have mean 1.
    """

    examples: int
    dropped_too_long: int
    weight_scale: float
    ids: IdSources = NO_IDS
    digest: str = ""


@dataclass
class _RowTotals:
    """What is counted while rows stream by."""

    weights: list[float] = field(default_factory=list)
    kept_weights: list[float] = field(default_factory=list)
    sources: Counter[Source] = field(default_factory=Counter)
    run: int = 0
    longest_run: int = 0
    last_question: str | None = None

    def add_question(self, question_id: str) -> None:
        """Follow runs of one question's examples, which stand together."""
        self.run = self.run + 1 if question_id == self.last_question else 1
        self.last_question = question_id
        self.longest_run = max(self.longest_run, self.run)

    def id_sources(self) -> IdSources:
        """Where the kept completions' ids came from."""
        count = self.sources
        encoded = count["encoded"] + count["drifted"]
        return IdSources(count["sampled"], count["ended"], encoded, count["drifted"])


@dataclass(frozen=True)
class _Ids:
    """The ids of prompts and completions: the samples' own, or made of text where there are none.

    A completion is encoded apart from its prompt, as the model would have produced it: no merge
    across the boundary can change the prompt's ids.
    """

    job: TrainingJob
    tokenizer: ChatTokenizer

    @functools.cached_property
    def stops(self) -> frozenset[int]:
        """The ids that end a turn, the user's own among them."""
        return stop_ids(self.job.model.folder, self.tokenizer) | {*self.job.stop_token_ids}

    @functools.cached_property
    def end(self) -> int:
        """The id that ends a turn which has no end yet."""
        return end_of_turn(self.tokenizer, self.stops, self.job.prompt)

    def prompt(self, example: Any) -> list[int]:
        """The prompt's ids."""
        if example.prompt_ids is not None:
            return [*example.prompt_ids]
        return prompt_token_ids(
            self.tokenizer,
            system_prompt=self.job.system_prompt,
            question=example.prompt,
            form=self.job.prompt,
        )

    def completion(self, text: str, ids: TokenIds | None) -> tuple[list[int], Source]:
        """The completion's ids, its end of turn included, and where they are from."""
        if ids is not None:
            ends = len(ids) > 0 and ids[-1] in self.stops
            return ([*ids], "sampled") if ends else ([*ids, self.end], "ended")
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        is_kept = is_kept_by_encoding(self.tokenizer, text, encoded)
        return [*encoded, self.end], "encoded" if is_kept else "drifted"


def prepare_data(job: TrainingJob, tokenizer: ChatTokenizer, path: Path) -> TrainingData:
    """Write the tokenised rows of `job` to the Arrow file `path`.

    Raises DataError for weights that are missing, negative, NaN or not of mean 1 and for a
    tokenizer without chat template or EOS; NothingToLearn where less than one global batch is left.
    """
    check_tokenizer(tokenizer, job.system_prompt, str(job.model.folder), job.prompt)
    totals = _RowTotals()
    rows = _rows(job, tokenizer, totals)
    _write_arrow(path, _SCHEMAS[job.recipe.loss], rows)
    data = _summary(job, totals)
    if isinstance(job.recipe, KtoRecipe):
        _add_kl_completions(path, _kl_partners(job, data.examples, totals.longest_run))
    data = dataclasses.replace(data, digest=rows_digest(path))
    path.with_suffix(".json").write_bytes(msgspec.json.encode(data))
    return data


def read_summary(path: Path) -> TrainingData:
    """What `prepare_data` told when it wrote `path`."""
    return msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=TrainingData)


def rows_digest(path: Path) -> str:
    """SHA-256 of the rows of `path`: their ids, labels and weights, in order."""
    digest = hashlib.sha256()
    table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    for name in table.column_names:
        digest.update(name.encode())
        for values in _plain_values(table[name]):
            digest.update(values.tobytes())
    return digest.hexdigest()


def _plain_values(column: pa.ChunkedArray) -> Iterator[npt.NDArray[Any]]:
    """A column's numbers, for lists after the lists' lengths; the same however it is chunked."""
    is_nested = pa.types.is_list(column.type)
    parts = [pc.list_value_length(column), pc.list_flatten(column)] if is_nested else [column]
    for part in parts:
        yield from (chunk.to_numpy(zero_copy_only=False) for chunk in part.chunks)


def row_lengths(path: Path) -> list[int]:
    """Tokens of the longest sequence of every row of `path`, the filler's last."""
    table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    counts = {
        name: pc.list_value_length(table[name]).to_numpy()
        for name in table.column_names
        if name == "input_ids" or name in _COMPLETION_COLUMNS or name == "prompt_ids"
    }
    if "input_ids" in counts:
        lengths: npt.NDArray[np.int64] = counts["input_ids"]
    else:
        prompts = counts.pop("prompt_ids")
        lengths = prompts + np.maximum.reduce(list(counts.values()))
    return [int(length) for length in lengths]


def _rows(job: TrainingJob, tokenizer: ChatTokenizer, totals: _RowTotals) -> Iterator[Row]:
    row_of, longest = _row_builder(job, _Ids(job, tokenizer)), longest_sequence(job)
    for example in read_tables(job.examples, example_type(job.recipe)):
        totals.weights.append(_checked_weight(example.question_id, example.weight))
        row, *sources = row_of(example)
        if _longest(row) > longest:
            continue
        totals.kept_weights.append(example.weight)
        totals.sources.update(sources)
        totals.add_question(example.question_id)
        yield {**row, "weight": example.weight, "is_counted": True}
    yield {**_FILLERS[job.recipe.loss], "weight": 0.0, "is_counted": False}


def _row_builder(job: TrainingJob, ids: _Ids) -> Callable[[Any], tuple[Any, ...]]:
    """A function that makes an example a row, followed by the source of each of its completions."""

    def sft(example: TrainingExample) -> tuple[Any, ...]:
        before = ids.prompt(example)
        after, source = ids.completion(example.completion, example.completion_ids)
        labels = [IGNORED_LABEL] * len(before) + after
        return {"input_ids": before + after, "labels": labels}, source

    def dpo(example: PreferencePair) -> tuple[Any, ...]:
        chosen, source = ids.completion(example.chosen, example.chosen_ids)
        rejected, other = ids.completion(example.rejected, example.rejected_ids)
        sides = {"chosen_ids": chosen, "rejected_ids": rejected}
        return {"prompt_ids": ids.prompt(example), **sides}, source, other

    def kto(example: LabelledExample) -> tuple[Any, ...]:
        completion, source = ids.completion(example.completion, example.completion_ids)
        sides = {"prompt_ids": ids.prompt(example), "completion_ids": completion}
        return {**sides, "label": example.is_desirable}, source

    match job.recipe:
        case SftRecipe():
            return sft
        case DpoRecipe():
            return dpo
        case KtoRecipe():
            return kto


_FILLERS: dict[str, Row] = {
    "sft": {"input_ids": [0, 0], "labels": [IGNORED_LABEL] * 2},
    "dpo": {"prompt_ids": [0], "chosen_ids": [0], "rejected_ids": [0]},
    "kto": {"prompt_ids": [0], "completion_ids": [0], "label": True},
}


def _checked_weight(question_id: str, weight: float | None) -> float:
    if weight is None or not math.isfinite(weight) or weight < 0:
        raise DataError(
            f"question {question_id!r} has training weight {weight}; weights must be finite and "
            "not negative: write the examples again"
        )
    return weight


def _longest(row: Row) -> int:
    """Tokens of the row's longest sequence."""
    if "input_ids" in row:
        return len(row["input_ids"])
    completions = (len(ids) for name, ids in row.items() if name in _COMPLETION_COLUMNS)
    return len(row["prompt_ids"]) + max(completions)


_COMPLETION_COLUMNS = {"chosen_ids", "rejected_ids", "completion_ids"}


def _summary(job: TrainingJob, totals: _RowTotals) -> TrainingData:
    total, kept = len(totals.weights), len(totals.kept_weights)
    if job.has_mean_one:
        _check_mean(totals.weights)
    batch = job.recipe.global_batch_size
    if kept < batch:
        raise NothingToLearn(
            f"{kept} training examples are left ({total - kept} longer than "
            f"{longest_sequence(job)} tokens dropped), less than one batch of {batch}; lower "
            "training.global_batch_size, or sample more questions"
        )
    weight = math.fsum(totals.kept_weights)
    if weight == 0:
        raise NothingToLearn(
            f"all {kept} training examples have weight 0; choose another weighting or exponent"
        )
    scale = 1.0 if kept == total or not job.has_mean_one else kept / weight
    return TrainingData(kept, total - kept, scale, totals.id_sources())


def _check_mean(weights: Sequence[float]) -> None:
    if not weights:
        return
    mean = math.fsum(weights) / len(weights)
    if abs(mean - 1) > MEAN_TOLERANCE:
        raise DataError(
            f"the {len(weights)} training weights have mean {mean:.9g}, not 1, which would change "
            "the learning rate; rescale them by 1 / mean"
        )


def _write_arrow(path: Path, schema: pa.Schema, rows: Iterable[Row]) -> None:
    """Write rows as an Arrow stream, a group at a time."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        group: list[Row] = []
        for row in rows:
            group.append(row)
            if len(group) == ROWS_PER_GROUP:
                writer.write_batch(pa.RecordBatch.from_pylist(group, schema))
                group = []
        writer.write_batch(pa.RecordBatch.from_pylist(group, schema))


def _kl_partners(job: TrainingJob, examples: int, longest_run: int) -> npt.NDArray[np.int64]:
    """For each row, the row whose completion is its mismatched one in KTO's KL estimate.

    invariant: all completions moved on by the longest run of one question's examples, so that no
    prompt meets a completion of its own question. trl: moved on by one within each micro-batch.
    """
    assert isinstance(job.recipe, KtoRecipe)
    rows = np.arange(examples)
    if job.recipe.kl == "invariant":
        return (rows - longest_run) % examples
    size = job.resources.micro_batch_size
    start = rows // size * size
    width = np.minimum(start + size, examples) - start
    partners: npt.NDArray[np.int64] = start + (rows - start - 1) % width
    return partners


def _add_kl_completions(path: Path, partners: npt.NDArray[np.int64]) -> None:
    table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    filler = len(partners)
    moved = table["completion_ids"].take(pa.array([*partners, filler]))
    table = table.append_column("KL_completion_ids", moved)
    complete = path.with_suffix(".kl")
    with pa.OSFile(str(complete), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS_PER_GROUP)
    complete.replace(path)
