"""What the pages of one run and of several runs tell, read from the store."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from east_core.evaluation.estimates import PairedDifference, compare_outcomes
from east_core.inputs.base_models import is_stored_as_adapter
from east_core.reports.text import SET_COLUMNS, set_row
from east_core.runs.addresses import (
    BASE_MODEL,
    CHECKPOINT,
    EXAMPLES,
    QUESTIONS,
    SAMPLES,
    SCORES,
    WEIGHTS,
    RunAddresses,
    is_shard,
)
from east_core.runs.extent import claimed_settings, rounds_asked
from east_core.runs.live import Live, read_live
from east_core.runs.predictions import read_outcomes
from east_core.runs.summary import (
    RoundSummary,
    best_trained,
    measured,
    stopped_early,
    summarise_records,
)
from east_core.store import ArtifactRecord, Store

STAGES = (QUESTIONS, BASE_MODEL, SAMPLES, WEIGHTS, EXAMPLES, CHECKPOINT, SCORES)
WIDTH, HEIGHT, GAP = 118, 30, 26
LABEL = 18  # characters that a box holds


@dataclass(frozen=True)
class ShownCheckpoint:
    """A checkpoint, where its files are, and how to get and to serve it."""

    round: int
    address: str
    url: str
    size: int
    is_pruned: bool
    is_best: bool
    download: str
    serve: str


@dataclass(frozen=True)
class Node:
    """An artifact in the lineage graph, at a place in pixels."""

    address: str
    label: str
    x: int
    y: int
    about: str


@dataclass(frozen=True)
class Graph:
    """A run's artifacts and what each was made from: `edges` are x1, y1, x2, y2."""

    nodes: Sequence[Node]
    edges: Sequence[tuple[int, int, int, int]]
    width: int
    height: int


@dataclass(frozen=True)
class RunDetails:
    """All that the page of a run tells."""

    name: str
    rounds: Sequence[RoundSummary]
    rounds_asked: int | None
    stopped: str | None
    settings: Mapping[str, Any]
    stages: Sequence[str]
    checkpoints: Sequence[ShownCheckpoint]
    graph: Graph
    weighed: Sequence[int]
    bytes_by_kind: Mapping[str, int]
    changed_at: str
    live: Live | None
    set_columns: Sequence[str] = SET_COLUMNS

    @property
    def measured(self) -> str | None:
        """What the accuracies are of, where they are not of greedy completions."""
        return measured(self.rounds)

    @property
    def set_rows(self) -> Sequence[tuple[object, ...]]:
        """A row for each round and set of a mixture."""
        return [
            (each.round, *set_row(*named)) for each in self.rounds for named in each.sets.items()
        ]


def run_details(store: Store, name: str) -> RunDetails:
    """A run's details. Raises DataError where there is no such run."""
    records = list(store.records(name))
    whole = [record for record in records if not is_shard(record.address)]
    rounds = summarise_records(records, name, store.root)
    return RunDetails(
        name=name,
        rounds=rounds,
        rounds_asked=rounds_asked(store, name, [record.address for record in whole]),
        stopped=stopped_early(rounds),
        settings=claimed_settings(store, name) or {},
        stages=sorted({stage for each in rounds for stage in each.seconds}),
        checkpoints=list(_checkpoints(store, name, whole, best_trained(rounds))),
        graph=lineage_graph(name, whole),
        weighed=[each.round for each in rounds if each.kept is not None],
        bytes_by_kind=_sizes(name, records),
        changed_at=max(record.created_at for record in records),
        live=read_live(store, name),
    )


def _checkpoints(
    store: Store, name: str, records: Sequence[ArtifactRecord], best: int | None
) -> Iterator[ShownCheckpoint]:
    for record in records:
        part = RunAddresses(name).part(record.address)
        if part is None or part.kind != CHECKPOINT or part.round is None:
            continue
        download, folder = _ways_out(store, record, f"{name}-round-{part.round:02d}")
        yield ShownCheckpoint(
            round=part.round,
            address=record.address,
            url=store.url(record),
            size=record.size,
            is_pruned=store.is_pruned(record),
            is_best=part.round == best,
            download=download,
            serve=f"vllm serve {shlex.quote(folder)} --served-model-name {shlex.quote(name)}",
        )


def _ways_out(store: Store, record: ArtifactRecord, called: str) -> tuple[str, str]:
    """A command that brings a checkpoint here, and the folder that it can be served from then."""
    url = store.url(record)
    if is_stored_as_adapter(record):
        return merge_line(store.url(record.address.removesuffix(f"/{CHECKPOINT}")), called), called
    folder = url if store.is_local else called
    return download_line(url, folder, is_local=store.is_local), folder


