"""`east average` and `east evaluate`: a checkpoint between others, and what one is worth."""

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from east_core.errors import ConfigError
from flows.commands.options import Overrides, RunUrl
from flows.commands.say import say

Number = TypeVar("Number", int, float)
Rounds = Annotated[
    str,
    typer.Option(
        help="Rounds whose checkpoints are averaged, 0 for the base model: 0,3. Config, tokenizer "
        "and the files' layout are those of the last one named."
    ),
]
Weights = Annotated[str, typer.Option(help="A weight for each, 0 or more, sum 1: 0.5,0.5.")]
Name = Annotated[str, typer.Option(help="What it is called. Default: 0x0.5-3x0.5 and the like.")]


def average(run_url: RunUrl, rounds: Rounds, weights: Weights, name: Name = "") -> None:
    """Average the weights of a run's checkpoints: a model between them (WiSE-FT, arXiv:2109.01903).

    Between the base model and a trained one may lie one that keeps the accuracy of the second and
    more of the diversity (pass@k) of the first. It is written to RUN_URL/averages/NAME as a
    checkpoint with lineage, and takes a few hundred MiB of memory, however large the model is.
    Score it before you believe in it.

    Example: east average .east/store/demo --rounds 0,3 --weights 0.5,0.5
    """
    from east_core.runs.averaging import Blend
    from east_core.runs.averaging import average as make
    from flows.commands.launch import open_run

    blend = Blend(
        _numbers("--rounds", rounds, int, "0,3"), _numbers("--weights", weights, float, "0.5,0.5")
    )
    store, run = open_run(run_url)
    record = make(store, run, blend, name)
    say(f"average    {store.url(record)}")
    say(
        f"of         rounds {rounds} of {run} with weights {weights}: "
        f"{record.facts['tensors']} tensors, {record.facts['parameters']:,} parameters"
    )
    say(f"score it   east evaluate {store.root}/{record.address}")


def evaluate(
    checkpoint_url: Annotated[
        str, typer.Argument(help="RUN_URL/averages/NAME, or RUN_URL/round-03/checkpoint.")
    ],
    name: Annotated[
        str, typer.Option(help="Folder of the scores beside the run. Default: from the address.")
    ] = "",
    set_: Overrides = [],  # noqa: B006 typer copies it
) -> None:
    """Score an average, or a checkpoint of a run, as the run's rounds are scored.

    The same benchmarks and settings, all of the run's; --set changes one. The scores are kept in
    the run's store under a name of their own, and are found again when they are there.

    Example: east evaluate .east/store/demo/averages/0x0.5-3x0.5 --set evaluation.samples_per_question=8
    """  # noqa: E501 a line to copy
    from east_core.runs.summary import summarise
    from east_core.store.lineage import open_artifact
    from flows.commands.console import print_rounds
    from flows.server.connection import prefect_api

    store, address = open_artifact(checkpoint_url)
    called = name or _slug(address)
    with prefect_api():
        from flows.evaluate import evaluate_like_a_round

        evaluate_like_a_round(store.root, address, called, set_)
    print_rounds(called, summarise(store, called))
    say(f"again      east show {store.root}/{called}")


def _slug(address: str) -> str:
    """A run's name for the scores of a checkpoint: demo-averages-0x0-5-3x0-5."""
    return re.sub(r"[^a-z0-9]+", "-", address.lower()).strip("-")[:63].strip("-")


def _numbers(
    option: str, text: str, kind: Callable[[str], Number], example: str
) -> tuple[Number, ...]:
    """The numbers of an option. Raises ConfigError where there are others."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give numbers with commas, as {example}") from None
