"""The `east` command line. Heavy imports happen inside the commands, so that --help is quick."""

import inspect
import json
import os
import sys
from typing import Annotated

import typer

from east_core.errors import EastError
from flows.commands.checkpoints import average, evaluate
from flows.commands.options import AsJson, ConfigPath, Overrides, RunUrl
from flows.commands.plan import plan
from flows.commands.publish import publish
from flows.commands.say import say
from flows.commands.store import lineage, prune, runs, verify
from flows.commands.studies import compare, report, sweep
from flows.commands.ui import browse, champions, deploy, notify, rollback, up, watch, worker
from flows.commands.weigh import EXAMPLES, weigh

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Iterative self-training of language models, weighted by the entropy of their answers "
    "(EAST, arXiv:2503.23913).\n\nStart with [bold]east demo[/]; then write a config "
    "(infra/configs has examples), try it with [bold]east check[/], and start it with "
    "[bold]east run[/]. An interrupted run goes on when it is started again.",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"east {version('east-self-training')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print it.")
    ] = False,
) -> None:
    """What `east` takes before a command."""


@app.command()
def demo(
    store: Annotated[str, typer.Option(help="Where the artifacts go.")] = ".east/store",
    set_: Overrides = [],  # noqa: B006 typer copies it
) -> None:
    """Run three rounds on the built-in task and model: two to three minutes on two CPU cores.

    A small model with bad habits practises grade-school word problems and gets better.
    """
    from flows.commands.launch import demo_config, launch

    launch(demo_config(store, set_))


@app.command()
def check(config: ConfigPath, set_: Overrides = []) -> None:  # noqa: B006
    """Verify all that can be verified before a second of compute is spent.

    Settings, store, model and tokenizer, questions and their gold answers, sizes.
    """
    from east_core.config.toml_file import load_config
    from flows.commands.check import check_run

    for finding in check_run(load_config(config, set_)):
        say(finding)


@app.command()
def run(config: ConfigPath, set_: Overrides = []) -> None:  # noqa: B006
    """Run (or go on with) the rounds of self-training that a config describes.

    Example: east run infra/configs/gsm8k-smoke.toml --set rounds=1
    """
    from east_core.config.toml_file import load_config
    from flows.commands.launch import launch

    launch(load_config(config, set_))


@app.command()
def show(
    run_url: RunUrl,
    as_json: AsJson = False,
) -> None:
    """Show a run's rounds: accuracy with its interval, kept and dropped questions, times."""
    from east_core.runs.summary import summarise, summary_json
    from flows.commands.console import print_rounds
    from flows.commands.launch import open_run

    store, name = open_run(run_url)
    rounds = summarise(store, name)
    if as_json:
        say(json.dumps(summary_json(rounds), indent=2))
    else:
        print_rounds(name, rounds)


app.command()(plan)
app.command()(runs)
app.command()(lineage)
app.command()(verify)
app.command()(prune)
app.command()(average)
app.command()(evaluate)
app.command()(report)
app.command()(publish)
app.command()(compare)
app.command()(sweep)
app.command(help=f"{inspect.getdoc(weigh)}\n\n{EXAMPLES}")(weigh)
app.command()(up)
app.command()(browse)
app.command()(deploy)
app.command()(watch)
app.command()(worker)
app.command()(notify)
app.command()(champions)
app.command()(rollback)


def main() -> None:
    """Run the command line; a known error is one line on stderr, and its exit code.

    No Python that it starts imports what lies in the current folder (a numbers.py, say).
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        app()
    except EastError as error:
        typer.secho(f"east: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
