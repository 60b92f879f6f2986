"""The form that the UI shows for a run: the common settings first, the rest a click away.

Prefect draws a form from a flow's parameters, and draws every field of every nested group. All of
RunConfig would be some seventy fields. Here a group is one line (a path, a name, "None" for the
defaults) until somebody opens it; what is filled in becomes a RunConfig before anything starts.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from east_core.config import (
    Averaging,
    DatasetConfig,
    DpoRecipe,
    EvaluationRecipe,
    Frozen,
    HarnessTask,
    KtoRecipe,
    ModelConfig,
    QuestionMixture,
    Replay,
    Resources,
    RunConfig,
    SamplingRecipe,
    SftRecipe,
    Stopping,
)
from east_core.config.toml_file import parse_config
from east_core.form_schema import tabs
from east_core.weighting.strategies import EntropyWeighting, Weighting

NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
# Names that Prefect makes up: the server's (tidy-otter) and its UI's form's (chi6-bayliss-warp).
_GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|"
    "tau|upsilon|phi|chi|psi|omega"
)
MADE_UP = rf"[a-z]+-[a-z]+|({_GREEK})\d*-[a-z]+-[a-z]+"
Losses = Literal["sft", "dpo", "kto"]


class RunForm(Frozen):
    """Settings of a self-training run. docs/configuration.md explains every one of them."""

    model_config = ConfigDict(title="Self-training run")

    name: str = Field(
        "self-training",
        pattern=NAME,
        description="Name of the run: lower-case letters, digits and dashes. The same name and "
        "settings go on with the same run.",
    )
    rounds: int = Field(3, ge=1, le=1000, description="Rounds of self-training.")
    model: str | ModelConfig = Field(
        "builtin:seed_model",
        description="Hub id, local folder or URL of the base model; builtin:seed_model is the "
        "demo's. Open Base model for a revision.",
    )
    questions: str | DatasetConfig | QuestionMixture = Field(
        "builtin:train.jsonl",
        description="JSONL or Parquet of training questions: file, folder, glob or URL, with "
        "columns question and answer. Open Questions for GSM8K, MATH and other columns, Mixture "
        "for several sets with shares.",
    )
    benchmarks: dict[str, str | DatasetConfig | HarnessTask] = Field(
        {"word-problems": "builtin:test.jsonl"},
        description="Test questions by name, as JSON: a path, an object with Questions' fields, or "
        'a task of lm-evaluation-harness as {"task": "gsm8k"} (docs/evaluation.md).',
    )
    weighting: Weighting = Field(
        EntropyWeighting(),
        description="How a question's answers become its training weight.",
        json_schema_extra=tabs,
    )
    training: Losses | SftRecipe | DpoRecipe | KtoRecipe = Field(
        "sft", description="The loss with its default settings; or open its recipe."
    )
    samples_per_question: int = Field(
        8, ge=2, le=4096, description="Completions for each training question."
    )
    max_tokens: int = Field(
        1024, ge=1, description="Longest completion in tokens, in sampling and in evaluation."
    )
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of every random choice of the run.")
    start_from: Literal["previous", "base", "best"] = Field(
        "previous",
        description="Each round trains on from the last checkpoint, from the base, or from the "
        "best so far.",
    )
    store: str = Field(
        ".east/store", min_length=1, description="Where the artifacts go: a folder or s3://..."
    )
    sampling: SamplingRecipe | None = Field(
        None,
        title="Sampling",
        description="Temperature and more; replaces the two lengths above for sampling.",
    )
    replay: Replay | None = Field(
        None,
        title="Replay",
        description="Earlier examples, or given solutions, among those of each round; None: none.",
    )
    averaging: Averaging | None = Field(
        None,
        title="Averaging",
        description="Average each round's checkpoint with an earlier one; None: it is as trained.",
    )
    evaluation: EvaluationRecipe | None = Field(
        None,
        title="Evaluation",
        description="Greedy or sampled, maj@k, pass@k; replaces max_tokens above for evaluation.",
    )
    stopping: Stopping | None = Field(
        None,
        title="Stopping",
        description="End early where the run gets worse; None: all rounds are run.",
    )
    resources: Resources | None = Field(
        None,
        title="Resources",
        description="GPUs, processes, batch layout, DeepSpeed; None: found out.",
    )

    def run_config(self) -> RunConfig:
        """The run that the form describes.

        Raises ConfigError, in one line, where settings do not fit each other.
        """
        return parse_config(self._settings(), where="form")

    def _settings(self) -> dict[str, Any]:
        same = {"name", "rounds", "weighting", "seed", "start_from", "store"}
        settings: dict[str, Any] = self.model_dump(include=same)
        settings["model"] = opened(self.model, "name")
        settings["questions"] = opened(self.questions, "path")
        settings["benchmarks"] = {
            name: opened(benchmark, "path") for name, benchmark in self.benchmarks.items()
        }
        settings["training"] = opened(self.training, "loss")
        settings["sampling"] = (
            self.sampling.model_dump()
            if self.sampling
            else {
                "samples_per_question": self.samples_per_question,
                "max_tokens": self.max_tokens,
            }
        )
        settings["evaluation"] = (
            self.evaluation.model_dump() if self.evaluation else {"max_tokens": self.max_tokens}
        )
        if self.stopping:
            settings["stopping"] = self.stopping.model_dump()
        if self.replay:
            settings["replay"] = self.replay.model_dump()
        if self.averaging:
            settings["averaging"] = self.averaging.model_dump()
        if self.resources:
            settings["resources"] = self.resources.model_dump()
        return settings


def named_by_form() -> str:
    """A flow run's name: that of the form, and what a person wrote as the run's name behind it.

    Prefect and its UI fill that field with two words where nobody does: "tidy-otter".
    """
    from prefect.runtime import flow_run

    form = flow_run.parameters["form"]
    name = str(form["name"] if isinstance(form, Mapping) else form.name)
    given = str(flow_run.name or "")
    is_named = given == name or given.startswith(f"{name}: ")
    if is_named or re.fullmatch(MADE_UP, given):
        return given if is_named else name
    return f"{name}: {given}" if given else name


def opened(value: str | Frozen, field: str) -> dict[str, Any] | Frozen:
    """A group that was opened, or the one field that a plain text stands for."""
    return {field: value} if isinstance(value, str) else value
