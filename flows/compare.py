"""A study as a flow: every arm with every seed, one run after another, then the comparison."""

from prefect import flow
from prefect.logging import get_run_logger

from east_core.config import RunConfig
from east_core.errors import EastError
from east_core.store import ArtifactRecord
from east_core.studies.study import StudyConfig
from flows.self_training import self_training
from tasks.aws_credentials import use_aws_block
from tasks.context import run_for, store_for
from tasks.engines import engines_for
from tasks.studies import publish_comparison, share_first_stages


@flow(name="compare", flow_run_name="{study.name}")
def compare(study: StudyConfig) -> ArtifactRecord:
    """Run the arms of a study and compare them; interrupted, it goes on where it was.

    A run that fails is told and left out, and the flow fails after the comparison.
    """
    use_aws_block()
    failed: list[EastError] = []
    earlier: list[RunConfig] = []
    with store_for(study.runs_store), engines_for(next(study.runs())):
        for config in study.runs():
            try:
                with run_for(config):
                    share_first_stages(earlier)
                    self_training(config)
            except EastError as error:
                get_run_logger().error("%s: %s", config.name, error)
                failed.append(error)
            earlier.append(config)
        record = publish_comparison(study)
    if failed:
        raise failed[0]
    return record
