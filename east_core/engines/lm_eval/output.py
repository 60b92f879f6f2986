"""What lm-evaluation-harness writes: results_*.json, and samples_TASK_*.jsonl with --log_samples.

A task is a program of somebody else, and its files are believed no more than a model's text: they
are regular files within the folder that was given, of bounded size, and each value that is taken
out of them is looked at.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.config import HarnessTask
from east_core.engines.lm_eval.rows import Row, row_of
from east_core.errors import ConfigError, DataError, EngineError

MAX_RESULTS_BYTES = 64 * 2**20
MAX_SAMPLES_BYTES = 8 * 2**30
MAX_LINE_BYTES = 8 * 2**20
LISTED = 8
# What comes of JSON that is none, or holds other things than it should.
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)
# Where the task and its data lie, what was said on the command line, and what a model adds.
_PLACES = ("metadata", "dataset_kwargs", "num_fewshot")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of a function whose source is not told
# Outcomes that are shares or counts, and 0 for a stand-in's answers.
_GRADED = re.compile(r"bleu|rouge|chrf|ter$|f1|perplexity|bits_|brier|mcc|likelihood|edit|sim")


@dataclass(frozen=True)
class Output:
    """The results of one task, and its samples, a line for each question and filter."""

    task: str
    results: Mapping[str, Any]
    samples: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What the task is: the harness's version, the task's own, and its settings."""
        config = self.results["configs"][self.task]
        return {
            "lm_eval": _short(self.results.get("lm_eval_version")),
            "version": _short(_part(self.results, "versions").get(self.task)),
            "config": {
                name: json.loads(_ADDRESS.sub("", json.dumps(value)))
                for name, value in sorted(config.items())
                if name not in _PLACES
            },
        }

    @property
    def fewshot(self) -> int | None:
        """Examples in front of each question, as they were asked."""
        count = _part(self.results, "n-shot").get(self.task)
        return count if isinstance(count, int) else None

    @property
    def transformers(self) -> str:
        """The version of transformers that asked."""
        return _short(self.results.get("transformers_version"))

    def metrics(self) -> dict[str, bool]:
        """METRIC,FILTER of all outcomes, in the task's order: is it 0 or 1 for every question?"""
        found: dict[str, bool] = {}
        for row in self._rows():
            for name, value in row.outcomes.items():
                key = f"{name},{row.filter}"
                found[key] = found.get(key, True) and as_outcome(value) is not None
        return found

    def graded(self, metric: str) -> list[tuple[Row, bool]]:
        """Each question with its outcome under METRIC,FILTER, in the order of documents.

        Raises DataError where an outcome is not 0 or 1, or a document comes twice.
        """
        name, _, chosen = metric.rpartition(",")
        rows = [row for row in self._rows() if row.filter == chosen and name in row.outcomes]
        rows.sort(key=lambda row: row.number)
        numbers = [row.number for row in rows]
        if len(set(numbers)) < len(numbers):
            raise DataError(f"lm_eval task {self.task}: {self.samples.name} has a document twice")
        if not rows:
            raise DataError(f"lm_eval task {self.task}: no outcome {metric} in its samples")
        return [(row, self._outcome(row, name)) for row in rows]

    def _outcome(self, row: Row, name: str) -> bool:
        outcome = as_outcome(value := row.outcomes[name])
        if outcome is None:
            raise DataError(
                f"lm_eval task {self.task}: {name} of document {row.number} is "
                f"{_short(value)}, which is not 0 or 1; name another outcome as the benchmark's "
                "metric"
            )
        return outcome

    def _rows(self) -> Iterator[Row]:
        for number, line in enumerate(_lines(self.samples), start=1):
            try:
                yield row_of(_json(line))
            except UNREADABLE as error:
                reason = _short(f"{type(error).__name__}: {error}")
                raise DataError(
                    f"lm_eval task {self.task}: line {number} of {self.samples.name} can't be "
                    f"read ({reason}); docs/evaluation.md names the versions that are known"
                ) from error


