"""The loop of the paper: sample, weigh, train, score, and again from the new checkpoint."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from east_core.config import RunConfig
from east_core.runs.run import Run
from east_core.runs.summary import stopped_early, summarise
from flows.server.forms import RunForm, named_by_form
from tasks import stages
from tasks.aws_credentials import use_aws_block
from tasks.context import current_run, run_for
from tasks.engines import engines_for, require_engines
from tasks.flow_tags import tag_run
from tasks.logging import quiet_known_errors
from tasks.reporting import (
    Stopwatch,
    beside_stages,
    publish_round_report,
    publish_solutions_page,
    publish_weights_page,
)
from tasks.run_page import shown_run

quiet_known_errors()


@flow(name="self-training-round", flow_run_name="{run}: round {number}")
def self_training_round(run: str, number: int) -> bool:  # noqa: ARG001 `run` names the flow's run
    """One round: from checkpoint `number` - 1 to checkpoint `number` and its scores.

    Returns False where it ends before training, because its samples got worse.
    """
    stages.sample(number)
    stages.weigh(number)
    if stages.watch_samples(number):
        return False
    with beside_stages() as begin:
        begin(publish_weights_page, number)
        stages.choose_examples(number)
        stages.train(number)
        score_checkpoint(current_run(), number)
        begin(publish_solutions_page, number)
    return True


@flow(name="self-training", flow_run_name="{config.name}")
def self_training(config: RunConfig) -> State[None]:
    """R rounds of self-training from a base model, every artifact in the run's store.

    Run again after any interruption, it goes on behind the last finished stage or shard.
    """
    use_aws_block()
    require_engines(config)
    with run_for(config) as run:
        stages.prepare()
        with shown_run(run), engines_for(config), beside_stages() as begin:
            watch = Stopwatch()
            score_checkpoint(run, 0)
            begin(publish_round_report, 0, watch.round_time())
            for number in range(1, config.rounds + 1):
                if not self_training_round(run.name, number):
                    break
                begin(publish_round_report, number, watch.round_time())
                prune_checkpoints(run, number)
                if stages.watch_scores(number):
                    break
        return _ended(run)


def _ended(run: Run) -> State[None]:
    """The run's end; where it is an early one, with the reason in the message and as a tag."""
    reason = stopped_early(summarise(run.store, run.name))
    if reason is None:
        return Completed()
    tag_run("stopped")
    return Completed(message=reason)


@flow(name="self-training", flow_run_name=named_by_form)
def self_training_form(form: RunForm) -> State[None]:
    """Self-training as the UI starts it: the short form instead of the whole config."""
    return self_training.fn(form.run_config())


def score_checkpoint(run: Run, number: int) -> None:
    """Score one checkpoint on every benchmark."""
    for benchmark in run.config.benchmarks:
        stages.score(number, benchmark)


def prune_checkpoints(run: Run, number: int) -> None:
    """Delete the weights that the run's retention does not keep."""
    if run.config.resources.retention != "all":
        stages.prune(number)
