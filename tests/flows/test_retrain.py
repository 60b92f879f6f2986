"""Retraining with a scripted sampler and an instant trainer; store and Prefect are real."""

import contextvars
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.flow_engine import run_flow
from prefect.states import Pending, Scheduled

from east_core.errors import DataError
from east_core.protocols import TrainingJob, TrainingResult
from east_core.store import Store
from east_core.studies import promotion, retraining
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model
from flows.retrain import RetrainForm, retrain
from flows.server.setup import ENDS
from tasks.engines import Engines, use_engines
from tasks.promotions import collapse_waiting

RETRAIN = FlowFilter(name=FlowFilterName(any_=["retrain"]))
ASKED = FlowFilter(name=FlowFilterName(any_=["approval"]))
pytestmark = pytest.mark.usefixtures("prefect_api")


class Unlearner(InstantTrainer):
    """Trains a model that answers everything wrong."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        result = super().train(job, out)
        (out / "skill.json").write_text("0.0")
        return result


class Dying(InstantTrainer):
    """Does not survive."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        raise KeyboardInterrupt


def add_questions(file: Path, first: int, count: int) -> None:
    with file.open("a") as stream:
        for i in range(first, first + count):
            stream.write(json.dumps({"question": f"{i} + 1 = ?", "answer": str(i + 1)}) + "\n")


@pytest.fixture
def form(tmp_path: Path) -> RetrainForm:
    add_questions(tmp_path / "test.jsonl", 1000, 60)
    (tmp_path / "new").mkdir()
    add_questions(tmp_path / "new" / "monday.jsonl", 0, 40)
    return RetrainForm(
        name="line",
        store=str(tmp_path / "store"),
        model=str(write_model(tmp_path / "model", 0.4)),
        questions=str(tmp_path / "new"),
        benchmarks={"sums": str(tmp_path / "test.jsonl")},
        samples_per_question=6,
        least_questions=16,
    )


def run(form: RetrainForm, trainer: Any = None) -> Any:
    with use_engines(Engines(ScriptedSampler(), trainer or InstantTrainer())):
        return retrain(form, return_state=True)


def decision(state: Any) -> str:
    """What a run came to: in its message and tags, under a name by which all know that it ended."""
    assert state.name == "Completed"
    assert state.name in ENDS
    decided = str(state.message).split(":", maxsplit=1)[0]
    with get_client(sync_client=True) as client:
        [latest] = client.read_flow_runs(
            sort=FlowRunSort.START_TIME_DESC, limit=1, flow_filter=RETRAIN
        )
    assert decided.lower().replace(" ", "-") in latest.tags
    return decided


def history(form: RetrainForm) -> list[promotion.Entry]:
    return promotion.history(Store(form.store), form.name)


def test_a_better_model_becomes_champion_and_the_next_run_begins_with_it(
    form: RetrainForm, tmp_path: Path
) -> None:
    assert decision(run(form)) == "Promoted"
    add_questions(tmp_path / "new" / "monday.jsonl", 100, 20)  # rows at a file's end
    add_questions(tmp_path / "new" / "a-new-file.jsonl", 200, 20)  # and a file before it
    assert decision(run(form)) == "Promoted"
    first, second = history(form)
    assert second.mark == {"monday.jsonl": 60, "a-new-file.jsonl": 20}
    store = Store(form.store)
    questions = store.require("line-0002/arrivals").facts["questions"]
    assert questions == 40
    began_with = store.require("line-0002/base-model").recipe["files"]["skill.json"]
    made = {file.path: file.sha256 for file in store.require(first.champion).files}
    assert began_with == made["skill.json"]


def test_without_new_questions_it_ends_early_and_says_so(form: RetrainForm) -> None:
    run(form)
    state = run(form)
    assert decision(state) == "No new questions"
    assert "fewer than 16 new questions" in state.message
    assert len(history(form)) == 1


def test_a_worse_model_is_not_promoted_and_its_questions_are_used_up(form: RetrainForm) -> None:
    state = run(form, Unlearner())
    assert decision(state) == "Kept"
    assert "not promoted" in state.message
    assert promotion.champion(history(form)) == promotion.BASE
    assert decision(run(form)) == "No new questions"