def read_output(folder: Path, task: HarnessTask, last_output: str) -> Output:
    """The results and samples of `task` below `folder`.

    Raises EngineError where they are not there, DataError where they can't be believed, and
    ConfigError where the task is several.
    """
    found = _one(folder, "results_*.json", task.task, last_output)
    results = _results(found, task.task)
    names = sorted(map(str, results["configs"]))
    if names != [task.task]:
        more = ", ..." if len(names) > LISTED else ""
        raise ConfigError(
            f"lm_eval task {task.task} is {len(names)} tasks, each of which is a benchmark of its "
            f"own: {_short(', '.join(names[:LISTED]), 400)}{more}"
        )
    samples = _one(folder, f"samples_{task.task}_*.jsonl", task.task, last_output)
    if samples.stat().st_size > MAX_SAMPLES_BYTES:
        raise DataError(f"lm_eval task {task.task}: its samples are over {MAX_SAMPLES_BYTES} bytes")
    return Output(task.task, results, samples)


def chosen_metric(task: HarnessTask, metrics: Mapping[str, bool]) -> str:
    """The METRIC,FILTER that the settings name; else the first that is 0 or 1 for each question.

    Raises ConfigError where there is none.
    """
    usable = [key for key, is_binary in metrics.items() if is_binary and not _is_graded(key)]
    if task.metric is None:
        if not usable:
            raise ConfigError(
                f"lm_eval task {task.task} has no outcome that is 0 or 1 for each question (it has "
                f"{_listed(metrics)}), as paired tests need; it can't be a benchmark here"
            )
        return usable[0]
    fitting = [key for key in metrics if task.metric in (key, key.rpartition(",")[0])]
    if not fitting:
        raise ConfigError(
            f"lm_eval task {task.task} has no metric {task.metric}; it has {_listed(metrics)}"
        )
    if not metrics[fitting[0]]:
        raise ConfigError(
            f"lm_eval task {task.task}: {fitting[0]} is not 0 or 1 for each question, as paired "
            f"tests need; those that are: {_listed(usable)}"
        )
    return fitting[0]


def as_outcome(value: object) -> bool | None:
    """Right or wrong; None for what is neither 0 nor 1. numpy's truth values come as text."""
    if isinstance(value, str):
        return {"True": True, "False": False}.get(value)
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def _is_graded(key: str) -> bool:
    return _GRADED.search(key.rpartition(",")[0]) is not None


def _one(folder: Path, pattern: str, task: str, last_output: str) -> Path:
    """The file of that name, in the one folder that the harness makes for a model."""
    found = sorted(folder.glob(f"*/{pattern}"))
    if len(found) != 1:
        raise EngineError(
            f"lm_eval task {task} left {len(found)} files {pattern} where one was awaited; "
            f"{last_output}"
        )
    path = found[0]
    is_ours = path.resolve().is_relative_to(folder.resolve())
    if not is_ours or path.is_symlink() or not path.is_file():
        raise DataError(f"lm_eval task {task}: {path.name} is no regular file of its own folder")
    return path


def _results(path: Path, task: str) -> Mapping[str, Any]:
    if path.stat().st_size > MAX_RESULTS_BYTES:
        raise DataError(f"lm_eval task {task}: {path.name} is over {MAX_RESULTS_BYTES} bytes")
    try:
        results = _json(path.read_bytes())
        configs = results["configs"]
        if not (configs and all(isinstance(each, dict) for each in configs.values())):
            raise ValueError("no settings of a task in it")
    except UNREADABLE as error:
        reason = _short(f"{type(error).__name__}: {error}")
        raise DataError(f"lm_eval task {task}: {path.name} can't be read ({reason})") from error
    assert isinstance(results, dict)
    return results


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"{path.name} has a line of more than {MAX_LINE_BYTES} bytes")
            yield line


def _json(data: bytes) -> Any:
    """JSON as Python writes it: with NaN, which stays text here."""
    return json.loads(data, parse_constant=str)


def _part(results: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = results.get(name)
    return part if isinstance(part, dict) else {}


def _listed(names: Any) -> str:
    return _short(", ".join(names), 400) or "none"


def _short(value: object, most: int = 100) -> str:
    text = " ".join(str(value).encode("utf-8", "replace").decode().split())
    return text if len(text) <= most else f"{text[:most]}..."
