"""A study: several arms (weighting x loss x exponent), each run with several seeds.

All arms share everything but what the matrix varies. Arms that start from the same checkpoint with
the same seed draw the same first samples, so these are drawn once: the first arm's are taken over
by the others, where their fingerprints say that they are what would be sampled.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from east_core.config import Frozen, RunConfig
from east_core.config.toml_file import describe, parse_config, read_settings, with_overrides
from east_core.errors import ConfigError
from east_core.runs.addresses import study_store
from east_core.weighting.strategies import weighting_kinds

if TYPE_CHECKING:
    from east_core.runs.run import Run
    from east_core.store import ArtifactRecord

Loss = Literal["sft", "dpo", "kto"]
_VARIED = ("name", "store", "seed", "weighting", "training")


class StudyConfig(Frozen):
    """Arms to compare: every weighting with every loss and every exponent, from every seed."""

    model_config = ConfigDict(title="Study")

    name: str = Field(
        "study",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$",
        description="Name of the study and of its folder in the store.",
    )
    store: str = Field(
        ".east/store", min_length=1, description="fsspec URL or path; the runs go to STORE/NAME."
    )
    baseline: str = Field(
        "sft-uniform", description="The arm that the others are compared with, as LOSS-WEIGHTING."
    )
    seeds: tuple[int, ...] = Field(
        (1, 2, 3, 4, 5),
        min_length=1,
        description="One run of every arm for each; differences are paired by seed.",
    )
    weightings: tuple[str, ...] = Field(
        ("uniform", "entropy"), min_length=1, description="Kinds of weighting."
    )
    exponents: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="Exponents a, for the weightings that have one."
    )
    training: dict[Loss, dict[str, Any]] = Field(
        {"sft": {}}, min_length=1, description="The losses, each with its training settings."
    )
    run: dict[str, Any] = Field({}, description="What all runs share: settings of a run.")

    @model_validator(mode="after")
    def _arms_are_valid(self) -> "StudyConfig":
        varied = sorted(self.run.keys() & set(_VARIED))
        if varied:
            raise ValueError(f"run.{varied[0]} is set by the study itself; leave it out of [run]")
        names = [arm.name for arm in self.arms()]
        if self.baseline not in names:
            raise ValueError(f"baseline {self.baseline!r} is none of the arms: {', '.join(names)}")
        for values in (self.seeds, self.weightings, self.exponents):
            if len(set(values)) < len(values):
                raise ValueError(f"{values} names something twice")
        for arm in self.arms():
            self.run_config(arm, self.seeds[0])
        return self

    def arms(self) -> "list[Arm]":
        """The arms, the baseline first: what it has sampled, the others take over."""
        arms = [
            Arm(loss, weighting, exponent)
            for loss in self.training
            for weighting in self.weightings
            for exponent in (self.exponents if _has_exponent(weighting) else (None,))
        ]
        return sorted(arms, key=lambda arm: arm.name != self.baseline)

    @property
    def runs_store(self) -> str:
        """The store of the study's runs."""
        return study_store(self.store, self.name)

    def run_config(self, arm: "Arm", seed: int) -> RunConfig:
        """The run of one arm with one seed. Raises ConfigError where its settings don't fit."""
        exponent = {} if arm.exponent is None else {"exponent": arm.exponent}
        settings = {
            **self.run,
            "name": arm.run_name(seed),
            "store": self.runs_store,
            "seed": seed,
            "weighting": {"kind": arm.weighting, **exponent},
            "training": {"loss": arm.loss, **self.training[arm.loss]},
        }
        return parse_config(settings, where=f"study {self.name}, arm {arm.name}")

    def runs(self) -> "Iterator[RunConfig]":
        """Every run, seed by seed, so that an interrupted study has whole pairs to compare."""
        for seed in self.seeds:
            for arm in self.arms():
                yield self.run_config(arm, seed)


def _has_exponent(weighting: str) -> bool:
    kind = weighting_kinds().get(weighting)  # a kind that is not known is told of by the run
    return kind is None or "exponent" in kind.model_fields


