"""New questions are noticed wherever they lie, once, and only where they are enough."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from east_core.errors import ConfigError
from east_core.inputs.questions import listing
from east_core.store import Store
from east_core.studies.promotion import BASE, Entry, record_entry
from flows.server import arrivals, notifications
from flows.server.arrivals import ENTRYPOINT, ON_ARRIVAL, Watcher, start_on_arrival
from flows.server.notifications import RULES, notify

pytestmark = pytest.mark.usefixtures("prefect_api")


@flow
def nothing() -> None:
    """A flow for a deployment."""


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where questions arrive: a folder, and a file system that is none of the kernel's."""
    if request.param == "folder":
        yield str(tmp_path / "new")
        return
    yield f"memory://{tmp_path.name}/new"
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture
def deployment(place: str, tmp_path: Path) -> Iterator[Any]:
    """A retraining deployment that takes its questions there."""
    form = {"name": "line", "questions": place, "store": str(tmp_path / "store")}
    parameters = {"form": {**form, "least_questions": 16}}
    with get_client(sync_client=True) as client:
        made = client.create_deployment(
            client.create_flow(nothing), "arrivals", parameters=parameters, entrypoint=ENTRYPOINT
        )
        yield made
        client.delete_deployment(made)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The events that were sent: deployment, line, payload."""
    events: list[Any] = []
    monkeypatch.setattr(arrivals, "_emit", lambda *event: events.append(event))
    return events


def add(place: str, name: str, count: int) -> None:
    rows = (json.dumps({"question": f"{i} + 1 = ?", "answer": str(i + 1)}) for i in range(count))
    with fsspec.open(f"{place}/{name}", "wt", auto_mkdir=True) as stream:
        stream.write("\n".join(rows) + "\n")


def test_the_event_is_sent_once_for_enough_new_questions(
    place: str, deployment: Any, sent: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    with caplog.at_level(logging.WARNING, "prefect.east"):
        assert [watcher.look() for _ in range(3)] == [[], [], []]
    assert len([r for r in caplog.records if r.name == "prefect.east"]) == 1  # not every minute
    add(place, "monday.jsonl", 10)
    assert [watcher.look() for _ in range(2)] == [[], []]  # too few
    add(place, "tuesday.jsonl", 10)
    assert [watcher.look() for _ in range(3)] == [[], ["line"], []]  # settled first, and then once
    [(told, line, payload)] = sent
    assert (told.id, line) == (deployment, "line")
    assert payload == {"questions": place, "files": 2}

    store = Store(str(tmp_path / "store"))
    used = {"monday.jsonl": 10, "tuesday.jsonl": 10}
    record_entry(store, "line", Entry(1, "kept", BASE, "line-0001", "no gain", used))
    assert [watcher.look() for _ in range(3)] == [[], [], []]  # the line has used them
    add(place, "wednesday.jsonl", 16)
    assert [watcher.look() for _ in range(3)] == [[], ["line"], []]
    record_entry(store, "line", Entry(2, "kept", BASE, "line-0002", "no gain", used))
    assert [watcher.look() for _ in range(3)] == [[], ["line"], []]  # they came in mid-run


def test_a_file_that_grows_changes_the_listing(place: str) -> None:
    add(place, "monday.jsonl", 3)
    before = listing(place)
    assert listing(place) == before
    add(place, "monday.jsonl", 4)
    assert listing(place) != before


def test_the_automation_is_installed_once_and_left_alone() -> None:
    start_on_arrival()
    start_on_arrival()
    with get_client(sync_client=True) as client:
        [rule] = client.read_automations_by_name(ON_ARRIVAL)
    assert rule.actions[0].source == "inferred"


def test_notifications_are_renewed_and_not_doubled() -> None:
    for address in ("json://127.0.0.1:9/a", "mailto://127.0.0.1:9?to=a@example.org&from=b@c.org"):
        assert notify(address) == list(RULES)
    with get_client(sync_client=True) as client:
        assert [len(client.read_automations_by_name(name)) for name in RULES] == [1, 1, 1]
        kept = client.read_block_document_by_name(
            notifications.BLOCK, "slack-webhook", include_secrets=False
        )
    assert "example.org" not in str(kept.data)  # what the UI shows of an address


def test_an_address_that_nothing_can_be_sent_to_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"the address \(bogus\)") as told:
        notify("bogus://user:hunter2@example.org")
    assert "hunter2" not in str(told.value)
