"""`east plan` against what was measured: memory of ranks and engines, tokens, bytes and seconds.

    python -m benchmarks.plan [--only ranks | engine | run] [--out FILE]

Memory: the peak resident size of real training ranks and of a real vLLM engine on CPU, for a
random Llama of 30 M parameters in several layouts. What a process needs for its libraries alone is
measured in the same run, with a model of next to no size, and handed to the plan as its baseline.

Run: one round of the built-in demo with few questions gives the rates; the plan made with them is
held against a round with more. A row is {"what", "planned", "measured", "ratio"}; ratio is
planned / measured.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.small_jobs import RECIPES, small_job, tiny_model
from east_core.config import Resources, RunConfig, SamplingRecipe
from east_core.config.toml_file import load_config
from east_core.engines.trl.job import rank_job
from east_core.engines.trl.torchrun import TorchrunTrainer
from east_core.engines.vllm.sampler import VllmSampler
from east_core.inputs.questions import builtin_path
from east_core.planning.model_shape import parse_shape, shape_of
from east_core.planning.plan import GPUS, Assumptions, Plan, Planner, Workload
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question
from east_core.store import Store
from east_core.store.manifest import ArtifactRecord

RANK, ENGINE = "east_core.engines.trl.rank", "east_core.engines.vllm.worker"
SMALL: dict[str, int] = {}
SMALL_ENGINE = {"num_attention_heads": 2}  # vLLM on CPU has no heads of size 16
LARGE = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "vocab_size": 8192,
}
# (what, layout): every ZeRO stage, one rank and two, with and without checkpointing
LAYOUTS = (
    ("DDP, 1 rank", {"zero_stage": 0, "processes": 1, "micro_batch_size": 1}),
    ("ZeRO-1, 1 rank", {"zero_stage": 1, "processes": 1, "micro_batch_size": 1}),
    ("ZeRO-2, 1 rank", {"zero_stage": 2, "processes": 1, "micro_batch_size": 1}),
    ("ZeRO-2, 1 rank, micro-batch 8", {"zero_stage": 2, "processes": 1, "micro_batch_size": 8}),
    (
        "the same, gradient checkpointing",
        {
            "zero_stage": 2,
            "processes": 1,
            "micro_batch_size": 8,
            "gradient_checkpointing": True,
        },
    ),
    ("ZeRO-2, 2 ranks", {"zero_stage": 2, "processes": 2, "micro_batch_size": 1}),
    ("ZeRO-3, 2 ranks", {"zero_stage": 3, "processes": 2, "micro_batch_size": 1}),
)
EXAMPLES, FEW, MANY = 32, 96, 400
Row = dict[str, Any]


def main() -> int:
    """Measure, plan, print the rows as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("ranks", "engine", "run"))
    parser.add_argument("--out", type=Path, help="write the rows to this JSON file")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="east-plan-") as name:
        work = Path(name)
        os.environ.setdefault("EAST_DEVICE_LOCK", str(work / "device.lock"))
        for part, measure in PARTS.items():
            if options.only in (None, part):
                for row in measure(work):
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def row(what: str, planned: float, measured: float) -> Row:
    """One comparison."""
    ratio = round(planned / measured, 3)
    return {"what": what, "planned": round(planned), "measured": round(measured), "ratio": ratio}


def rank_rows(work: Path) -> Iterator[Row]:
    """Peak memory of training ranks, planned and measured, in bytes."""
    small = {"zero_stage": 2, "processes": 1, "micro_batch_size": 1}
    baseline, _ = rank_peak(work / "small", SMALL, small)
    for number, (what, layout) in enumerate(LAYOUTS):
        peak, plan = rank_peak(work / str(number), LARGE, layout, baseline)
        assert plan is not None
        planned = plan.value("training rank", "peak")
        yield row(f"rank: {what}", planned, peak)
        yield row(f"rank: {what}, above the baseline", planned - baseline, peak - baseline)


