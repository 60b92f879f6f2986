"""Scheduled retraining: the champion practises the new questions, and is replaced if beaten."""

from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import ConfigDict, Field

from east_core.config import RunConfig
from east_core.runs.overview import trained_rounds
from east_core.store import ArtifactRecord
from east_core.studies import promotion, retraining
from east_core.studies.promotion import Decision, Entry, Margin, PairedTest
from flows.self_training import self_training
from flows.server.forms import RunForm, named_by_form
from tasks.approval import ask_for_approval
from tasks.aws_credentials import use_aws_block
from tasks.context import current_store, store_for
from tasks.flow_tags import tag_run
from tasks.logging import quiet_known_errors
from tasks.promotions import (
    collapse_waiting,
    emit_decision,
    emit_too_few_questions,
    publish_decision,
    publish_history,
)
from tasks.stages import plain_task

quiet_known_errors()


class RetrainForm(RunForm):
    """A line of retraining. Its questions are a place to which new ones are added."""

    model_config = ConfigDict(title="Retraining")

    name: str = Field(
        "retrain",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,56}[a-z0-9])?$",
        description="Name of the line; its runs are NAME-0001, NAME-0002, ...",
    )
    rounds: int = Field(1, ge=1, le=1000, description="Rounds of self-training in each run.")
    rule: PairedTest | Margin = Field(
        PairedTest(),
        description="When the run's last checkpoint replaces the champion, by the questions of "
        "all benchmarks: a gain that chance does not explain, or a margin.",
    )
    least_questions: int = Field(
        64, ge=1, description="Fewer new questions than this are left for the next time."
    )
    approval: Literal["automatic", "person"] = Field(
        "automatic",
        description="Who has the last word on what the rule would promote. For a person a run "
        "below this one pauses, with the comparison, until it is resumed in the UI.",
    )
    approval_hours: float = Field(
        24, gt=0, le=8760, description="How long it waits for a person; then the champion is kept."
    )


@flow(name="retrain", flow_run_name=named_by_form)
def retrain(form: RetrainForm) -> State[None]:
    """Train the champion on the questions added since the last run; promote what is better.

    Interrupted, it goes on with the same questions. Without new ones it ends at once.
    """
    use_aws_block()
    if count := collapse_waiting():
        get_run_logger().info(
            "%d more runs were due and are cancelled: this one takes their questions", count
        )
    settings = form.run_config()
    with store_for(settings.store) as store:
        arrivals = gather(settings, form.least_questions)
        if arrivals is None:
            least = f"fewer than {form.least_questions} new questions"
            reason = f"{least} in {_places(settings)}"
            emit_too_few_questions(form.name, reason)
            return _ended("no new questions", reason)
        run = retraining.next_run(settings, store, form.name, arrivals)
        self_training(run)
        trained = max(trained_rounds(run.name, store.addresses(run.name)))
        run = run.model_copy(update={"rounds": trained})  # fewer where it stopped early
        decision, comparison = judge(settings, run, form.rule)
        if form.approval == "person":
            decision = ask_for_approval(decision, run.name, comparison, form.approval_hours)
        entry = decide(settings, run, decision, arrivals)
    return _ended(entry.action, entry.reason)


def _ended(decision: str, reason: str) -> State[None]:
    """The run's end, with the decision in its message and as a tag of the run.

    The state's name stays Completed: the UI's filters, automations and the crash detection go by
    it, and take a run that ends in any other name for one that has not ended.
    """
    tag_run(decision.replace(" ", "-"))
    return Completed(message=f"{decision.capitalize()}: {reason}")


@plain_task("gather new questions")
def gather(settings: RunConfig, least: int) -> ArtifactRecord | None:
    """The questions of the line's next run, behind the mark of its last one."""
    record = retraining.gather_arrivals(current_store(), settings.name, settings.questions, least)
    count = 0 if record is None else record.facts["questions"]
    get_run_logger().info("%s: %s new questions", _places(settings), count or "too few")
    return record


def _places(settings: RunConfig) -> str:
    """Where new questions are looked for."""
    return ", ".join(each.path for each in settings.questions.named.values())


@plain_task("judge")
def judge(settings: RunConfig, run: RunConfig, rule: PairedTest | Margin) -> tuple[Decision, str]:
    """What the rule says of the run's last checkpoint, and the comparison behind it, published."""
    store = current_store()
    decision = promotion.decide(store, run.name, run.rounds, list(run.benchmarks), rule)
    return decision, publish_decision(store, settings.name, run, decision)


@plain_task("decide")
def decide(
    settings: RunConfig, run: RunConfig, decision: Decision, arrivals: ArtifactRecord
) -> Entry:
    """Record the decision, and publish it."""
    store, line = current_store(), settings.name
    entry = promotion.record_entry(
        store, line, promotion.next_entry(store, line, run, decision, arrivals.facts["mark"])
    )
    get_run_logger().info("%s: %s", run.name, entry.reason)
    publish_history(store, line)
    emit_decision(line, entry, decision)
    return entry