def download_line(url: str, folder: str, *, is_local: bool) -> str:
    """A command that copies a checkpoint's files."""
    quoted = shlex.quote(url)
    if is_local:
        return f"cp -r {quoted} {shlex.quote('./' + url.rsplit('/', 1)[-1])}"
    if url.startswith("s3://"):
        return f"aws s3 cp --recursive {quoted} {shlex.quote(folder)}"
    if url.startswith("gs://"):
        return f"gcloud storage cp -r {quoted} {shlex.quote(folder)}"
    return f"python -c 'import fsspec, sys; fsspec.filesystem(sys.argv[1].split(\":\")[0]).get(sys.argv[1], sys.argv[2], recursive=True)' {quoted} {shlex.quote(folder)}"  # noqa: E501


def merge_line(url: str, folder: str) -> str:
    """A command that writes the whole model of a round that is stored as an adapter."""
    return f"east publish {shlex.quote(url)} --to {shlex.quote(f'./{folder}')}"


def lineage_graph(name: str, records: Sequence[ArtifactRecord]) -> Graph:
    """A column for each round, a row for each stage, and a line for each input."""
    at = RunAddresses(name)
    nodes: dict[str, Node] = {}
    taken: dict[tuple[int, int], int] = {}
    for record in records:
        part = at.part(record.address)
        if part is None or part.kind not in STAGES:
            continue
        column, row = part.round or 0, STAGES.index(part.kind)
        beside = taken.get((column, row), 0)  # scores of several benchmarks
        taken[column, row] = beside + 1
        row += beside
        about = f"{record.address}: {record.seconds:.1f} s, {record.content[:12]}"
        label = f"{part.kind} {part.name}".strip()
        x, y = 10 + column * (WIDTH + GAP), 24 + row * (HEIGHT + GAP)
        nodes[record.address] = Node(record.address, _fitting(label), x, y, about)
    edges = [
        _edge(nodes[source], nodes[record.address])
        for record in records
        if record.address in nodes
        for source in record.input_addresses.values()
        if source in nodes
    ]
    width = max((node.x + WIDTH + 10 for node in nodes.values()), default=0)
    height = max((node.y + HEIGHT + 10 for node in nodes.values()), default=0)
    return Graph(list(nodes.values()), edges, width, height)


def _fitting(label: str) -> str:
    """A label as far as its box holds it; the whole stands in the title."""
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


def _edge(source: Node, target: Node) -> tuple[int, int, int, int]:
    if source.x == target.x:
        return (source.x + WIDTH // 2, source.y + HEIGHT, target.x + WIDTH // 2, target.y)
    return (source.x + WIDTH, source.y + HEIGHT // 2, target.x, target.y + HEIGHT // 2)


def _sizes(name: str, records: Sequence[ArtifactRecord]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for record in records:
        part = RunAddresses(name).part(record.address)
        if part is not None:
            sizes[part.kind] = sizes.get(part.kind, 0) + record.size
    return dict(sorted(sizes.items()))


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other on one benchmark: their last rounds, paired with the first run's."""

    benchmark: str
    last: Mapping[str, RoundSummary]
    against_first: Mapping[str, PairedDifference | str]


def comparisons(store: Store, runs: Sequence[str]) -> list[Comparison]:
    """The benchmarks that all runs share. Raises DataError where a run is not there."""
    rounds = {run: summarise_records(list(store.records(run)), run, store.root) for run in runs}
    scored = {run: {name for each in rounds[run] for name in each.accuracy} for run in runs}
    shared = sorted(set.intersection(*scored.values())) if scored else []
    return [_comparison(store, rounds, benchmark) for benchmark in shared]


def _comparison(
    store: Store, rounds: Mapping[str, Sequence[RoundSummary]], benchmark: str
) -> Comparison:
    last = {
        run: [each for each in found if benchmark in each.accuracy][-1]
        for run, found in rounds.items()
    }
    scores = {
        run: store.require(RunAddresses(run).scores(each.round, benchmark))
        for run, each in last.items()
    }
    outcomes = {run: read_outcomes(store, record) for run, record in scores.items()}
    first, *others = outcomes
    paired: dict[str, PairedDifference | str] = {}
    for run in others:
        samples = [scores[each].facts.get("samples") for each in (first, run)]
        if outcomes[first].keys() != outcomes[run].keys():
            paired[run] = "other questions: no paired test"
        elif samples[0] != samples[1]:
            paired[run] = "scored in another way: no paired test"
        else:
            paired[run] = compare_outcomes(outcomes[first], outcomes[run])
    return Comparison(benchmark, last, paired)


def differing_settings(store: Store, runs: Sequence[str]) -> list[tuple[str, Mapping[str, object]]]:
    """The settings that are not the same in all runs, by run."""
    flat = {run: dict(_flat(claimed_settings(store, run) or {})) for run in runs}
    names = sorted({name for settings in flat.values() for name in settings} - {"name", "store"})
    rows = [(name, {run: flat[run].get(name) for run in runs}) for name in names]
    return [(name, values) for name, values in rows if len({str(v) for v in values.values()}) > 1]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
