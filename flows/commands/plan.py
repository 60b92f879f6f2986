"""`east plan`: what a run will need, before anything is bought or started."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import AsJson, ConfigPath, Overrides
from flows.commands.say import say

if TYPE_CHECKING:
    from east_core.config import Benchmark, DatasetConfig, QuestionSource, RunConfig
    from east_core.engines.devices import Device
    from east_core.planning.basis import Basis
    from east_core.planning.model_shape import ModelShape
    from east_core.planning.plan import Plan

GpuName = Annotated[
    str, typer.Option("--gpu", help="a100-40, a100-80, h100, h200, b200, l4 or l40s.")
]
Parameters = Annotated[
    float | None, typer.Option("--params", help="Parameters of a model not at hand: 8.03e9.")
]
Hidden = Annotated[int | None, typer.Option(min=1, help="Its hidden size.")]
Layers = Annotated[int | None, typer.Option(min=1, help="Its layers.")]
Questions = Annotated[
    int | None, typer.Option(min=1, help="Training questions; counted where the file is local.")
]
TestQuestions = Annotated[
    int | None, typer.Option(min=1, help="Test questions of all benchmarks; counted likewise.")
]
PromptTokens = Annotated[int, typer.Option(min=1, help="Mean prompt, template included.")]
CompletionTokens = Annotated[
    int | None, typer.Option(min=1, help="Mean completion. Default: 300, or max_tokens if less.")
]
Kept = Annotated[float, typer.Option(min=0, max=1, help="Share of questions trained on.")]
SamplingRate = Annotated[
    float | None, typer.Option(min=1, help="Measured tokens a second of one engine.")
]
TrainingRate = Annotated[
    float | None, typer.Option(min=1, help="Measured tokens a second of all training ranks.")
]


def plan(
    config: ConfigPath,
    set_: Overrides = [],  # noqa: B006 typer copies it
    gpu: GpuName = "h100",
    params: Parameters = None,
    hidden: Hidden = None,
    layers: Layers = None,
    questions: Questions = None,
    test_questions: TestQuestions = None,
    prompt_tokens: PromptTokens = 150,
    completion_tokens: CompletionTokens = None,
    kept: Kept = 1.0,
    sampling_rate: SamplingRate = None,
    training_rate: TrainingRate = None,
    as_json: AsJson = False,
) -> None:
    """Estimate a run: memory of each GPU, tokens, storage, hours, with all formulas.

    The plan is for GPUs unless resources.device is "cpu", whatever this machine
    has. Ends with exit code 1 where something does not fit. Hours on CPU need
    --sampling-rate and --training-rate.

    \b
    a model on the hub, a folder, a URL:  east plan run.toml --questions 7473 --test-questions 1319
    a model that is not at hand:  east plan run.toml --params 70.6e9 --hidden 8192 --layers 80

    docs/planning.md shows the arithmetic, and how far measurements were from it.
    """
    from east_core.config.toml_file import load_config
    from east_core.planning.assumptions import Assumptions, Workload
    from east_core.planning.basis import Basis
    from east_core.planning.plan import make_plan

    run = load_config(config, set_)
    assumed = Assumptions(_gpu(gpu), sampling_rate=sampling_rate, training_rate=training_rate)
    work = Workload(
        questions=questions or _training_questions(run.questions),
        test_questions=test_questions
        or sum(_test_questions(name, each) for name, each in run.benchmarks.items()),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens or min(300, run.sampling.max_tokens),
        kept=kept,
    )
    device: Device = "cpu" if run.resources.device == "cpu" else "cuda"
    basis = Basis(run, _shape(run, params, hidden, layers), work, assumed, device)
    made = make_plan(basis)
    say(_as_json(basis, made) if as_json else _as_text(basis, made))
    if made.misfits:
        raise typer.Exit(1)


def _gpu(name: str) -> Any:
    from east_core.errors import ConfigError
    from east_core.planning.assumptions import GPUS

    if name not in GPUS:
        raise ConfigError(f"--gpu {name}: not one of {', '.join(GPUS)}")
    return GPUS[name]


def _shape(
    run: "RunConfig", params: float | None, hidden: int | None, layers: int | None
) -> "ModelShape":
    from east_core.errors import ConfigError
    from east_core.planning.model_shape import shape_of, shape_of_size

    given = (params, hidden, layers)
    if given == (None, None, None):
        return shape_of(run.model)
    if params is None or hidden is None or layers is None:
        raise ConfigError("--params, --hidden and --layers describe a model together; give all")
    return shape_of_size(params, hidden, layers)


def _training_questions(data: "QuestionSource") -> int:
    """How many questions a round samples: of a mixture, as many as the shares allow."""
    from east_core.config import QuestionMixture
    from east_core.inputs.mixtures import set_sizes

    if not isinstance(data, QuestionMixture):
        return _count(data, "--questions")
    available = {name: _count(each, "--questions") for name, each in data.sets.items()}
    shares = {name: each.share for name, each in data.sets.items()}
    return sum(set_sizes(available, shares, data.limit).values())


def _test_questions(name: str, benchmark: "Benchmark") -> int:
    """How many questions a benchmark has; of a harness's task the limit, where there is one."""
    from east_core.config import HarnessTask
    from east_core.errors import ConfigError

    if not isinstance(benchmark, HarnessTask):
        return _count(benchmark, "--test-questions")
    if benchmark.limit is None:
        raise ConfigError(
            f"benchmark {name}: the questions of lm_eval's task {benchmark.task} are not counted "
            "for a plan (east check tells); give those of all benchmarks with --test-questions"
        )
    return benchmark.limit


def _count(data: "DatasetConfig", option: str) -> int:
    """The number of questions in a local file; elsewhere it must be told."""
    from east_core.errors import ConfigError
    from east_core.inputs.questions import HUB, load_questions

    if data.path.startswith(HUB) or "://" in data.path:
        if data.limit is not None:
            return data.limit
        raise ConfigError(f"{data.path} is not read for a plan; tell its size with {option}")
    return sum(1 for _ in load_questions(data))


def _as_json(basis: "Basis", made: "Plan") -> str:
    from dataclasses import asdict

    plan = {
        "run": basis.config.name,
        "device": basis.device,
        "model": asdict(basis.shape),
        "workload": asdict(basis.work),
        "assumptions": asdict(basis.assumed),
        "estimates": [asdict(estimate) for estimate in made.estimates],
        "misfits": made.misfits,
    }
    return json.dumps(plan, indent=2)


def _as_text(basis: "Basis", made: "Plan") -> str:
    from itertools import groupby

    from east_core.planning.figures import human

    resources = basis.config.resources
    where = basis.assumed.gpu.name if basis.device == "cuda" else "cpu"
    title = (
        f"{basis.config.name}: {human(basis.shape.parameters, 'number')} parameters, {where}, "
        f"{resources.processes} ranks on {resources.nodes} nodes, ZeRO-{resources.zero_stage}, "
        f"{basis.engines} engines x {resources.tensor_parallel}"
    )
    lines = [title]
    for section, estimates in groupby(made.estimates, key=lambda one: one.section):
        lines.append(section)
        lines += [
            f"  {one.name:<25} {human(one.value, one.kind):>10}  {one.formula}" for one in estimates
        ]
    lines.append("assumed")
    lines += [f"  {text} ({source})" for text, source in basis.assumed.describe(basis.device)]
    if not any(one.kind == "seconds" for one in made.estimates):
        lines.append("hours     not known on CPU; give --sampling-rate and --training-rate")
    lines += [f"DOES NOT FIT: {misfit}" for misfit in made.misfits] or ["fits"]
    return "\n".join(lines)
