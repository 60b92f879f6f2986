"""The run's curve and table: in the store, and as an artifact on the run's page."""

import base64
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact

from east_core import stages
from east_core.artifacts import ArtifactRecord
from east_core.config import RunConfig
from east_core.report import RoundSummary, summarise
from east_core.stages import Run
from tasks.stages import stage


@stage("report")
def publish_report(config: RunConfig, number: int) -> ArtifactRecord:
    """Publish the curves and the table of rounds, in the store and on the run's page."""
    run = Run.open(config)
    record = stages.report(run, number)
    images = [path.read_bytes() for path in sorted(run.store.fetch(record).glob("*.png"))]
    rounds = summarise(run.store, config.name)
    create_markdown_artifact(
        key=f"{config.name}-curve",
        markdown=markdown(rounds, images, f"{run.store.root}/{config.name}"),
        description=f"Accuracy of {config.name} after round {number}",
    )
    return record


def markdown(rounds: Sequence[RoundSummary], images: Sequence[bytes], link: str) -> str:
    """The pictures, accuracy first, the table and where the artifacts are."""
    pictures = "\n\n".join(
        f"![curve](data:image/png;base64,{base64.b64encode(image).decode()})" for image in images
    )
    header = "| round | accuracy | kept | dropped | mean entropy (bits) |\n|---|---|---|---|---|"
    rows = "\n".join(map(_row, rounds))
    return f"{pictures}\n\n{header}\n{rows}\n\nArtifacts: `{link}`\n"


def _row(summary: RoundSummary) -> str:
    accuracy = "; ".join(
        f"{name} {value.value:.1%} [{value.low:.1%}, {value.high:.1%}]"
        for name, value in summary.accuracy.items()
    )
    entropy = "" if summary.mean_entropy_bits is None else f"{summary.mean_entropy_bits:.2f}"
    kept = "" if summary.kept is None else summary.kept
    dropped = "" if summary.dropped is None else summary.dropped
    return f"| {summary.round} | {accuracy} | {kept} | {dropped} | {entropy} |"
