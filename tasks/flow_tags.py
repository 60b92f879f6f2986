"""Tags of the flow run that is running."""

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext


def tag_run(tag: str) -> None:
    """Tag the flow run, beside the tags that it has."""
    context = FlowRunContext.get()
    assert context is not None, "only flows are tagged"
    assert context.flow_run is not None, "a flow that runs has a run"
    tags = {*context.flow_run.tags, tag}
    with get_client(sync_client=True) as client:
        client.update_flow_run(context.flow_run.id, tags=sorted(tags))
