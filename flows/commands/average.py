"""`east average`: a checkpoint between a run's checkpoints."""

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from east_core.errors import ConfigError
from flows.commands.options import RunUrl
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
    checkpoint with lineage, and needs memory for a few million numbers only. Score it before you
    believe in it.

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
    say(f"score it   deployment evaluate of `east up`, with checkpoint run:{record.address}")


def _numbers(
    option: str, text: str, kind: Callable[[str], Number], example: str
) -> tuple[Number, ...]:
    """The numbers of an option. Raises ConfigError where there are others."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r}: give numbers with commas, as {example}") from None