def test_an_interrupted_run_goes_on_with_the_questions_it_began_with(
    form: RetrainForm, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(form, Dying())
    add_questions(tmp_path / "new" / "monday.jsonl", 100, 20)
    assert decision(run(form)) == "Promoted"
    assert history(form)[0].mark == {"monday.jsonl": 40}
    assert decision(run(form)) == "Promoted"
    assert Store(form.store).require("line-0002/arrivals").facts["questions"] == 20


def test_a_file_that_lost_rows_is_refused(form: RetrainForm, tmp_path: Path) -> None:
    run(form)
    file = tmp_path / "new" / "monday.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:30]))
    with pytest.raises(DataError, match=r"monday.jsonl has 30 rows where 40 were used"):
        retraining.gather_arrivals(
            Store(form.store), form.name, form.run_config().questions, form.least_questions
        )


def test_runs_that_piled_up_are_collapsed_into_one() -> None:
    """A worker was away over three schedules: one run takes all that has come."""

    @flow
    def due() -> int:
        return collapse_waiting()

    past, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(due), name="piled-up")
        states = [Scheduled(scheduled_time=time) for time in (past, past, past, later)]
        runs = [client.create_flow_run_from_deployment(deployment, state=s) for s in states]
        first = runs[0].id
        client.set_flow_run_state(first, Pending(), force=True)
        assert run_flow(due, client.read_flow_run(first)) == 2
        types = [str(client.read_flow_run(each.id).state_type.value) for each in runs[1:]]
    assert types == ["CANCELLED", "CANCELLED", "SCHEDULED"]
    assert due() == 0  # of no deployment


@contextmanager
def person(answer: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Somebody who resumes a paused run with an answer through the API, as the UI's form does."""
    seen: dict[str, Any] = {}
    is_over = threading.Event()

    def look() -> None:
        paused, running = (
            FlowRunFilter(state=FlowRunFilterState(type={"any_": [state]}))
            for state in ("PAUSED", "RUNNING")
        )
        with get_client(sync_client=True) as client:
            while not is_over.wait(0.1):
                for waiting in client.read_flow_runs(flow_run_filter=paused, flow_filter=ASKED):
                    [parent] = client.read_flow_runs(flow_filter=RETRAIN, flow_run_filter=running)
                    seen["parent"] = parent.name
                    keys = waiting.state.state_details.run_input_keyset
                    if answer is not None and keys and "asked" not in seen:
                        seen["asked"] = read_form(client, waiting.id, keys)
                        told = client.resume_flow_run(waiting.id, answer)
                        assert told.status.value == "ACCEPT", told

    context = contextvars.copy_context()  # which server
    thread = threading.Thread(target=context.run, args=(look,))
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def read_form(client: Any, run: Any, keys: dict[str, str]) -> dict[str, Any]:
    """The form's schema and what stands above it, once they are there."""
    for _ in range(100):
        try:
            parts = [client.read_flow_run_input(run, keys[k]) for k in ("schema", "description")]
            return {"schema": json.loads(parts[0]), "description": json.loads(parts[1])}
        except Exception:
            time.sleep(0.1)
    raise AssertionError("no form")


@pytest.mark.parametrize(("word", "came"), [("promote", "Promoted"), ("keep", "Kept")])
def test_a_person_has_the_last_word_on_what_the_rule_would_promote(
    form: RetrainForm, monkeypatch: pytest.MonkeyPatch, word: str, came: str
) -> None:
    monkeypatch.setattr("tasks.approval.POLL_SECONDS", 0.3)
    asking = form.model_copy(update={"approval": "person"})
    with person({"decision": word, "note": "I read\nsome \x1b[31m"}) as seen:
        state = run(asking)
    assert decision(state) == came
    assert "I read some \\x1b[31m" in state.message
    assert ": promoted; a person " in state.message  # the rule's word, then the person's
    assert "| sums |" in seen["asked"]["description"]
    assert seen["parent"]  # which stayed Running: it keeps its place under a concurrency limit
    assert seen["asked"]["schema"]["properties"]["decision"]["enum"] == ["promote", "keep"]
    [entry] = history(form)
    assert (entry.champion == promotion.BASE) == (word == "keep")


def test_a_run_that_nobody_answers_keeps_the_champion(
    form: RetrainForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.approval.POLL_SECONDS", 0.3)
    state = run(form.model_copy(update={"approval": "person", "approval_hours": 2 / 3600}))
    assert decision(state) == "Kept"
    assert "nobody decided within" in state.message
    assert promotion.champion(history(form)) == promotion.BASE


def test_what_the_rule_refuses_is_put_to_nobody(form: RetrainForm) -> None:
    state = run(form.model_copy(update={"approval": "person"}), Unlearner())
    assert decision(state) == "Kept"
    assert "person" not in state.message