def rank_peak(
    work: Path, sizes: dict[str, int], layout: dict[str, Any], baseline: float | None = None
) -> tuple[float, Plan | None]:
    """The largest rank's peak, and the plan of the same job where there is a baseline."""
    work.mkdir()
    update = {"optimizer": "adamw", "global_batch_size": 16, "epochs": 1.0, "learning_rate": 1e-4}
    resources = Resources(device="cpu", **layout)
    job = small_job(
        work / "job",
        RECIPES["sft"].model_copy(update=update),
        model=tiny_model(work / "model", **sizes),
        examples=EXAMPLES,
        resources=resources,
    )
    with peak_of(RANK) as peak:
        TorchrunTrainer(on_step=ignore, on_log=ignore).train(job, work / "out")
    if baseline is None:
        return peak(), None
    longest = longest_row(rank_job(job, work / "out", "cpu").data_file)
    config = RunConfig(
        training=job.recipe, resources=resources, sampling=SamplingRecipe(max_tokens=longest)
    )
    shape = parse_shape(json.loads((work / "model" / "config.json").read_text()), "random")
    assumed = Assumptions(GPUS["h100"], rank_baseline=baseline)
    plan = Planner(config, shape, Workload(EXAMPLES, 0, 0, longest), assumed, "cpu").plan()
    return peak(), plan


def longest_row(data_file: Path) -> int:
    """Tokens of the longest tokenised row."""
    import datasets

    return max(len(ids) for ids in datasets.Dataset.from_file(str(data_file))["input_ids"])


def engine_rows(work: Path) -> Iterator[Row]:
    """Peak memory of a vLLM engine on CPU; its baseline comes from the small model."""
    resources = Resources(device="cpu", kv_cache_gib=0.25, engines=1)
    small = tiny_model(work / "engine-small", **SMALL_ENGINE)
    large = tiny_model(work / "engine-large", **LARGE)
    cache = resources.kv_cache_gib * 2**30
    baseline = engine_peak(small, resources) - cache
    peak = engine_peak(large, resources)
    shape = parse_shape(json.loads((large.folder / "config.json").read_text()), "random")
    assumed = Assumptions(GPUS["h100"], engine_baseline=baseline)
    config = RunConfig(resources=resources)
    planner = Planner(config, shape, Workload(1, 1), assumed, "cpu")
    planned = planner.plan().value("sampling engine", "peak")
    yield row("engine", planned, peak)
    yield row("engine, above the baseline", planned - baseline, peak - baseline)


def engine_peak(model: ModelSource, resources: Resources) -> float:
    """Peak memory of one engine that samples with `model`."""
    questions = [Question(id=str(i), prompt=f"What is {i} plus {i}?") for i in range(64)]
    settings = GenerationSettings(8, 1.0, 1.0, 96, None, (), 1)
    with peak_of(ENGINE) as peak, VllmSampler(resources, on_progress=ignore) as sampler:
        for _ in sampler.sample(model, [questions], settings, len(questions)):
            pass
    return peak()


@contextmanager
def peak_of(module: str) -> Iterator[Callable[[], float]]:
    """Watch the processes below us that run `module`; the largest one's peak in bytes."""
    peaks: dict[int, int] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                note_peak(process, module, peaks)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: max(peaks.values())
    finally:
        ended.set()
        watcher.join()


def note_peak(process: psutil.Process, module: str, peaks: dict[int, int]) -> None:
    """Note a process's high-water mark, which the kernel keeps between two looks."""
    try:
        argv = process.cmdline()
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (psutil.Error, OSError):
        return  # it has just ended
    if module in argv and "torch.distributed.run" not in argv:
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        peaks[process.pid] = max([peaks.get(process.pid, 0), *(int(kib) * 1024 for kib in found)])


def run_rows(work: Path) -> Iterator[Row]:
    """A round of the demo, planned with the rates of a shorter one, and measured."""
    start = training_start(work)
    few, many = (run_round(work, questions) for questions in (FEW, MANY))
    length = few.tokens / few.completions
    assumed = Assumptions(
        GPUS["h100"],
        text_bytes=few.bytes("samples") / few.tokens,
        training_start=start,
        sampling_rate=few.tokens / few.seconds("samples"),
        training_rate=few.trained_tokens / max(few.seconds("checkpoint") - start, 0.1),
        grading_rate=few.completions / few.seconds("weights"),
    )
    work_load = Workload(
        questions=MANY,
        test_questions=few.scored,
        prompt_tokens=few.prompt_tokens,
        completion_tokens=round(length),
        kept=few.kept,
    )
    plan = Planner(many.config, shape_of(many.config.model), work_load, assumed, "cpu").plan()
    yield row("round: tokens sampled", plan.value("a round", "sampled"), many.tokens)
    yield row("round: tokens trained", plan.value("a round", "trained"), many.trained_tokens)
    for stage, name in (("samples", "samples stored"), ("checkpoint", "checkpoint stored")):
        yield row(f"round: bytes of {stage}", plan.value("a round", name), many.bytes(stage))
    for stage, name in (
        ("samples", "sampling"),
        ("weights", "weighing"),
        ("checkpoint", "training"),
    ):
        yield row(f"round: seconds of {stage}", plan.value("a round", name), many.seconds(stage))


