"""The run browser's pages by FastAPI's client: what they show, what they refuse, how fast."""

import base64
import dataclasses
import re
import shutil
import statistics
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from east_core.errors import ConfigError
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Completion, Question, SampledQuestion
from east_core.runs import start
from east_core.runs.live import Live, write_live
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.store import Stage, Store, materialize
from east_core.store.manifest import decode_record, encode_record
from east_core.studies.promotion import Entry, record_entry
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.browser import index, samples
from flows.browser.app import browser_app
from flows.browser.details import run_details
from flows.browser.index import RunIndex
from flows.commands.main import app as east
from tests.east_core.conftest import finish, sums_config

HOSTILE = "</pre><script>alert(1)</script><img src=http://outside.example/x onerror=alert(2)>"
LIMIT_SECONDS = 2.0


class HostileSampler(ScriptedSampler):
    def sample(
        self, model: ModelSource, shards: Any, settings: GenerationSettings, total: int
    ) -> Any:
        for shard in super().sample(model, shards, settings, total):
            yield [
                SampledQuestion(
                    Question(
                        item.question.id, HOSTILE + item.question.prompt, item.question.answer
                    ),
                    tuple(
                        Completion(HOSTILE + c.text, c.finish_reason, c.token_count, c.mean_logprob)
                        for c in item.completions
                    ),
                )
                for item in shard
            ]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two finished runs of the same questions, whose model writes HTML, and a line's history."""
    folder = tmp_path_factory.mktemp("browser")
    for name in ("first", "second"):
        finish(Run.open(sums_config(folder, name=name)), HostileSampler(), InstantTrainer())
    store = Store(str(folder / "store"))
    address = "line-0001/round-01/checkpoint"
    materialize(store, Stage(address, "checkpoint"), lambda _: None)
    record_entry(store, "line", Entry(1, "promoted", address, "line-0001", f"+9 {HOSTILE}", {}))
    return store


@pytest.fixture(scope="module")
def client(store: Store) -> TestClient:
    return TestClient(browser_app(store))


PAGES = (
    "/", "/?q=first&state=finished&sort=score&order=asc", "/run/first", "/run/first/samples/1",
    "/run/first/samples/2?shown=kept&sort=entropy", "/run/first/report", "/champions",
    "/compare?run=first&run=second", "/run/none", "/run/first/samples/7",
)  # fmt: skip
PICTURES = (
    "/run/first/picture/accuracy.svg?until=1", "/run/first/picture/loss.svg",
    "/run/first/weights/1.svg", "/compare.svg?run=first&run=second&benchmark=sums",
)  # fmt: skip


