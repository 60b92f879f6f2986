"""docs/scaling.md: from one GPU to a thousand, by simulation with measured costs.

    python -m benchmarks.scaling [--print]

Costs of CPU work are measured in this run, in seconds of CPU time, or stand in docs/; those of GPUs
follow from `east plan`'s formulas. --print writes nothing.
"""

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cluster import (
    HOUR,
    Costs,
    Design,
    Faults,
    Load,
    Round,
    best_interval,
    expected_training,
    simulate,
)
from east_core.config import Resources, RunConfig, SamplingRecipe, SftRecipe
from east_core.planning.model_shape import ModelShape, shape_of_size
from east_core.planning.plan import GPUS, Assumptions, Planner, Workload
from east_core.records import Completion, Question, SampledQuestion
from east_core.reports.figures import COLOURS, svg
from east_core.tables import read_table, write_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGE = Path(__file__).with_name("scaling_page.md")  # prose, with {places} for the tables
SIZES = (1, 8, 16, 32, 64, 128, 256, 512, 1000)
STAGES = ("loading", "sampling", "weighing", "choosing", "training", "publishing")
LOADS = {
    "7,500 questions": Load(7_500),
    "100,000 questions": Load(100_000),
    "1,000,000 questions": Load(1_000_000),
}
MILLION = LOADS["1,000,000 questions"]
# Llama 3's pre-training: 419 interruptions in 54 days on 16,384 GPUs (arXiv:2407.21783, 3.3.4).
FAILURES = 419 / (54 * 24 * 16_384)
STEADY = Faults(failures=FAILURES, straggling=0.15)
SPOT = replace(STEADY, preemptions=0.05)
DOLLARS, SPOT_DOLLARS = 2.5, 1.25
SEEDS = 40
WORK, GIVE_UP = 8 * HOUR, 2.5  # of the figure of training under faults


@dataclass(frozen=True)
class Model:
    """A model, how it is laid out on 80 GB GPUs, and its proportions."""

    name: str
    shape: ModelShape
    tensor_parallel: int
    micro_batch: int
    zero_stage: int
    smallest: int


EIGHT_B = Model("8B", shape_of_size(8.03e9, 4096, 32), 1, 4, 2, 8)
SEVENTY_B = Model("70B", shape_of_size(70.6e9, 8192, 80), 4, 4, 3, 32)


