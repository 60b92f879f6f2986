"""How the commands print text: whatever came out of a store can't steer the terminal."""

import typer

from east_core.text import visible


def say(text: str) -> None:
    """Print a line; control characters in it are written out."""
    typer.echo(visible(text))
