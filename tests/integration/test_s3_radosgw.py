"""The store on a real S3 server, Ceph's radosgw: what moto can't show."""

import dataclasses
import multiprocessing
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.errors import ArtifactConflict, StoreError
from east_core.store import Stage, Store, materialize
from east_core.store.filesystem import Transfer
from east_core.testing.radosgw import missing_requirement, radosgw_server
from east_core.testing.s3_servers import BUCKET, S3Server

pytestmark = pytest.mark.slow
ADDRESS = "demo/round-01/checkpoint"
RACERS = 16
WEIGHTS = os.urandom(1 << 20) * 64


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if reason := missing_requirement():
        pytest.skip(reason)
    with radosgw_server(tmp_path_factory.mktemp("ceph")) as server:
        server.create_bucket()
        yield server


@pytest.fixture(autouse=True)
def _environment(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "scratch"))


def new_url() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def publish(store: Store, writer: int, build: Any) -> Any:
    recipe = {"writer": writer}
    return materialize(store, Stage(ADDRESS, "train", recipe=recipe), build)


def write_checkpoint(folder: Path, text: str) -> None:
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text(text)


def test_a_checkpoint_goes_up_and_comes_back(tmp_path: Path) -> None:
    store = Store(new_url())
    record = publish(store, 0, lambda folder: write_checkpoint(folder, "one"))
    assert (store.fetch(record) / "model.safetensors").read_bytes() == WEIGHTS


def test_the_same_artifact_has_the_same_hashes_as_in_a_folder(tmp_path: Path) -> None:
    remote, local = Store(new_url()), Store(str(tmp_path / "store"))
    records = [
        publish(store, 0, lambda folder: write_checkpoint(folder, "one"))
        for store in (remote, local)
    ]
    assert records[0].content == records[1].content
    assert records[0].fingerprint == records[1].fingerprint


def test_check_sees_that_conditional_writes_are_honoured() -> None:
    store = Store(new_url())
    assert store.check_writable().conditional_writes
    assert store.place.sizes("") == {}


def test_a_wrong_secret_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-7d1f2c-not-the-secret")
    with pytest.raises(StoreError, match="check the credentials") as caught:
        Store(new_url()).check_writable()
    assert "canary" not in str(caught.value)


def test_a_missing_bucket_is_named() -> None:
    with pytest.raises(StoreError, match="bucket does not exist"):
        Store("s3://east-no-such-bucket/runs").record(ADDRESS)


def _race(url: str, folder: str, number: int, barrier: Any, results: Any) -> None:
    os.environ |= {"EAST_SCRATCH": f"{folder}/scratch", "EAST_CACHE": f"{folder}/cache"}
    store = Store(url, transfer=dataclasses.replace(Transfer(), parallel=2))

    def build(out: Path) -> None:
        (out / "config.json").write_text(f"writer {number}")
        barrier.wait(120)

    try:
        publish(store, number, build)
        results.put((number, "won"))
    except ArtifactConflict:
        results.put((number, "lost"))
    except BaseException as error:
        results.put((number, repr(error)))
        raise


def test_of_sixteen_writers_one_wins_and_the_others_are_told(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results, url = context.Barrier(RACERS), context.Queue(), new_url()
    racers = [
        context.Process(target=_race, args=(url, str(tmp_path), number, barrier, results))
        for number in range(RACERS)
    ]
    for racer in racers:
        racer.start()
    outcomes = dict(results.get(timeout=240) for _ in racers)
    for racer in racers:
        racer.join(60)
    winners = [number for number, outcome in outcomes.items() if outcome == "won"]
    assert len(winners) == 1, outcomes
    assert set(outcomes.values()) == {"won", "lost"}, outcomes
    store = Store(url)
    text = (store.fetch(store.require(ADDRESS)) / "config.json").read_text()
    assert text == f"writer {winners[0]}"
