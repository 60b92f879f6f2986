"""A discrete-event model of one round of self-training on a cluster, from one GPU to thousands.

Sampling is a queue of shards served by engines; engines are slow or fast from shard to shard, fail,
and are preempted, and then their shard goes back into the queue. Every finished shard passes
through the process of the flow, which writes one after another. Training is a gang: any failure
ends it, and it goes on from its last training checkpoint. The rest takes its time by rate.
benchmarks/scaling.py feeds it with measured costs and draws docs/scaling.md.
"""

import math
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

HOUR = 3600.0
GPUS_A_NODE = 8
PASSES = 2  # over all completions, to choose what is trained on
Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Costs:
    """What things cost; seconds, bytes a second, tokens a second.

    `writing` and `reading` are seconds of one core for a completion that the flow's process writes
    into a shard or reads back, `shard` for a shard's record in an S3 store. `grading` are
    completions that one core clusters a second. `training_rate` is one rank's; `training_state` are
    the bytes of a training checkpoint, which all nodes write and one process hashes.
    """

    engine_gpus: int
    engine_rate: float
    training_rate: float
    checkpoint: float
    training_state: float
    engine_start: float = 90.0
    training_start: float = 60.0
    writing: float = 69e-6
    reading: float = 14e-6
    shard: float = 0.3
    grading: float = 14_500.0
    hashing: float = 1.8e9
    publisher: float = 100e6
    node_download: float = 1e9
    store_download: float = 20e9
    disk: float = 2e9

    def saving(self, ranks: int) -> float:
        """Seconds of one training checkpoint."""
        nodes = math.ceil(ranks / GPUS_A_NODE)
        return self.training_state * (1 / (nodes * self.disk) + 1 / self.hashing)


@dataclass(frozen=True)
class Design:
    """What of the system can be changed: see docs/scaling.md."""

    shard_questions: int = 256
    training_ranks: int = 16
    checkpoint_every: float = 900.0
    writers: int = 1
    weighers: int = 1
    publishers: int = 1


@dataclass(frozen=True)
class Faults:
    """What goes wrong: events an hour of one GPU, and what an event costs in seconds.

    `straggling` is the standard deviation of the logarithm of a shard's time.
    """

    failures: float = 0.0
    preemptions: float = 0.0
    replacement: float = 300.0
    straggling: float = 0.0

    @property
    def rate(self) -> float:
        """Events a second of one GPU."""
        return (self.failures + self.preemptions) / HOUR


@dataclass(frozen=True)
class Load:
    """One round's work; lengths are means in tokens."""

    questions: int
    samples: int = 64
    completion: int = 300
    prompt: int = 150
    epochs: float = 3.0
    kept: float = 0.6

    @property
    def completions(self) -> int:
        """Completions sampled."""
        return self.questions * self.samples

    @property
    def trained_tokens(self) -> float:
        """Tokens that pass through the model in training."""
        return self.questions * self.kept * self.epochs * (self.prompt + self.completion)


@dataclass
class Round:
    """What one simulated round took: seconds of each stage, and GPU seconds that were lost."""

    gpus: int
    stages: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    lost: float = 0.0
    events: int = 0

    @property
    def seconds(self) -> float:
        """The whole round."""
        return sum(self.stages.values())

    @property
    def used(self) -> float:
        """Share of the GPU time that sampled or trained something that was kept."""
        return self.busy / (self.seconds * self.gpus)


def simulate(
    load: Load, gpus: int, costs: Costs, design: Design, faults: Faults, seed: int = 0
) -> Round:
    """One round on `gpus` GPUs."""
    made, draw = Round(gpus), random.Random(seed)
    made.stages["loading"] = loading_seconds(gpus, costs)
    made.stages["sampling"] = Sampling(load, gpus, costs, design, faults, draw, made).run()
    cores = design.weighers
    made.stages["weighing"] = load.completions / (costs.grading * cores)
    made.stages["choosing"] = load.completions * PASSES * costs.reading / cores
    made.stages["training"] = train(load, gpus, costs, design, faults, draw, made)
    made.stages["publishing"] = costs.checkpoint / (costs.publisher * design.publishers)
    return made


def loading_seconds(gpus: int, costs: Costs) -> float:
    """Every node fetches the checkpoint; the store serves them all at once."""
    nodes = math.ceil(gpus / GPUS_A_NODE)
    return costs.checkpoint / min(costs.node_download, costs.store_download / nodes)


