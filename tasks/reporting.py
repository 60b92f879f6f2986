"""The run's curve and table: in the store, and as an artifact on the run's page."""

import base64
from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from east_core.config import RunConfig
from east_core.report import RoundSummary, curve_png, summarise
from east_core.stages import Run


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def publish_report(config: RunConfig) -> None:
    """Publish the accuracy curve and the table of rounds under the run's own artifact key."""
    run = Run.open(config)
    rounds = summarise(run.store, config.name)
    image = curve_png(rounds, config.name)
    run.store.write_text_or_bytes(run.address("curve.png"), image)
    create_markdown_artifact(
        key=f"{config.name}-curve",
        markdown=markdown(rounds, image, run.store.url(config.name)),
        description=f"Accuracy of {config.name} after round {rounds[-1].round}",
    )


def markdown(rounds: Sequence[RoundSummary], image: bytes, link: str) -> str:
    """The picture, the table and where the artifacts are."""
    data = base64.b64encode(image).decode()
    header = "| round | accuracy | kept | dropped | mean entropy (bits) |\n|---|---|---|---|---|"
    rows = "\n".join(map(_row, rounds))
    return f"![accuracy](data:image/png;base64,{data})\n\n{header}\n{rows}\n\nArtifacts: `{link}`\n"


def _row(summary: RoundSummary) -> str:
    accuracy = "; ".join(
        f"{name} {value.value:.1%} [{value.low:.1%}, {value.high:.1%}]"
        for name, value in summary.accuracy.items()
    )
    entropy = "" if summary.mean_entropy_bits is None else f"{summary.mean_entropy_bits:.2f}"
    kept = "" if summary.kept is None else summary.kept
    dropped = "" if summary.dropped is None else summary.dropped
    return f"| {summary.round} | {accuracy} | {kept} | {dropped} | {entropy} |"
