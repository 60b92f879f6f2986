"""Score any checkpoint: of the hub, of a folder or URL, or of a run in the store."""

from collections.abc import Sequence

from prefect import flow
from pydantic import ConfigDict, Field

from east_core.config import (
    DatasetConfig,
    EvaluationRecipe,
    Frozen,
    HarnessTask,
    Resources,
    RunConfig,
)
from east_core.config.toml_file import parse_config
from east_core.errors import StoreError
from east_core.inputs.base_models import name_of_checkpoint
from east_core.runs.addresses import AVERAGES, RunAddresses, checkpoint_address, part_of
from east_core.runs.addresses import CHECKPOINT as TRAINED
from east_core.runs.extent import claimed_settings
from east_core.runs.summary import summarise
from east_core.store import Store
from flows.self_training import score_checkpoint
from flows.server.forms import NAME, named_by_form, opened
from tasks import stages
from tasks.aws_credentials import use_aws_block
from tasks.context import run_for, store_for
from tasks.engines import engines_for, require_engines
from tasks.logging import quiet_known_errors
from tasks.reporting import publish_scores

quiet_known_errors()
CHECKPOINT = "run:"


class EvaluationForm(Frozen):
    """Which checkpoint to score, and on what."""

    model_config = ConfigDict(title="Evaluation of a checkpoint")

    name: str = Field(
        "evaluation", pattern=NAME, description="Name of this evaluation and of its folder."
    )
    checkpoint: str = Field(
        "builtin:seed_model",
        min_length=1,
        description="Hub id, local folder or URL; or a round of a run in the store, as "
        "run:demo/round-02, or an average that `east average` made, as run:demo/averages/NAME.",
    )
    benchmarks: dict[str, str | DatasetConfig | HarnessTask] = Field(
        {"word-problems": "builtin:test.jsonl"},
        description="Test questions by name, as JSON: a path, an object with Questions' fields, or "
        'a task of lm-evaluation-harness as {"task": "gsm8k"} (docs/evaluation.md).',
    )
    evaluation: EvaluationRecipe = Field(EvaluationRecipe(), description="How it is scored.")
    resources: Resources | None = Field(
        None, title="Resources", description="GPUs, processes; None: found out."
    )
    store: str = Field(".east/store", min_length=1, description="Where the scores go.")

    def run_config(self, store: Store) -> RunConfig:
        """A run whose round 0 is the checkpoint. Raises ConfigError in one line.

        A checkpoint of `store` stays in the cache until `store` is closed.
        """
        settings = {
            "name": self.name,
            "store": self.store,
            "model": {"name": _model(self.checkpoint, store)},
            "benchmarks": {
                name: opened(benchmark, "path") for name, benchmark in self.benchmarks.items()
            },
            "evaluation": self.evaluation.model_dump(),
            **({"resources": self.resources.model_dump()} if self.resources else {}),
        }
        return parse_config(settings, where="form")


@flow(name="evaluate", flow_run_name=named_by_form)
def evaluate(form: EvaluationForm) -> None:
    """Score a checkpoint on benchmarks, with intervals; the scores stay in the store."""
    use_aws_block()
    with store_for(form.store) as store:
        _score(form.run_config(store))


@flow(name="evaluate-like-a-round", flow_run_name="{name}")
def evaluate_like_a_round(store: str, address: str, name: str, overrides: Sequence[str]) -> None:
    """Score a run's checkpoint, or an average, on the run's benchmarks with the run's settings."""
    use_aws_block()
    with store_for(store) as opened_store:
        _score(like_a_round(opened_store, address, name, overrides))


def like_a_round(store: Store, address: str, name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings of the run that the checkpoint at `address` is of, with that as base model.

    A template that writes the date writes the run's, so that the prompts are those of its rounds.
    The checkpoint stays in the cache until `store` is closed. Raises StoreError where there is no
    checkpoint, or its run's settings are gone.
    """
    record, part, run = store.require(address), part_of(address), address.split("/")[0]
    settings, dated = claimed_settings(store, run), store.record(RunAddresses(run).template_date)
    if part is None or part.kind not in (TRAINED, AVERAGES) or settings is None:
        raise StoreError(
            f"{store.url(address)} is no checkpoint of a run; name one as RUN_URL/round-03/"
            "checkpoint or RUN_URL/averages/NAME"
        )
    model = {**settings["model"], "name": name_of_checkpoint(store, record), "revision": None}
    if dated is not None:
        model["template_date"] = str(dated.facts["date"])
    ours = {**settings, "name": name, "store": store.root, "model": model}
    return parse_config(ours, overrides, where=f"settings of {run}")


def _score(config: RunConfig) -> None:
    """Score the model of a run whose round 0 it is."""
    with run_for(config) as run:
        require_engines(run.config)
        stages.prepare_evaluation()
        with engines_for(run.config):
            score_checkpoint(run, 0)
        publish_scores(run.config, summarise(run.store, run.name))


def _model(checkpoint: str, store: Store) -> str:
    """The folder or name of the model; a checkpoint of the store is fetched and verified."""
    if not checkpoint.startswith(CHECKPOINT):
        return checkpoint
    address = checkpoint_address(checkpoint.removeprefix(CHECKPOINT))
    return name_of_checkpoint(store, store.require(address))
