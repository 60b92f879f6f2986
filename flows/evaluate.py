"""Score any checkpoint: of the hub, of a folder or URL, or of a run in the store."""

from prefect import flow
from pydantic import ConfigDict, Field

from east_core.config import DatasetConfig, EvaluationRecipe, Frozen, Resources, RunConfig
from east_core.config.toml_file import parse_config
from east_core.runs.addresses import checkpoint_address
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
    benchmarks: dict[str, str | DatasetConfig] = Field(
        {"word-problems": "builtin:test.jsonl"},
        description="Test questions by name, as JSON: a path, or an object with Questions' fields.",
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
    with store_for(form.store) as store, run_for(form.run_config(store)) as run:
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
    return str(store.fetch(store.require(address)))