class Links(HTMLParser):
    """Every address in a page, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href")]
        assert not [k for k, _ in attrs if k.startswith("on") or k == "style"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_nothing_asks_nobody_and_shows_what_models_write_as_text(
    client: TestClient, path: str
) -> None:
    answer = client.get(path)
    links = Links()
    links.feed(answer.text)
    assert "script" not in links.tags
    assert [a for a in links.addresses if "//" in a and not a.startswith("data:")] == []
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert HOSTILE not in answer.text


@pytest.mark.parametrize("path", [path for path in PAGES if not path.endswith("/report")])
def test_every_link_of_a_page_leads_somewhere(client: TestClient, path: str) -> None:
    links = Links()
    links.feed(client.get(path).text)
    for address in set(links.addresses):
        target = address if address.startswith("/") else path.split("?")[0] + address
        if address.startswith("data:"):
            continue
        if "line-0001" not in target and ".svg" not in target and "/report" not in target:
            assert client.get(target).status_code == (404 if target == "/run/none" else 200)


@pytest.mark.parametrize("path", PICTURES)
def test_pictures_are_drawn_on_the_server(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in answer.content
    assert len(answer.content) > 5000


def test_the_runs_are_found_sorted_and_filtered(client: TestClient, store: Store) -> None:
    def names(query: str) -> list[str]:
        return re.findall(r'href="/run/([\w-]+)"', client.get(f"/?{query}").text)

    assert names("sort=name&order=asc") == ["first", "line-0001", "second"]
    assert names("sort=name&order=desc") == ["second", "line-0001", "first"]
    assert names("state=finished&q=seco+sft") == ["second"]
    assert "No runs that match" in client.get("/?q=nothing").text
    last = summarise(store, "first")[-1].accuracy["sums"]
    assert f"{last.value:.1%}" in client.get("/").text


def test_the_page_of_a_run_names_the_best_checkpoint_and_how_to_serve_it(
    client: TestClient, store: Store
) -> None:
    page = client.get("/run/first").text
    rounds = summarise(store, "first")
    best = max(rounds[1:], key=lambda each: (each.accuracy["sums"].value, -each.round)).round
    assert f'<b>round {best}</b> <span class="badge best">' in page
    assert page.count('class="badge best"') == 1
    folder = store.url(f"first/round-{best:02d}/checkpoint")
    assert f"vllm serve {folder}" in page
    assert page.count("<rect") == 3 + 2 * 5  # base model, questions, base scores; five a round
    assert page.count("<line") > 10


def test_costs_are_those_of_all_artifacts_the_shards_of_samples_too(store: Store) -> None:
    details = run_details(store, "first")
    assert [each.seconds for each in details.rounds] == [
        each.seconds for each in summarise(store, "first")
    ]
    sizes = details.bytes_by_kind
    assert sum(sizes.values()) == sum(record.size for record in store.records("first"))
    assert sizes["samples"] > 10 * 224  # more than the list of the shards


def test_a_round_that_trains_shows_its_loss_and_how_far_it_is(tmp_path: Path) -> None:
    run = Run.open(sums_config(tmp_path, rounds=1))
    finish(run, ScriptedSampler(), InstantTrainer())
    start.claim(Run.open(run.config.model_copy(update={"rounds": 2})))  # round 2 is to come
    client = TestClient(browser_app(run.store))
    assert "<h2>Now</h2>" not in client.get("/run/sums").text
    assert client.get("/run/sums/live.svg").status_code == 404
    losses = [(step, 2.0 / step) for step in range(1, 6)]
    state = Live(2, "train", 0.5, "step 5/10 <b>", "2026-11-26T07:00:00+00:00", 10, losses)
    write_live(run.store, "sums", state)
    page = client.get("/run/sums").text
    assert "<b>round 2: train</b>" in page
    assert "50.0%" in page
    assert "step 5/10 &lt;b&gt;" in page
    assert 'src="/run/sums/live.svg?step=5"' in page
    assert b"<svg" in client.get("/run/sums/live.svg?step=5").content
    write_live(run.store, "sums", dataclasses.replace(state, round=1))  # round 1 is trained by now
    assert "<h2>Now</h2>" not in client.get("/run/sums").text


def test_samples_show_every_completion_with_its_answer(client: TestClient, store: Store) -> None:
    page = client.get("/run/first/samples/1").text
    assert page.count("<article>") == samples.PER_PAGE
    assert page.count('<div class="is-') == samples.PER_PAGE * 6
    assert "40 of 40 questions" in page
    assert "page 1 of 2" in page
    assert "-0.500 nats a token" in page


@pytest.mark.parametrize("shown", samples.FILTERS)
def test_filters_show_just_the_questions_they_name(store: Store, shown: str) -> None:
    every = [q for at in (1, 2) for q in page(store, 2, "all", at).questions]
    before = {
        q.weighed["question_id"]: q.weighed["accuracy"] for at in (1, 2)
        for q in page(store, 1, "all", at).questions
    }  # fmt: skip
    facts = {
        "all": lambda w: True,
        "kept": lambda w: w["kept"],
        "dropped": lambda w: not w["kept"],
        "all-wrong": lambda w: w["accuracy"] == 0,
        "no-answer": lambda w: w["no_answer"] > 0,
        "truncated": lambda w: w["truncated"] > 0,
        "gained": lambda w: w["accuracy"] > 0 and before[w["question_id"]] == 0,
        "lost": lambda w: w["accuracy"] == 0 and before[w["question_id"]] > 0,
    }
    expected = [q.weighed["question_id"] for q in every if facts[shown](q.weighed)]
    assert len(every) == len(before) == 40
    found = [
        q.weighed["question_id"] for at in (1, 2) for q in page(store, 2, shown, at).questions
    ][: len(expected)]
    assert found == expected
    assert page(store, 2, shown, 1).matching == len(expected)


def page(store: Store, number: int, shown: str, at: int) -> samples.SamplesPage:
    return samples.samples_page(store, "first", number, shown, "order", at)


def test_completions_belong_to_their_question(store: Store) -> None:
    for question in samples.samples_page(store, "first", 1, "all", "weight", 1).questions:
        assert question.gold == question.weighed["label"]
        assert question.weighed["question_id"] == f"q{int(question.gold or 0) - 1}"
        for each in question.completions:
            assert each.is_correct == (each.answer == question.gold)
            assert f"\\boxed{{{each.answer}}}" in each.text


def test_a_run_compared_with_itself_differs_in_nothing(client: TestClient) -> None:
    page = client.get("/compare?run=first&run=second").text
    assert "<b>+0.0</b>" in page
    assert "p = 1.000" in page
    assert client.get("/compare?run=first").status_code == 404


def test_the_champions_are_told_with_their_history(client: TestClient) -> None:
    page = client.get("/champions").text
    assert "line-0001/round-01/checkpoint" in page
    assert "promoted" in page


def test_without_the_password_nothing_is_shown(store: Store) -> None:
    locked = TestClient(browser_app(store, password="anna:secret"))
    for path in (*PAGES, *PICTURES, "/static/browser.css", "/health"):
        answer = locked.get(path)
        assert answer.status_code == 401
        assert "first" not in answer.text
    key = base64.b64encode(b"anna:secret").decode()
    assert locked.get("/", headers={"Authorization": f"Basic {key}"}).status_code == 200
    wrong = base64.b64encode(b"anna:secreT").decode()
    assert locked.get("/", headers={"Authorization": f"Basic {wrong}"}).status_code == 401


def test_loopback_answers_to_no_other_name(store: Store) -> None:
    """A page elsewhere could point its own name at 127.0.0.1, and read with the reader's rights."""
    here = browser_app(store, hosts=["127.0.0.1", "localhost"])
    assert TestClient(here, base_url="http://localhost:4280").get("/").status_code == 200
    assert TestClient(here, base_url="http://evil.example").get("/").status_code == 400