class Sampling:
    """The queue of shards and its engines."""

    def __init__(
        self,
        load: Load,
        gpus: int,
        costs: Costs,
        design: Design,
        faults: Faults,
        draw: random.Random,
        made: Round,
    ) -> None:
        self.costs, self.design, self.faults = costs, design, faults
        self.draw, self.made = draw, made
        self.engines = max(gpus // costs.engine_gpus, 1)
        self.shards = _shards(load, design)
        self.tokens = load.completion * load.samples
        self.samples = load.samples
        self.left = len(self.shards)
        self.env = simpy.Environment()
        self.queue = simpy.Store(self.env)
        self.queue.items.extend(self.shards)
        self.writer = simpy.Resource(self.env, design.writers)
        self.done = self.env.event()

    def run(self) -> float:
        """Seconds until the last shard is written."""
        for _ in range(self.engines):
            self.env.process(self.engine())
        self.env.run(until=self.done)
        return float(self.env.now)

    def engine(self) -> Process:
        """Serve shards for ever; a fault gives the shard back and costs a replacement."""
        yield self.env.timeout(self.costs.engine_start)
        while True:
            questions = yield self.queue.get()
            needed = questions * self.tokens / self.costs.engine_rate * self.slowness()
            fault = time_to_fault(self.draw, self.faults.rate * self.costs.engine_gpus)
            if fault < needed:
                yield self.env.timeout(fault)
                self.made.events += 1
                self.made.lost += fault * self.costs.engine_gpus
                yield self.queue.put(questions)
                yield self.env.timeout(self.faults.replacement + self.costs.engine_start)
                continue
            yield self.env.timeout(needed)
            self.made.busy += needed * self.costs.engine_gpus
            self.env.process(self.write(questions))

    def slowness(self) -> float:
        """A factor of mean 1 on a shard's time."""
        spread = self.faults.straggling
        return self.draw.lognormvariate(-(spread**2) / 2, spread) if spread else 1.0

    def write(self, questions: int) -> Process:
        """Pass a finished shard through the flow's process."""
        with self.writer.request() as turn:
            yield turn
            seconds = questions * self.samples * self.costs.writing + self.costs.shard
            yield self.env.timeout(seconds)
        self.left -= 1
        if not self.left:
            self.done.succeed()


def _shards(load: Load, design: Design) -> list[int]:
    """The number of questions in each shard."""
    whole, rest = divmod(load.questions, design.shard_questions)
    return [design.shard_questions] * whole + ([rest] if rest else [])


def train(
    load: Load,
    gpus: int,
    costs: Costs,
    design: Design,
    faults: Faults,
    draw: random.Random,
    made: Round,
) -> float:
    """Seconds of the training stage: a gang with training checkpoints."""
    ranks = min(gpus, design.training_ranks)
    work = load.trained_tokens / (costs.training_rate * ranks)
    saving = costs.saving(ranks)
    now, done = costs.training_start, 0.0
    while done < work:
        piece = min(design.checkpoint_every, work - done)
        needed = piece + (saving if done + piece < work else 0.0)
        fault = time_to_fault(draw, faults.rate * ranks)
        if fault < needed:
            now += fault + faults.replacement + costs.training_start
            made.events += 1
            made.lost += fault * ranks
        else:
            now, done = now + needed, done + piece
    made.busy += work * ranks
    return now


def time_to_fault(draw: random.Random, rate: float) -> float:
    """Seconds to the next fault, exponentially distributed; faults have no memory."""
    return draw.expovariate(rate) if rate else math.inf


def expected_training(work: float, every: float, saving: float, rate: float, again: float) -> float:
    """Expected seconds of `work` with a checkpoint after every `every`, without the start.

    Each piece, of every + saving seconds, is repeated until it passes without a fault; a fault
    costs `again` (Daly, Future Generation Computer Systems 22, 2006, equation 13, with faults in
    the saving too). The last piece is not saved.
    """
    pieces = math.ceil(work / every)
    last = work - (pieces - 1) * every
    each = [every + saving] * (pieces - 1) + [last]
    if not rate:
        return sum(each)
    return sum((1 / rate + again) * math.expm1(rate * piece) for piece in each)


def best_interval(saving: float, rate: float) -> float:
    """The interval between checkpoints that costs least, to first order (Young 1974)."""
    return math.sqrt(2 * saving / rate)