def planner(model: Model, ranks: int) -> Planner:
    """`east plan` of a training stage on so many ranks, and of one engine."""
    load = Load(1)
    offload = "optimizer" if model.zero_stage == 3 and ranks < 64 else "none"
    nodes = max(ranks // 8, 1)
    resources = Resources(
        processes=ranks,
        nodes=nodes,
        micro_batch_size=model.micro_batch,
        zero_stage=model.zero_stage,
        offload=offload,
        gradient_checkpointing=True,
        tensor_parallel=model.tensor_parallel,
        checkpoint_every_minutes=15,
    )
    config = RunConfig(
        training=SftRecipe(global_batch_size=ranks * model.micro_batch),
        sampling=SamplingRecipe(max_tokens=1024),
        resources=resources,
    )
    work = Workload(1, 1, load.prompt, load.completion)
    return Planner(config, model.shape, work, Assumptions(GPUS["h100"]), "cuda")


def costs_of(model: Model, ranks: int, measured: Mapping[str, float]) -> Costs:
    """The costs of a model, at the rate at which so many ranks train."""
    made = planner(model, ranks)
    plan, engine, training = made.plan(), made.sampling_rate(), made.training_rate()
    assert engine is not None
    assert training is not None
    return Costs(
        engine_gpus=model.tensor_parallel,
        engine_rate=engine,
        training_rate=training / ranks,
        checkpoint=plan.value("a round", "checkpoint stored"),
        training_state=plan.value("training node", "training checkpoints") / 2,
        writing=measured["writing"],
        reading=measured["reading"],
    )


def measure() -> dict[str, float]:
    """Seconds of CPU time for a completion of 300 tokens to pass through the flow's process."""
    draw = random.Random(0)
    words = [line["solution"] for line in _demo()]
    text = " ".join(words).split()

    def completion() -> list[Any]:
        start = draw.randrange(len(text) - 240)
        return [" ".join(text[start : start + 240]), "stop", 300, -0.5]

    lines = [json.dumps([completion() for _ in range(64)]) for _ in range(64)]
    count = 64 * 64
    begun = time.process_time()
    rows = [
        SampledQuestion(Question(str(i), "why?", "1"), tuple(Completion(*c) for c in json.loads(x)))
        for i, x in enumerate(lines)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.parquet"
        write_table(path, SampledQuestion, rows)
        written = time.process_time()
        for _ in read_table(path, SampledQuestion):
            pass
        read = time.process_time()
    return {"writing": (written - begun) / count, "reading": (read - written) / count}


def _demo() -> list[dict[str, str]]:
    lines = (ROOT / "east_core" / "demo" / "train.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def changes(start: Design) -> dict[str, Design]:
    """The design as it is, and one change after another, each on top of those before."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("as it is", {}),
        ("global batch 512: 128 training ranks", {"training_ranks": 128}),
        ("weigh and choose by shard, on 64 cores", {"weighers": 64}),
        ("engines write their own shards", {"writers": 125}),
        ("shards of 64 questions", {"shard_questions": 64}),
        ("8 ranks publish the checkpoint", {"publishers": 8}),
    ]
    designs, design = {}, start
    for name, change in steps:
        design = replace(design, **change)
        designs[name] = design
    return designs


def mean_round(
    load: Load, gpus: int, costs: Costs, design: Design, faults: Faults, seeds: int = 3
) -> Round:
    """The mean of some simulated rounds."""
    made = [simulate(load, gpus, costs, design, faults, seed) for seed in range(seeds)]
    stages = {s: statistics.mean(one.stages[s] for one in made) for s in STAGES}
    busy, lost = (statistics.mean(getattr(one, n) for one in made) for n in ("busy", "lost"))
    return Round(gpus, stages, busy, lost, round(statistics.mean(one.events for one in made)))


def ranks_for(gpus: int, design: Design) -> int:
    """Ranks that train: a power of two that the cluster has and the global batch allows."""
    most = min(gpus, design.training_ranks)
    return 1 << (most.bit_length() - 1)


class Study:
    """All simulations of the page."""

    def __init__(self, measured: Mapping[str, float]) -> None:
        self.measured = measured
        self.as_is = Design()

    def costs(self, model: Model, gpus: int, design: Design) -> Costs:
        """Costs of a cluster's round."""
        return costs_of(model, ranks_for(gpus, design), self.measured)

    def round(
        self, model: Model, load: Load, gpus: int, design: Design, faults: Faults = STEADY
    ) -> Round:
        """A mean round."""
        design = replace(design, training_ranks=ranks_for(gpus, design))
        return mean_round(load, gpus, self.costs(model, gpus, design), design, faults)

    def sizes(self, model: Model, load: Load, design: Design) -> dict[int, Round]:
        """A round on clusters of every size that holds the model."""
        sizes = [size for size in SIZES if size >= model.smallest or model.smallest == 8]
        return {size: self.round(model, load, size, design) for size in sizes}


def breaking_points(costs: Costs, load: Load, training_ranks: int) -> list[tuple[str, str, float]]:
    """From how many GPUs on a serial part takes as long as sampling itself (closed forms)."""
    engine = costs.engine_rate / costs.engine_gpus
    sampling = load.completions * load.completion / engine  # GPU seconds
    each = 256 * load.samples * costs.writing + costs.shard
    writing = load.questions / 256 * each
    rows = [
        ("one process writes all shards", writing),
        ("one process clusters and grades", load.completions / costs.grading),
        ("one process reads all samples twice to choose", 2 * load.completions * costs.reading),
        (
            f"{training_ranks} training ranks (global batch / micro-batch)",
            load.trained_tokens / costs.training_rate / training_ranks,
        ),
        ("one process publishes the checkpoint", costs.checkpoint / costs.publisher),
    ]
    found = [(name, duration(seconds), sampling / seconds) for name, seconds in rows]
    return sorted(found, key=lambda row: row[2])


def duration(seconds: float) -> str:
    """Hours from two on, else minutes."""
    return f"{seconds / HOUR:,.1f} h" if seconds >= 2 * HOUR else f"{seconds / 60:,.1f} min"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in lines)


def sizes_table(rounds: Mapping[int, Round], price: float) -> str:
    """Time by stage, money and use of clusters of several sizes."""
    head = ["GPUs", *STAGES, "round", "$", "GPUs at work"]
    rows = [
        [
            f"{gpus:,}",
            *(duration(made.stages[stage]) for stage in STAGES),
            duration(made.seconds),
            f"{made.seconds * gpus / HOUR * price:,.0f}",
            f"{made.used:.0%}",
        ]
        for gpus, made in rounds.items()
    ]
    return table(head, rows)


def memory_table(models: Sequence[Model]) -> str:
    """GiB a GPU of training and sampling, by `east plan`."""
    head = [
        *("model", "training ranks", "GiB a GPU in training", "GiB of host memory a node"),
        *("GPUs an engine", "sequences at a time", "fits 80 GB"),
    ]
    rows = [_memory_row(model, ranks * model.smallest) for model in models for ranks in (1, 4, 16)]
    return table(head, rows)


def _memory_row(model: Model, ranks: int) -> list[object]:
    plan = planner(model, ranks).plan()
    peak = plan.value("training rank", "peak") / 2**30
    host = plan.value("training node", "host memory") / 2**30
    at_once = plan.value("sampling engine", "sequences at a time")
    layout = f"{ranks}, ZeRO-{model.zero_stage}"
    fits = "no" if plan.misfits else "yes"
    row = [model.name, layout, f"{peak:.0f}", f"{host:.0f}", model.tensor_parallel]
    return [*row, f"{at_once:.0f}", fits]


def stages_figure(
    rounds: Mapping[int, Round], lines: Mapping[str, Mapping[int, Round]]
) -> "Figure":
    """Where a round's time goes by cluster size, and a round's hours for several loads."""
    figure, (left, right) = _axes(2)
    names = [f"{gpus:,}" for gpus in rounds]
    base = [0.0] * len(names)
    for stage, colour in zip(STAGES, COLOURS, strict=False):
        shares = [made.stages[stage] / made.seconds for made in rounds.values()]
        left.bar(names, shares, bottom=base, label=stage, color=colour)
        base = [low + share for low, share in zip(base, shares, strict=True)]
    left.set(xlabel="GPUs", ylabel="share of the round", title="a million questions x 64, 8B")
    left.tick_params(axis="x", labelrotation=45)
    left.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    for (label, curve), colour in zip(lines.items(), COLOURS, strict=False):
        hours = [made.seconds / HOUR for made in curve.values()]
        right.plot(list(curve), hours, "o-", ms=3, label=label, color=colour)
        ideal = [hours[0] / gpus for gpus in curve]
        right.plot(list(curve), ideal, ":", lw=1, color=colour)
    title = "dotted: perfect scaling"
    right.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="hours a round", title=title)
    right.legend(fontsize=7)
    return figure


def changes_figure(made: Mapping[str, Round]) -> "Figure":
    """A round on 1,000 GPUs, change after change."""
    figure, [axes] = _axes(1)
    names = list(made)[::-1]
    base = [0.0] * len(names)
    for stage, colour in zip(STAGES, COLOURS, strict=False):
        hours = [made[name].stages[stage] / HOUR for name in names]
        axes.barh(names, hours, left=base, label=stage, color=colour)
        base = [low + width for low, width in zip(base, hours, strict=True)]
    axes.set(xlabel="hours a round", title="1,000 GPUs, a million questions x 64, 8B")
    axes.legend(fontsize=7, loc="lower right")
    return figure


def faults_figure(study: Study) -> "Figure":
    """Sampling on machines that go away, by shard size; training, by checkpoint interval."""
    figure, (left, right) = _axes(2)
    rates = (0.01, 0.03, 0.1, 0.3, 1.0)
    load, costs = Load(100_000), study.costs(EIGHT_B, 64, study.as_is)
    for size, colour in zip((16, 64, 256, 1024), COLOURS, strict=False):
        extra = [_sampling_extra(load, costs, size, rate) for rate in rates]
        left.plot(rates, extra, "o-", ms=3, label=f"{size} questions", color=colour)
    left.set(xscale="log", xlabel="preemptions a GPU and hour", title="64 GPUs, by shard size")
    left.set_ylabel("sampling time / undisturbed")
    left.legend(fontsize=7)
    costs = study.costs(EIGHT_B, 128, Design(training_ranks=128))
    for rate, colour in zip((0.001, 0.01, 0.05), COLOURS, strict=False):
        faults = Faults(preemptions=rate)
        gang, again = faults.rate * 128, faults.replacement + costs.training_start
        exact = [
            expected_training(WORK, 60.0 * m, costs.saving(128), gang, again) / WORK
            for m in range(1, 91)
        ]
        right.plot(range(1, 91), exact, "-", lw=1, color=colour, label=f"{rate:g} a GPU and hour")
        minutes = (1, 2, 5, 10, 20, 40, 80)
        means = [_training_time(costs, 60.0 * m, faults) / WORK for m in minutes]
        right.plot(minutes, means, "o", ms=4, color=colour)
    right.set(xscale="log", ylim=(0.9, 4), title="8 hours on 128 ranks; lines: Daly")
    right.set(xlabel="minutes between checkpoints", ylabel="training time / undisturbed")
    right.legend(fontsize=7)
    return figure


def _sampling_extra(load: Load, costs: Costs, questions: int, rate: float) -> float:
    """How much longer sampling takes with faults than without, both without stragglers."""
    design = Design(shard_questions=questions, writers=1000)
    calm = simulate(load, 64, costs, design, Faults()).stages["sampling"]
    hit = mean_round(load, 64, costs, design, Faults(preemptions=rate), seeds=5)
    return hit.stages["sampling"] / calm


def _training_time(costs: Costs, every: float, faults: Faults) -> float:
    """Mean seconds of training under faults, without the first start."""
    if every * 128 * faults.rate > GIVE_UP:  # a piece that hardly ever passes takes for ever
        return math.inf
    design = Design(training_ranks=128, checkpoint_every=every, shard_questions=10**9)
    epochs = MILLION.epochs * WORK * 128 * costs.training_rate / MILLION.trained_tokens
    load = replace(MILLION, samples=1, epochs=epochs)
    taken = [simulate(load, 128, costs, design, faults, seed).stages for seed in range(SEEDS)]
    return statistics.mean(stages["training"] for stages in taken) - costs.training_start


def spot_table(study: Study) -> str:
    """A million questions on 64 GPUs that are paid for in full, or cheap and preempted."""
    rows = []
    for name, faults, price in (
        ("on demand", STEADY, DOLLARS),
        *(
            (
                f"spot, {rate:g} preemptions a GPU and hour",
                replace(SPOT, preemptions=rate),
                SPOT_DOLLARS,
            )
            for rate in (0.01, 0.05, 0.2, 0.5)
        ),
    ):
        made = study.round(EIGHT_B, MILLION, 64, study.as_is, faults)
        lost = made.lost / (made.seconds * 64)
        times = [duration(made.stages[stage]) for stage in ("sampling", "training")]
        cost = f"{made.seconds * 64 / HOUR * price:,.0f}"
        rows.append([name, *times, duration(made.seconds), f"{lost:.1%}", cost])
    return table(["64 GPUs", "sampling", "training", "round", "GPU time lost", "$"], rows)


def stragglers_table(study: Study) -> str:
    """Sampling with shards of uneven length, by the size of shards, on many engines."""
    rows = []
    for size in (64, 256, 1024):
        design = replace(study.as_is, shard_questions=size, writers=125)
        times = [
            duration(
                study.round(
                    EIGHT_B, MILLION, 1000, design, replace(STEADY, straggling=spread)
                ).stages["sampling"]
            )
            for spread in (0.0, 0.15, 0.5)
        ]
        rows.append([f"{size} questions", *times])
    return table(["sampling, 1,000 GPUs", "even shards", "spread 15%", "spread 50%"], rows)


def changes_table(made: Mapping[str, Round]) -> str:
    """A round on 1,000 GPUs, change after change."""
    rows = [
        [
            name,
            *(duration(one.stages[stage]) for stage in ("sampling", "weighing", "training")),
            duration(one.seconds),
            f"{one.seconds * one.gpus / HOUR * DOLLARS:,.0f}",
            f"{one.used:.0%}",
        ]
        for name, one in made.items()
    ]
    head = ["on top of the row above", "sampling", "weighing", "training", "round", "$"]
    return table([*head, "GPUs at work"], rows)


def loads_table(rounds: Mapping[str, Mapping[int, Round]]) -> str:
    """Hours and money of a round by load and size of the cluster."""
    sizes = (1, 8, 64, 256, 1000)
    rows = [
        [name, *(_time_and_money(made[size]) for size in sizes)] for name, made in rounds.items()
    ]
    return table(["x 64 samples", *(f"{size:,} GPUs" for size in sizes)], rows)


def _time_and_money(made: Round) -> str:
    return f"{duration(made.seconds)}, ${made.seconds * made.gpus / HOUR * DOLLARS:,.0f}"


def _axes(count: int) -> tuple["Figure", list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9 if count == 2 else 7.5, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, count, index + 1) for index in range(count)]
    for each in axes:
        each.grid(alpha=0.3)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def costs_table(costs: Costs) -> str:
    """What the simulation is fed with, and where each figure comes from."""
    load = MILLION
    rows = [
        ("a completion written by the flow's process", f"{costs.writing * 1e6:.0f} µs", "measured"),
        ("a completion read back", f"{costs.reading * 1e6:.0f} µs", "measured"),
        ("completions clustered and graded", f"{costs.grading:,.0f}/s", "docs/answers.md"),
        ("hashing a training checkpoint", f"{costs.hashing / 1e9:g} GB/s", "measured"),
        ("publishing a checkpoint, one process", f"{costs.publisher / 1e6:g} MB/s",
         "docs/reliability.md (58 to 125 MB/s)"),
        ("a shard's record in S3", f"{costs.shard:g} s", "assumed: 6 requests of 50 ms"),
        ("a node's download; the store's", "1 GB/s; 20 GB/s", "assumed"),
        ("one engine (8B, one H100)", f"{costs.engine_rate:,.0f} tokens/s", "`east plan`"),
        ("one training rank (8B)", f"{costs.training_rate:,.0f} tokens/s", "`east plan`"),
        ("start of engines; of training", "90 s; 60 s", "assumed"),
        ("lengths", f"prompt {load.prompt}, completion {load.completion} tokens", "assumed"),
        ("trained on", f"{load.kept:.0%} of the questions, {load.epochs:g} epochs", "assumed"),
        ("failures", f"{FAILURES * 1e6:.0f} in a million GPU hours", "arXiv:2407.21783, 3.3.4"),
        ("a replaced machine", "5 min", "assumed"),
        ("a shard's time", "log-normal, 15%", "assumed"),
        ("an H100 hour", f"${DOLLARS:g}; spot ${SPOT_DOLLARS:g}", "assumed"),
    ]  # fmt: skip
    return table(["cost", "figure", "from"], rows)


