"""materialize and Store: resume, refusal, races and damage, on local folders and in memory."""

import dataclasses
import errno
import json
import multiprocessing
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.errors import ArtifactConflict, ArtifactDamaged, ArtifactMismatch, StoreError
from east_core.store import ArtifactRecord, Stage, Store, materialize, work_folder
from east_core.store.manifest import content_hash, decode_record, encode_record, fingerprint_of

ADDRESS = "demo/round-01/examples"


@pytest.fixture(autouse=True)
def _private_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))
    monkeypatch.delenv("EAST_SCRATCH", raising=False)
    monkeypatch.delenv("EAST_CACHE", raising=False)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(str(tmp_path / "store"))
        return
    url = f"memory://{uuid.uuid4().hex}"
    yield Store(url)


class Table:
    """A build that counts how often it ran."""

    def __init__(self, text: str = "x,y\n1,2\n") -> None:
        self.text, self.runs = text, 0

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.runs += 1
        (folder / "table.csv").write_text(self.text)
        (folder / "parts").mkdir()
        (folder / "parts" / "more.bin").write_bytes(b"\0" * 100)
        return {"rows": 1}


def make(store: Store, build: Callable[[Path], Any], **changes: Any) -> ArtifactRecord:
    asked: dict[str, Any] = {
        "address": ADDRESS,
        "name": "examples",
        "recipe": {"exponent": 1.0, "sampling": {"temperature": 1.0, "stop": ("a", "b")}},
        "inputs": {"samples": "ab12"},
    }
    return materialize(store, Stage(**asked | changes), build)


def test_a_finished_artifact_is_returned_and_not_built_again(store: Store) -> None:
    stage = Table()
    first = make(store, stage)
    assert make(store, stage) == first
    assert stage.runs == 1
    assert first.facts == {"rows": 1}
    assert [file.path for file in first.files] == ["parts/more.bin", "table.csv"]
    assert (store.fetch(first) / "table.csv").read_text() == stage.text


def test_another_recipe_is_refused_and_named(store: Store) -> None:
    make(store, Table())
    with pytest.raises(ArtifactMismatch) as caught:
        make(
            store,
            Table(),
            revision=2,
            recipe={"exponent": 0.5, "sampling": {"temperature": 1.0, "stop": ["a"]}},
            inputs={"samples": "cd34"},
        )
    message = str(caught.value)
    assert "exponent: 1.0 -> 0.5" in message
    assert 'sampling.stop: ["a", "b"] -> ["a"]' in message
    assert 'input samples: "ab12" -> "cd34"' in message
    assert "revision: 1 -> 2" in message
    assert "temperature" not in message
    assert "\n" not in message


def test_an_input_counts_by_its_content(store: Store) -> None:
    samples = make(store, Table("one"), address="demo/round-01/samples")
    child = make(store, Table(), inputs={"samples": samples})
    assert child.inputs["samples"] == samples.content == content_hash(samples.files, samples.facts)
    assert child.input_addresses == {"samples": "demo/round-01/samples"}
    rebuilt = make(store, Table("two"), address="demo/round-01/other")
    with pytest.raises(ArtifactMismatch, match="input samples"):
        make(store, Table(), inputs={"samples": rebuilt})


def test_an_artifact_may_have_others_below_it(store: Store) -> None:
    shards = [make(store, Table(), address=f"{ADDRESS}/shard-{number}") for number in (0, 1)]
    facts = {"shards": {shard.address: shard.content for shard in shards}}
    whole = make(store, lambda _: facts)
    assert store.record(ADDRESS) == whole
    assert whole.files == ()
    with_files = make(store, Table(), address=f"{ADDRESS}/shard-0/more/below")
    assert (store.fetch(with_files) / "table.csv").exists()
    for shard in shards:
        assert (store.fetch(shard) / "table.csv").exists()
    parent = make(store, Table("parent"), address=f"{ADDRESS}/shard-0/more")
    assert (store.fetch(parent) / "table.csv").read_text() == "parent"
    assert len(store.addresses("demo")) == 5