@dataclass(frozen=True)
class Arm:
    """One way of training; `exponent` is None for weightings without one."""

    loss: Loss
    weighting: str
    exponent: float | None

    @property
    def name(self) -> str:
        """A name that a folder may have: "sft-entropy-1", "sft-entropy-minus-0p5"."""
        parts = [self.loss, self.weighting.replace("_", "-")]
        if self.exponent is not None:
            sign = "minus-" if self.exponent < 0 else ""
            parts.append(f"{sign}{abs(self.exponent):g}".replace(".", "p"))
        return "-".join(parts)

    @property
    def label(self) -> str:
        """A name for people: "SFT, entropy, a = -0.5"."""
        label = f"{self.loss.upper()}, {self.weighting}"
        return label if self.exponent is None else f"{label}, a = {self.exponent:g}"

    def run_name(self, seed: int) -> str:
        """The name of its run with a seed."""
        return f"{self.name}-seed-{seed}"


def load_studies(path: Path, overrides: Sequence[str] = ()) -> list[StudyConfig]:
    """The study that a TOML file describes, with `a.b=value` overrides applied; or several.

    `bases` names files of runs beside it, and makes it a study for each: NAME-BASE, with the base's
    settings under its own. Raises ConfigError with one line that tells what is wrong and where.
    """
    settings = with_overrides(read_settings(path), overrides)
    if "bases" not in settings:
        return [parse_study(settings, str(path))]
    bases = settings.pop("bases")
    if not (isinstance(bases, list) and bases and all(isinstance(base, str) for base in bases)):
        raise ConfigError(f'{path}: bases is not a list of files: bases = ["llama-math.toml"]')
    return [parse_study(_on_base(settings, path.parent / base), str(path)) for base in bases]


def _on_base(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A study's settings with those of a run under them.

    The run's [training] is what all losses share; its name, seed, loss and weighting are what the
    study varies.
    """
    base = read_settings(path)
    lost = sorted(base.get("weighting", {}).keys() - {"kind", "exponent"})
    if lost:
        raise ConfigError(f"{path}: a study sets the weighting, and can't keep weighting.{lost[0]}")
    shared = {name: value for name, value in base.items() if name not in _VARIED}
    common = {name: value for name, value in base.get("training", {}).items() if name != "loss"}
    losses = settings.get("training", {"sft": {}})
    return {
        **settings,
        "name": f"{settings.get('name', 'study')}-{path.stem}",
        "training": {loss: {**common, **own} for loss, own in losses.items()},
        "run": _merged(shared, settings.get("run", {})),
    }


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table; where both have a value, the one above."""
    merged = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            merged[name] = _merged(below[name], above[name])
    return merged


def parse_study(settings: Mapping[str, Any], where: str = "study") -> StudyConfig:
    """The study that plain values describe; `where` names their source in errors."""
    of_a_run = sorted(settings.keys() & RunConfig.model_fields.keys() - StudyConfig.model_fields)
    if of_a_run:
        raise ConfigError(
            f"{where}: {of_a_run[0]} is a setting of a run, not of a study; put it under [run], or "
            "start the run itself with east run"
        )
    try:
        return StudyConfig.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe(error, StudyConfig)}") from error


def share_first_stages(run: "Run", donors: "Sequence[Run]") -> "list[ArtifactRecord]":
    """Take over from `donors` what `run` would sample before its first training.

    That is the base model's scores, and the first samples of a donor with the same seed (and with
    log-probabilities, where `run` needs them). What no
    donor has, or has from other settings, is left for the run itself. All are in one store: the
    shards of the samples stay where they are.
    """
    from east_core.runs.samples import keeps_logprobs, sampling_stage
    from east_core.runs.scores import scoring_stage
    from east_core.store import reuse

    wanted = [scoring_stage(run, 0, benchmark) for benchmark in run.config.benchmarks]
    shared = []
    for stage in [*wanted, sampling_stage(run, 1)]:
        part = stage.address.removeprefix(f"{run.name}/")
        fitting = (each for each in donors if keeps_logprobs(each) or not keeps_logprobs(run))
        sources = (donor.store.record(f"{donor.name}/{part}") for donor in fitting)
        copies = (reuse(run.store, source, stage) for source in sources if source)
        shared += [next((copy for copy in copies if copy), None)]
    return [record for record in shared if record]
