"""What experiment trackers hear of a run: its rounds, beside the training steps that TRL reports.

A run is one run of the tracker's, found again by its name and store, with a step for each round.
Packages of trackers are imported only where `resources.trackers` names them.
"""

import hashlib
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from prefect.logging import get_run_logger

from east_core.runs.run import Run
from east_core.runs.summary import RoundSummary
from tasks.browser import full_name

MLFLOW_TAG = "east.run"
_NO_NAME = re.compile(r"[^\w\-./ ]")  # what MLflow refuses in the name of a metric


def tell_trackers(run: Run, summary: RoundSummary) -> None:
    """Tell the run's trackers of a finished round; one that can't be reached is told in the log."""
    tellers = {"mlflow": _tell_mlflow, "wandb": _tell_wandb}
    for tracker in run.config.resources.trackers:
        try:
            tellers[tracker](run, summary)
        except Exception as error:  # of whatever library; hours of work are not given up for it
            told = " ".join(str(error).split())[:300]
            get_run_logger().warning(
                "round %d was not told to %s: %s", summary.round, tracker, told
            )


def round_numbers(run: Run, summary: RoundSummary) -> dict[str, float]:
    """A round's numbers by name: scores with their intervals, entropy, kept, pass@n and more."""
    numbers: dict[str, float | None] = {}
    for benchmark, score in summary.accuracy.items():
        name = _NO_NAME.sub("-", benchmark)
        numbers |= {f"accuracy/{name}": score.value}
        numbers |= {f"accuracy_low/{name}": score.low, f"accuracy_high/{name}": score.high}
    numbers |= {
        "kept": summary.kept,
        "dropped": summary.dropped,
        "mean_entropy_bits": summary.mean_entropy_bits,
        "effective_sample_size": summary.effective_sample_size,
        "examples": summary.examples,
        "truncated_share": summary.truncated_share,
        "no_answer_share": summary.no_answer_share,
        "seconds": sum(summary.seconds.values()),
    }
    weights = run.store.record(run.at.weights(summary.round)) if summary.round else None
    if weights is not None and "pass_at_n" in weights.facts:
        numbers["pass_at_n"] = float(str(weights.facts["pass_at_n"]))
    if summary.losses:
        numbers |= {"first_loss": summary.losses[0], "last_loss": summary.losses[1]}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def checkpoint_place(run: Run, summary: RoundSummary) -> tuple[str, str] | None:
    """The name and the address of what the round trained; None for the base model."""
    record = run.store.record(run.at.checkpoint(summary.round)) if summary.round else None
    return None if record is None else (f"checkpoint-{summary.round:02d}", run.store.url(record))


def _identity(run: Run) -> str:
    return f"{full_name(run.store)}/{run.name}"


def _settings(run: Run) -> dict[str, Any]:
    return {
        "model": run.config.model.name,
        "questions": run.config.questions.model_dump(mode="json", exclude_defaults=True),
        "rounds": run.config.rounds,
        "weighting": run.config.weighting.model_dump(mode="json"),
        "training": run.config.training.model_dump(mode="json"),
        "sampling": run.config.sampling.model_dump(mode="json"),
        "seed": run.config.seed,
    }


def _tell_mlflow(run: Run, summary: RoundSummary) -> None:
    """The server is that of MLFLOW_TRACKING_URI, the experiment that of MLFLOW_EXPERIMENT_NAME."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

    client = MlflowClient()
    known = _mlflow_run(client, run)
    now = int(time.time() * 1000)
    numbers = round_numbers(run, summary)
    metrics = [Metric(name, value, now, summary.round) for name, value in numbers.items()]
    place = checkpoint_place(run, summary)
    client.log_batch(known, metrics=metrics, tags=[RunTag(*place)] if place else [])
    if summary.round == run.config.rounds:
        client.set_terminated(known)


def _mlflow_run(client: Any, run: Run) -> str:
    """The id of the tracker's run for ours; a new one where it has none."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    experiment = client.get_experiment_by_name(name)
    of = client.create_experiment(name) if experiment is None else experiment.experiment_id
    identity = hashlib.sha256(_identity(run).encode()).hexdigest()[:16]  # a filter takes no quotes
    found = client.search_runs([of], f"tags.`{MLFLOW_TAG}` = '{identity}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    made = client.create_run(of, tags={MLFLOW_TAG: identity}, run_name=run.name).info.run_id
    for setting, value in _flat(_settings(run)).items():
        client.log_param(made, setting, str(value)[:500])
    return str(made)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else None
        flat |= {f"{prefix}{name}": value} if inner is None else inner
    return flat


def _tell_wandb(run: Run, summary: RoundSummary) -> None:
    """The project is that of WANDB_PROJECT, and WANDB_MODE=offline keeps all of it on disk."""
    import wandb

    identity = hashlib.sha256(_identity(run).encode()).hexdigest()[:16]
    project = os.environ.get("WANDB_PROJECT", "east")
    with wandb.init(
        project=project, id=identity, name=run.name, resume="allow", config=_settings(run)
    ) as known:
        known.log(round_numbers(run, summary), step=summary.round)
        if place := checkpoint_place(run, summary):
            known.summary[place[0]] = place[1]
