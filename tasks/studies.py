"""The tasks of a study: what its runs share, and what they have shown."""

import base64
from collections.abc import Sequence

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from east_core.config import RunConfig
from east_core.runs.run import Run
from east_core.store import ArtifactRecord, Store
from east_core.studies import comparison
from east_core.studies.study import StudyConfig, share_start
from tasks.stages import prepare


@task(name="share the start", cache_policy=NO_CACHE, persist_result=False)
def take_over_start(config: RunConfig, earlier: Sequence[RunConfig]) -> None:
    """Take over the first scores and samples that earlier runs of the study have drawn."""
    prepare.fn(config)
    for record in share_start(Run.open(config), [Run.open(donor) for donor in earlier]):
        get_run_logger().info("%s is shared with an earlier run", record.address)


@task(name="compare", cache_policy=NO_CACHE, persist_result=False)
def publish_comparison(study: StudyConfig) -> ArtifactRecord:
    """Publish the comparison of the arms, in the store and on the run's page."""
    record = comparison.publish_comparison(study)
    folder = Store(f"{study.store.rstrip('/')}/{study.name}").fetch(record)
    pictures = "".join(
        f"![curve](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})\n\n"
        for path in sorted(folder.glob("*.png"))
    )
    table = (folder / comparison.TABLE).read_text("utf-8")
    create_markdown_artifact(key=f"{study.name}-comparison", markdown=pictures + table)
    return record