def page(study: Study) -> Iterator[tuple[str, str | bytes]]:
    """The files of the page: names below docs/, and their contents."""
    rounds = {name: study.sizes(EIGHT_B, load, study.as_is) for name, load in LOADS.items()}
    million = rounds["1,000,000 questions"]
    made = {
        name: study.round(EIGHT_B, MILLION, 1000, design)
        for name, design in changes(study.as_is).items()
    }
    batch_of_128 = replace(study.as_is, training_ranks=32)
    large = {size: study.round(SEVENTY_B, MILLION, size, batch_of_128) for size in SIZES[3:]}
    costs = study.costs(EIGHT_B, 16, study.as_is)
    points = [
        [name, taken, f"{gpus:,.0f}"]
        for name, taken, gpus in breaking_points(costs, MILLION, study.as_is.training_ranks)
    ]
    save8, save70 = costs.saving(128), study.costs(SEVENTY_B, 128, Design(training_ranks=128))
    gang = SPOT.rate * 128
    best = best_interval(save8, gang)
    again = SPOT.replacement + costs.training_start
    slowed = expected_training(100 * best, best, save8, gang, again) / (100 * best)
    text = PAGE.read_text("utf-8").format(
        costs=costs_table(costs),
        sizes=sizes_table(million, DOLLARS),
        loads=loads_table(rounds),
        large=sizes_table(large, DOLLARS),
        memory=memory_table([EIGHT_B, SEVENTY_B]),
        points=table(["serial part", "takes", "as long as sampling from so many GPUs on"], points),
        changes=changes_table(made),
        spot=spot_table(study),
        saving8=f"{save8:.0f} s",
        saving70=f"{save70.saving(128) / 60:.0f} min",
        best=f"{best / 60:.1f} min",
        slowed=f"{slowed:.1f}",
        stragglers=stragglers_table(study),
        training_point=f"{breaking_points(costs, MILLION, 16)[0][2]:.0f}",
        storage=f"{MILLION.completions * MILLION.completion * 1.5 / 1e9:.0f} GB",
    )
    yield "scaling.md", text
    yield "images/scaling-stages.svg", svg(stages_figure(million, rounds))
    yield "images/scaling-changes.svg", svg(changes_figure(made))
    yield "images/scaling-faults.svg", svg(faults_figure(study))


def main() -> int:
    """Measure, simulate, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the page, write nothing")
    options = parser.parse_args()
    for name, content in page(Study(measure())):
        if options.print:
            print(content if isinstance(content, str) else f"{name}: {len(content)} bytes")
        elif isinstance(content, str):
            (DOCS / name).write_text(content)
        else:
            (DOCS / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