def training_start(work: Path) -> float:
    """Seconds from a training stage's start to the end of its first, very small step."""
    job = small_job(work / "start", RECIPES["sft"], resources=Resources(device="cpu", processes=2))
    marks: list[float] = []
    begun = time.monotonic()
    TorchrunTrainer(on_step=lambda _: marks.append(time.monotonic()), on_log=ignore).train(
        job, work / "start" / "out"
    )
    return marks[0] - begun


@dataclasses.dataclass(frozen=True)
class MeasuredRound:
    """Round 1 of a finished run of the demo."""

    store: Store
    config: RunConfig

    def records(self, stage: str) -> list[ArtifactRecord]:
        """The records of a stage: one, or one for each shard."""
        addresses = self.store.addresses(f"{self.config.name}/round-01/{stage}")
        return [self.store.require(address) for address in addresses]

    def seconds(self, stage: str) -> float:
        """What building the stage took."""
        return sum(record.seconds for record in self.records(stage))

    def bytes(self, stage: str) -> float:
        """What the stage stored: tables or weights, without logs."""
        endings = (".parquet", ".safetensors")
        files = [file for record in self.records(stage) for file in record.files]
        return sum(file.size for file in files if file.path.endswith(endings))

    def fact(self, stage: str, name: str) -> float:
        """A figure of the stage's record."""
        whole = self.store.require(f"{self.config.name}/round-01/{stage}")
        return float(str(whole.facts[name]))

    @property
    def completions(self) -> float:
        """Completions sampled."""
        return self.fact("samples", "completions")

    @property
    def tokens(self) -> float:
        """Tokens sampled."""
        return self.fact("samples", "tokens")

    @property
    def kept(self) -> float:
        """Share of the questions that was trained on."""
        return self.fact("examples", "examples") / self.fact("samples", "questions")

    @property
    def scored(self) -> int:
        """Test questions."""
        benchmarks = self.store.require(f"{self.config.name}/benchmarks/word-problems")
        return int(str(benchmarks.facts["questions"]))

    @property
    def trained_tokens(self) -> float:
        """Tokens that passed through the model in training."""
        [record] = self.records("checkpoint")
        log = (self.store.fetch(record) / "logs" / "training.jsonl").read_text()
        return float(sum(json.loads(line).get("tokens", 0) for line in log.splitlines()))

    @property
    def prompt_tokens(self) -> int:
        """Mean prompt of the trained examples: what is left of an example's tokens."""
        passed = self.fact("examples", "examples") * self.config.training.epochs
        return round(self.trained_tokens / passed - self.tokens / self.completions)


def run_round(work: Path, questions: int) -> MeasuredRound:
    """One round of the demo on so many questions, through the command line."""
    store, name = work / "store", f"demo-{questions}"
    scored = 'benchmarks={word-problems={path="builtin:test.jsonl",limit=50}}'  # not compared
    settings = [f'name="{name}"', "rounds=1", f"questions.limit={questions}", scored]
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-c", "from flows.commands.main import main; main()", "demo"]
    subprocess.run(
        [*command, "--store", str(store), *options],
        cwd=work,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=sys.stderr,
    )
    config = load_config(builtin_path("demo.toml"), settings)
    return MeasuredRound(Store(str(store)), config)


PARTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "ranks": rank_rows,
    "engine": engine_rows,
    "run": run_rows,
}


def ignore(_: object) -> None:
    """Hear nothing."""


if __name__ == "__main__":
    sys.exit(main())
