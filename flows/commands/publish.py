"""`east publish`: a checkpoint goes to the hub, or into a folder, with its card."""

from typing import Annotated

import typer

from flows.commands.say import say


def publish(
    round_url: Annotated[str, typer.Argument(help="A round: RUN_URL/round-03")],
    to: Annotated[str, typer.Option(help="hub:organisation/name, or a new folder.")],
    license_: Annotated[
        str, typer.Option("--license", help="The base model's licence, where its card has none.")
    ] = "",
    examples: Annotated[
        bool, typer.Option("--examples", help="The weighted examples too, as a data set beside it.")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="A new repository is private otherwise.")
    ] = False,
) -> None:
    """Publish a round's checkpoint: weights, tokenizer, and a model card.

    The card tells scores with intervals, training, lineage, the base model's licence, and how to
    serve it. The hub's token is read from HF_TOKEN.

    Example: east publish .east/store/demo/round-03 --to hub:my-org/my-model --examples
    """
    from east_core.studies import publishing

    target = publishing.parse_target(to)
    for place in publishing.publish(
        round_url, target, license_id=license_ or None, with_examples=examples, public=public
    ):
        say(f"published  {place}")
    say(f"serve it   vllm serve {target.hub or target.folder}")
