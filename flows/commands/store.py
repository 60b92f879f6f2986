"""`east runs`, `lineage`, `verify` and `prune`: looking at a store and tidying it."""

import json
from typing import Annotated

import typer

from flows.commands.options import AsJson, RunUrl, StoreUrl
from flows.commands.say import say


def runs(
    store_url: StoreUrl = ".east/store",
    as_json: AsJson = False,
) -> None:
    """List a store's runs: state, rounds, and the accuracy of the last scored round."""
    from dataclasses import asdict

    from east_core.runs.overview import list_runs
    from east_core.store import Store

    found = list_runs(Store(store_url))
    if as_json:
        say(json.dumps([asdict(run) for run in found], indent=2))
        return
    for run in found:
        asked = "?" if run.rounds_asked is None else run.rounds_asked
        scores = ", ".join(f"{name} {value:.1%}" for name, value in run.accuracy.items())
        say(
            f"{run.name:<24} {run.rounds}/{asked} rounds  {scores or 'no scores'}  "
            f"{run.state}  {run.last_change}"
        )
    if not found:
        say(f"no runs in {store_url}")


def lineage(
    artifact_url: Annotated[str, typer.Argument(help="An artifact: RUN_URL/round-03/checkpoint")],
    as_json: AsJson = False,
) -> None:
    """Print what an artifact was made from, back to the base model and the questions.

    With settings, seeds, code and library versions, times and content hashes.
    """
    from east_core.store.lineage import lineage_json, lineage_lines, open_artifact, trace

    traced = trace(*open_artifact(artifact_url))
    if as_json:
        say(json.dumps(lineage_json(traced), indent=2))
        return
    for line in lineage_lines(traced):
        say(line)


def verify(run_url: RunUrl, as_json: AsJson = False) -> None:
    """Re-read and re-hash every file of a run; name what is damaged or missing (exit code 1)."""
    from dataclasses import asdict

    from east_core.runs.addresses import VIEWS
    from east_core.store import verification
    from flows.commands.launch import open_run

    store, name = open_run(run_url)
    result = verification.verify(store, name, VIEWS)
    if as_json:
        say(json.dumps({"is_sound": result.is_sound, **asdict(result)}, indent=2))
    else:
        for finding in result.findings:
            say(str(finding))
        verdict = "all as recorded" if result.is_sound else "DAMAGED"
        say(
            f"{result.artifacts} artifacts, {result.files} files, "
            f"{result.bytes / 2**20:.1f} MiB: {verdict}"
        )
    if not result.is_sound or not result.artifacts:
        raise typer.Exit(1)


def prune(
    run_url: RunUrl,
    keep: Annotated[
        str, typer.Option(help="Checkpoints that stay: all, best-and-last, or last:K.")
    ] = "best-and-last",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
) -> None:
    """Delete the weights of old checkpoints; records and logs stay, so that lineage does too.

    The last checkpoint, unscored ones, and those that something outside the run was made from
    always stay.
    """
    from east_core.runs.retention import plan_prune
    from east_core.runs.retention import prune as delete
    from flows.commands.launch import open_run

    store, name = open_run(run_url)
    steps = plan_prune(store, name, keep)
    for step in steps:
        verdict = f"stays ({step.reason})" if step.reason else "goes"
        say(f"{step.address}  {step.size / 2**20:.1f} MiB  {verdict}")
    if dry_run:
        say("nothing was deleted (--dry-run)")
    else:
        say(f"freed {delete(store, steps) / 2**20:.1f} MiB")
