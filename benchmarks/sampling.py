"""The sampling stage against bare vLLM: tokens a second, in pairs.

    python -m benchmarks.sampling --json rows.json

Ours is the whole stage as a run has it: `samples.sample` hands questions to the engine's process
and writes Parquet shards and records to a local store. There are two other sides, each in a process
of its own: `benchmarks.plain.sampling` is what one would write (`LLM.chat`, nothing but n,
temperature and max_tokens), and "bare" is `LLM.generate` over the same prompts with our parameters
and engine options; the difference between them is what our options cost.
All engines are started, and have sampled once, before the clock runs; they take turns. On a GPU
they share its memory. Shards are of the size that runs have by default, so that our engine drains
as often as in a run.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.pairs import BenchmarkRow, alternate, median_row, write_result
from benchmarks.sides import measured, other_side
from east_core.config import DatasetConfig, ModelConfig, Resources, RunConfig, SamplingRecipe
from east_core.engines.vllm import sampler as vllm_sampler
from east_core.engines.vllm.options import EngineOptions
from east_core.inputs.base_models import locate_model
from east_core.inputs.questions import WithGold, builtin_path
from east_core.protocols import GenerationSettings
from east_core.runs import samples, start
from east_core.runs.run import Run

GOAL = 0.97
SHARE_OF_GPU = 0.45  # that either side may take of a GPU's memory: both are on it at once
MODEL = "builtin:seed_model"
ROUND = 1


def run_config(
    store: Path, name: str, options: argparse.Namespace, resources: Resources
) -> RunConfig:
    """A run whose first round samples the built-in training questions as the demo does."""
    return RunConfig(
        name=name,
        store=str(store),
        model=ModelConfig(name=options.model),
        questions=DatasetConfig(limit=options.questions),
        sampling=SamplingRecipe(
            samples_per_question=options.samples, max_tokens=options.max_tokens
        ),
        resources=resources,
    )


def prepared(config: RunConfig) -> Run:
    """The run with all that its sampling stage needs."""
    run = Run.open(config)
    start.claim(run)
    start.register_base_model(run)
    start.freeze_questions(run)
    return run


def time_stage(run: Run, sampler: vllm_sampler.VllmSampler) -> float:
    """Tokens a second of the sampling stage."""
    begun = time.perf_counter()
    record = samples.sample(run, ROUND, sampler)
    seconds = time.perf_counter() - begun
    rate = int(str(record.facts["tokens"])) / seconds
    print(f"ours: {rate:,.0f} tokens a second, {seconds:.1f} s", file=sys.stderr, flush=True)
    return rate


# ---------------------------------------------------------------- the bare side


def serve_bare(job: dict[str, Any]) -> None:
    """In a process of its own: build an engine, then generate once for each line of stdin."""
    from transformers import AutoTokenizer
    from vllm import LLM

    from east_core.engines.vllm.worker import sampling_params
    from east_core.inputs.chat import prompt_token_ids

    folder = str(job["model"])
    settings = msgspec.convert(job["settings"], GenerationSettings)
    llm = LLM(model=folder, **EngineOptions(**job["options"]).llm_arguments())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    questions = list(WithGold(DatasetConfig(limit=job["questions"])))
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        begun = time.perf_counter()
        prompts = [
            prompt_token_ids(tokenizer, system_prompt=settings.system_prompt, question=q.prompt)
            for q in questions
        ]
        rooms = [llm.llm_engine.model_config.max_model_len - len(ids) for ids in prompts]
        params = [
            sampling_params(settings, q.id, room) for q, room in zip(questions, rooms, strict=True)
        ]
        asked: Any = [{"prompt_token_ids": ids} for ids in prompts]
        outputs = llm.generate(asked, params, use_tqdm=False)
        seconds = time.perf_counter() - begun
        tokens = sum(len(sample.token_ids) for output in outputs for sample in output.outputs)
        print(json.dumps({"rate": tokens / seconds}), flush=True)


def bare_command(run: Run, questions: int) -> list[str]:
    """`serve_bare` with the options that our engines get."""
    options = EngineOptions.from_resources(run.config.resources, False)
    job = {
        "model": str(model_folder(run)),
        "options": dataclasses.asdict(options),
        "settings": dataclasses.asdict(samples.sampling_settings(run, ROUND)),
        "questions": questions,
    }
    return ["benchmarks.sampling", "--bare", json.dumps(job)]


def plain_command(run: Run, questions: int) -> list[str]:
    """`benchmarks.plain.sampling` on the same questions."""
    recipe, data = run.config.sampling, builtin_path("train.jsonl")
    numbers = (questions, recipe.samples_per_question, recipe.max_tokens, SHARE_OF_GPU)
    return ["benchmarks.plain.sampling", str(model_folder(run)), str(data), *map(str, numbers)]


def model_folder(run: Run) -> Path:
    """Where the run's base model is."""
    return locate_model(run.config.model, run.store.cache)


SIDES = {
    "plain": ("plain LLM.chat", plain_command),
    "bare": ("bare LLM.generate with our options", bare_command),
}


def main() -> None:
    """Measure pairs and write the row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=MODEL, help="a folder, or a built-in")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--samples", type=int, default=8, help="completions of each question")
    parser.add_argument("--max-tokens", type=int, default=96, help="of a completion")
    parser.add_argument("--kv-cache", type=float, default=0.25, help="its size in GiB, on CPUs")
    parser.add_argument(
        "--sequences", type=int, help="that our engine generates at a time; default: as in a run"
    )
    parser.add_argument(
        "--shard", type=int, default=Resources().shard_questions, help="questions in a shard"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--against", nargs="+", choices=SIDES, default=[*SIDES], help="which sides")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, help="write the row here")
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        serve_bare(json.loads(options.bare))
        return
    resources = Resources(
        device=options.device,
        engine_memory=SHARE_OF_GPU,
        kv_cache_gib=options.kv_cache,
        max_sequences=options.sequences,
        shard_questions=options.shard,
    )
    rows = [_measured(options, resources, *SIDES[side]) for side in options.against]
    if options.json:
        write_result(options.json, rows)


def _measured(
    options: argparse.Namespace,
    resources: Resources,
    name: str,
    command: Callable[[Run, int], list[str]],
) -> BenchmarkRow:
    """The row of our stage over another side, in pairs."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        runs = (
            prepared(run_config(Path(folder), f"bench-{number}", options, resources))
            for number in itertools.count()
        )
        sampler = stack.enter_context(vllm_sampler.VllmSampler(resources))
        first = next(runs)
        time_stage(first, sampler)
        asked = command(first, options.questions)
        other = stack.enter_context(other_side(asked, resources))
        measured(other, "rate")

        def theirs() -> float:
            rate = measured(other, "rate")
            print(f"{name}: {rate:,.0f} tokens a second", file=sys.stderr, flush=True)
            return rate

        pairs = alternate(lambda: time_stage(next(runs), sampler), theirs, options.runs)
    model = "" if options.model == MODEL else f"{Path(options.model).parent.name}, "
    row = median_row(
        f"sampling: stage / {name}, {model}tokens a second ({options.device})",
        [ours / plain for ours, plain in pairs],
        GOAL,
    )
    print(row, [(round(ours), round(plain)) for ours, plain in pairs], file=sys.stderr)
    return row


if __name__ == "__main__":
    main()