def test_facts_are_part_of_a_results_identity(store: Store) -> None:
    one = make(store, lambda _: {"shards": ["a"]}, address="demo/one")
    two = make(store, lambda _: {"shards": ["b"]}, address="demo/two")
    assert one.content != two.content


def test_a_failed_build_leaves_nothing_and_its_work_is_found_again(store: Store) -> None:
    def fails(folder: Path) -> None:
        (folder / "half.csv").write_text("x")
        (work_folder(folder) / "step-100").write_text("weights")
        raise RuntimeError("killed")

    def resumes(folder: Path) -> dict[str, Any]:
        assert list(folder.iterdir()) == []
        (folder / "whole.csv").write_text((work_folder(folder) / "step-100").read_text())
        return {}

    with pytest.raises(RuntimeError, match="killed"):
        make(store, fails)
    assert store.record(ADDRESS) is None
    record = make(store, resumes)
    assert [file.path for file in record.files] == ["whole.csv"]
    assert list(store.scratch().iterdir()) == []


def test_a_build_finished_before_the_crash_is_only_published(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Table()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(store.place), "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            make(store, stage)
    record = make(store, stage)
    assert stage.runs == 1
    assert store.fetch(record, ["table.csv"]).joinpath("table.csv").read_text() == stage.text


def test_a_full_disk_is_one_clear_error(store: Store) -> None:
    def fills(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match=r"free some disk space, or point EAST_SCRATCH"):
        make(store, fills)
    assert make(store, Table()).facts == {"rows": 1}


def test_of_two_writers_the_later_is_refused(store: Store) -> None:
    def slow(folder: Path) -> dict[str, Any]:
        make(store, Table("winner"), recipe={"exponent": 2.0})
        return Table("loser")(folder)

    with pytest.raises(ArtifactConflict, match=r"exponent: 2\.0 -> 1\.0"):
        make(store, slow)
    winner = store.record(ADDRESS)
    assert winner is not None
    assert (store.fetch(winner) / "table.csv").read_text() == "winner"


def test_a_later_writer_of_the_same_artifact_takes_the_winners(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(folder: Path) -> dict[str, Any]:
        with monkeypatch.context() as patch:  # as if from another machine: other scratch
            patch.setenv("EAST_SCRATCH", str(tmp_path / "elsewhere"))
            make(store, Table("first"))
        return Table("second, by a nondeterministic GPU")(folder)

    record = make(store, slow)
    assert (store.fetch(record) / "table.csv").read_text() == "first"


def test_a_second_process_on_this_machine_is_refused_before_it_builds(store: Store) -> None:
    def nested(folder: Path) -> dict[str, Any]:
        with pytest.raises(ArtifactConflict, match=f"pid {os.getpid()}"):
            make(store, Table())
        return {}

    make(store, nested)


def test_reading_notices_every_kind_of_damage(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    record = make(store, Table())
    path = tmp_path / "store" / ADDRESS / "table.csv"
    sound = path.read_bytes()
    path.write_bytes(b"x,y\n1,3\n")
    with pytest.raises(ArtifactDamaged, match=r"table\.csv does not have its recorded SHA-256"):
        store.fetch(record)
    path.write_bytes(sound + b"!")
    with pytest.raises(ArtifactDamaged, match="has 9 bytes where its record says 8"):
        store.fetch(record)
    path.unlink()
    with pytest.raises(ArtifactDamaged, match=r"table\.csv is missing"):
        store.fetch(record)
    assert store.fetch(record, ["parts/more.bin"]) == tmp_path / "store" / ADDRESS


def test_any_flipped_byte_of_a_record_is_noticed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    make(store, Table())
    path = tmp_path / "store" / ADDRESS / "_record.json"
    sound = path.read_bytes()
    for position in range(0, len(sound), 7):
        flipped = bytearray(sound)
        flipped[position] ^= 0x01
        path.write_bytes(flipped)
        with pytest.raises(ArtifactDamaged, match=r"_record\.json is damaged"):
            store.record(ADDRESS)
    path.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(ArtifactDamaged):
        store.record(ADDRESS)


def test_a_record_survives_its_encoding() -> None:
    recipe = {"stage": "s", "revision": 1, "a": [1, 2.5, None, "ü"]}
    record = ArtifactRecord(
        "a/b", recipe, {"x": "1"}, fingerprint_of(recipe, {"x": "1"}), (), {"n": 1}, "v", "t", 1.5
    )
    assert decode_record(encode_record(record), "here") == record


def test_a_moved_record_is_not_served(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    make(store, Table())
    (tmp_path / "store/demo").rename(tmp_path / "store/other")
    with pytest.raises(ArtifactDamaged, match="belongs to demo/round-01/examples"):
        store.record("other/round-01/examples")


def test_files_without_a_record_are_never_replaced(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    folder = tmp_path / "store" / ADDRESS
    folder.mkdir(parents=True)
    (folder / "precious.csv").write_text("mine")
    stage = Table()
    with pytest.raises(StoreError, match="not ours to replace"):
        make(store, stage)
    assert stage.runs == 0
    assert (folder / "precious.csv").read_text() == "mine"


def test_records_lists_what_is_below_an_address(store: Store) -> None:
    for address in ("demo/round-02/weights", "demo/round-01/weights", "other/questions"):
        make(store, Table(), address=address)
    assert [record.address for record in store.records("demo")] == [
        "demo/round-01/weights",
        "demo/round-02/weights",
    ]
    assert list(store.records("absent")) == []
    assert len(list(store.records(""))) == 3


def test_the_scratch_may_lie_on_another_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here (/dev/shm)")
    elsewhere = shared_memory / f"east-{uuid.uuid4().hex}"
    monkeypatch.setenv("EAST_SCRATCH", str(elsewhere))
    store = Store(f"file://{tmp_path}/store")
    record = make(store, Table())
    assert (store.fetch(record) / "table.csv").exists()
    assert list((tmp_path / "store/.scratch").iterdir()) == []
    elsewhere.rmdir()


def test_check_writable_tells_whether_records_are_safe(store: Store, tmp_path: Path) -> None:
    check = store.check_writable()
    assert check.conditional_writes
    assert store.addresses("") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't write in"):
        Store(str(tmp_path / "file" / "store")).check_writable()


def test_bad_addresses_and_urls_are_refused(store: Store) -> None:
    for address in ("", "/demo", "demo/../other", "demo//x", "_private", ".scratch/x"):
        with pytest.raises(StoreError, match="can't be an artifact's address"):
            store.record(address)
    with pytest.raises(StoreError, match="holds credentials") as caught:
        Store("s3://key:hunter2@bucket/runs")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StoreError, match="nosuch"):
        Store("nosuch://bucket").record("demo/x")


def test_nothing_of_the_machine_enters_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make(Store(str(tmp_path / "one")), Table())
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "scratch"))
    there = make(Store(f"memory://{uuid.uuid4().hex}"), Table())
    assert (here.fingerprint, here.content) == (there.fingerprint, there.content)
    assert str(tmp_path) not in json.dumps(dataclasses.asdict(here))


def _race(url: str, scratch: str, number: int, barrier: Any, results: Any) -> None:
    os.environ["EAST_SCRATCH"] = f"{scratch}/{number}"
    store = Store(url)

    def build(folder: Path) -> dict[str, Any]:
        barrier.wait(30)
        return Table(f"writer {number}")(folder)

    try:
        make(store, build, recipe={"writer": number})
        results.put((number, "won"))
    except ArtifactConflict:
        results.put((number, "lost"))


def test_of_many_processes_one_publishes_and_its_files_are_whole(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(6), context.Queue()
    url = str(tmp_path / "store")
    racers = [
        context.Process(target=_race, args=(url, str(tmp_path / "s"), number, barrier, results))
        for number in range(6)
    ]
    for racer in racers:
        racer.start()
    outcomes = dict(results.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join(30)
    winners = [number for number, outcome in outcomes.items() if outcome == "won"]
    assert len(winners) == 1
    record = Store(url).record(ADDRESS)
    assert record is not None
    assert (Store(url).fetch(record) / "table.csv").read_text() == f"writer {winners[0]}"
