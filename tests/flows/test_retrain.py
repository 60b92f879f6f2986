"""Retraining with a scripted sampler and an instant trainer; store and Prefect are real."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
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
