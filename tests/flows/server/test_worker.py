"""A worker that is told to end gives back what it was running, and nothing else."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled

from flows.server.setup import POOL, ensure_pool
from flows.server.worker import give_back

OURS, ANOTHER = "slurm-17", "slurm-18"


@flow
def nothing() -> None:
    """A flow to have runs of."""


@pytest.fixture
def run_in(prefect_api: None) -> Callable[..., str]:
    """Makes a run of the pool in a state, taken by a worker where one is named; gives its id."""
    ensure_pool()

    def make(state: Any, worker: str | None = None) -> str:
        with get_client(sync_client=True) as client:
            deployment = client.create_deployment(
                client.create_flow(nothing), name="given-back", work_pool_name=POOL,
                entrypoint="x:y",
            )  # fmt: skip
            run = client.create_flow_run_from_deployment(deployment, state=Scheduled())
            client.set_flow_run_state(run.id, state, force=True)
            if worker:
                client.update_flow_run_labels(run.id, {"prefect.worker.name": worker})
        return str(run.id)

    return make


def state_of(run: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run)).state


@pytest.mark.parametrize("state", [Running(), Crashed(), Failed()], ids=lambda state: state.name)
def test_a_run_whose_process_it_held_waits_again(run_in: Callable[..., str], state: Any) -> None:
    run = run_in(state)
    assert len(give_back(POOL, OURS, {run})) == 1
    assert state_of(run).name == "AwaitingRetry"
    assert "another worker" in state_of(run).message


@pytest.mark.parametrize("state", [Completed(), Cancelled()], ids=lambda state: state.name)
def test_a_run_that_has_its_end_stays_ended(run_in: Callable[..., str], state: Any) -> None:
    run = run_in(state)
    assert give_back(POOL, OURS, {run}) == []
    assert state_of(run).type == state.type


@pytest.mark.parametrize("state", [Running(), Pending()], ids=lambda state: state.name)
def test_what_it_had_only_just_taken_waits_again(run_in: Callable[..., str], state: Any) -> None:
    ours, of_another, of_nobody = run_in(state, OURS), run_in(state, ANOTHER), run_in(state)
    ended = run_in(Crashed(), OURS)  # long ago: nobody held it when the end came
    give_back(POOL, OURS, set())
    assert state_of(ours).name == "AwaitingRetry"
    assert {state_of(run).type for run in (of_another, of_nobody)} == {state.type}
    assert state_of(ended).is_crashed()


def test_who_watches_for_crashes_hears_that_it_no_longer_runs(run_in: Callable[..., str]) -> None:
    """Without an end, the crash rule would take the waiting run for one that has gone silent."""
    run = run_in(Running())
    give_back(POOL, OURS, {run})
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(run))
    assert [state.name for state in states][-3:] == ["Running", "Crashed", "AwaitingRetry"]
