"""The tasks of a study: what its runs share, and what they have shown."""

import base64
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from east_core.config import RunConfig
from east_core.runs import prompts
from east_core.runs.addresses import COMPARISON_TABLE
from east_core.runs.run import Run
from east_core.store import ArtifactRecord
from east_core.studies import comparison, study
from east_core.studies.study import StudyConfig
from tasks.context import current_run, current_store
from tasks.stages import plain_task, prepare


@plain_task("share the start")
def share_first_stages(earlier: Sequence[RunConfig]) -> None:
    """Take over the first scores and samples that earlier runs of the study have drawn."""
    run = current_run()
    donors = [Run(config, run.store) for config in earlier]
    prompts.pin_date(run, donors)
    prepare.fn()
    for record in study.share_first_stages(run, donors):
        get_run_logger().info("%s is shared with an earlier run", record.address)


@plain_task("compare")
def publish_comparison(study: StudyConfig) -> ArtifactRecord:
    """Publish the comparison of the arms, in the store and on the run's page."""
    record = comparison.publish_comparison(current_store(), study)
    folder = current_store().fetch(record)
    pictures = "".join(
        f"![curve](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})\n\n"
        for path in sorted(folder.glob("*.png"))
    )
    table = (folder / COMPARISON_TABLE).read_text("utf-8")
    create_markdown_artifact(key=f"{study.name}-comparison", markdown=pictures + table)
    return record