def test_nobody_listens_for_others_without_a_password(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(east, ["browse", store.root, "--host", "0.0.0.0"])
    assert isinstance(done.exception, ConfigError)
    assert "others can reach" in str(done.exception)


def test_nothing_but_reading_is_offered(client: TestClient) -> None:
    for path in PAGES:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.request(method, path).status_code == 405


def copy_run(source: Path, target: Path) -> None:
    """A run under another name, as far as the table of runs reads it."""
    for path in ("config", "benchmarks/sums", "round-02/scores/sums", "round-02/checkpoint"):
        shutil.copytree(source / path, target / path)
        file = target / path / "_record.json"
        record = decode_record(file.read_bytes(), str(file))
        renamed = dataclasses.replace(
            record, address=record.address.replace("first/", f"{target.name}/", 1)
        )
        file.write_bytes(encode_record(renamed))


@pytest.mark.parametrize(
    "count", [30, pytest.param(1000, marks=pytest.mark.slow)], ids=["thirty", "thousand"]
)
def test_many_runs_are_shown_in_time(
    store: Store, tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first look on, however long the store takes to read."""
    for number in range(count):
        copy_run(Path(store.root) / "first", tmp_path / f"run-{number:04d}")
    client = TestClient(browser_app(Store(str(tmp_path))))
    times: list[float] = []
    shown = "Reading the store"
    while "Reading the store" in shown:
        began = time.monotonic()
        shown = client.get("/?sort=name&order=asc").text
        times.append(time.monotonic() - began)
        assert sum(times) < 120
    assert f"{count} of {count} runs" in shown
    assert "10 of" in client.get("/?q=run-000").text
    assert statistics.median(times) < LIMIT_SECONDS
    told = f"median {statistics.median(times):.2f} s, at most {max(times):.2f} s"
    with capsys.disabled():
        print(f" {count} runs: {len(times)} pages until all were read, {told}")


def test_a_run_that_changes_is_read_again_and_one_that_is_gone_is_left_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FRESH_SECONDS", 0.0)
    for name in ("a", "b"):
        copy_run(Path(store.root) / "first", tmp_path / name)
    listed = RunIndex(Store(str(tmp_path)))
    assert [row.name for row in listed.listing().rows] == ["a", "b"]
    (tmp_path / "a" / "config" / "_record.json").write_text("{}")
    shutil.rmtree(tmp_path / "b")
    assert [row.name for row in listed.listing().rows] == ["a"]
    fresh = RunIndex(Store(str(tmp_path))).listing().rows
    assert [row.state for row in fresh] == ["damaged"]
    assert fresh[0].problem
