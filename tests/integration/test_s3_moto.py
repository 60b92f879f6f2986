"""The store on S3: moto's server, and a proxy that fails as networks and services do."""

import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from east_core.errors import ArtifactConflict, ArtifactDamaged, StoreError
from east_core.inputs.questions import listing
from east_core.runs.overview import list_runs
from east_core.runs.run import Run
from east_core.store import ArtifactRecord, Stage, Store, materialize
from east_core.store.filesystem import Transfer
from east_core.store.verification import verify
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from east_core.testing.s3_servers import BUCKET, S3Server, moto_server
from tests.east_core.conftest import finish, sums_config
from tests.integration.faulty_proxy import FaultyProxy, faulty_proxy

QUICK = Transfer(
    attempts=3,
    request_attempts=2,
    backoff_s=0.05,
    stall_s=1.5,
    part_bytes=5 * 2**20,
    parallel=3,
)
ADDRESS = "demo/round-01/checkpoint"
WEIGHTS = os.urandom(1 << 20) * 12  # 12 MiB: three parts


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as server:
        server.create_bucket()
        yield server


@pytest.fixture
def proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(server) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def environment(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "scratch"))
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def new_url() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def faulty(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store behind the proxy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    return Store(new_url(), transfer=QUICK)


class Checkpoint:
    def __init__(self, seed: str = "") -> None:
        self.runs, self.seed = 0, seed

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.runs += 1
        (folder / "config.json").write_text('{"model_type": "llama"}' + self.seed)
        (folder / "model.safetensors").write_bytes(WEIGHTS)
        return {"loss": 0.5}


def publish(store: Store, build: Any, recipe: dict[str, Any] | None = None) -> ArtifactRecord:
    return materialize(store, Stage(ADDRESS, "train", recipe=recipe or {}), build)


def read_back(store: Store, record: ArtifactRecord) -> bytes:
    return (store.fetch(record) / "model.safetensors").read_bytes()


def test_a_checkpoint_goes_up_in_parts_and_comes_back_whole(tmp_path: Path) -> None:
    store = Store(new_url(), transfer=QUICK)
    stage = Checkpoint()
    record = publish(store, stage)
    assert read_back(store, record) == WEIGHTS
    elsewhere = Store(store.root, tmp_path / "another-machine", transfer=QUICK)
    assert read_back(elsewhere, elsewhere.require(ADDRESS)) == WEIGHTS
    assert publish(elsewhere, stage) == record
    assert stage.runs == 1


def test_pandas_opens_a_table_from_its_url() -> None:
    import pandas as pd

    store = Store(new_url(), transfer=QUICK)

    def build(folder: Path) -> None:
        pd.DataFrame({"weight": [0.5, 1.5]}).to_parquet(folder / "weights.parquet")

    record = publish(store, build)
    assert pd.read_parquet(store.url(record, "weights.parquet"))["weight"].mean() == 1.0


def test_the_second_writer_is_told() -> None:
    url = new_url()

    def slow(folder: Path) -> dict[str, Any]:
        publish(Store(url, transfer=QUICK), Checkpoint("winner"), {"exponent": 2})
        return Checkpoint("loser")(folder)

    store = Store(url, transfer=QUICK)
    with pytest.raises(ArtifactConflict, match="exponent"):
        publish(store, slow)
    winner = store.require(ADDRESS)
    assert (store.fetch(winner) / "config.json").read_text().endswith("winner")
    under = store.place.sizes(ADDRESS)
    assert len(under) == 3, "the loser's files are cleared away"


def test_check_sees_that_conditional_writes_are_honoured() -> None:
    store = Store(new_url(), transfer=QUICK)
    assert store.check_writable().conditional_writes
    assert store.place.sizes("") == {}


def test_check_sees_that_conditional_writes_are_ignored(faulty: Store, proxy: FaultyProxy) -> None:
    proxy.drops_conditions = True
    check = faulty.check_writable()
    assert not check.conditional_writes
    assert "ignores conditional writes" in str(check)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "truncate", "stall"])
def test_a_passing_fault_is_survived(faulty: Store, proxy: FaultyProxy, fault: Any) -> None:
    proxy.misbehave(fault, r"^(GET|PUT|POST)", times=2)
    record = publish(faulty, Checkpoint())
    proxy.misbehave(fault, r"^GET .*model\.safetensors", times=1)
    assert read_back(faulty, record) == WEIGHTS
    assert proxy.seen >= 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("500", "InternalError"),
        ("503", "SlowDown"),
        ("reset", "ConnectionClosedError|Connection"),
        ("stall", "Timeout|timeout|timed out"),
        ("stall-upload", "no byte moved for 2 s|Timeout|timed out"),
    ],
)
def test_a_lasting_fault_ends_in_one_clear_error_and_a_rerun_goes_on(
    faulty: Store, proxy: FaultyProxy, fault: Any, words: str
) -> None:
    stage = Checkpoint()
    proxy.misbehave(fault, r"^PUT .*model\.safetensors")
    started = time.monotonic()
    with pytest.raises(StoreError, match=words) as caught:
        publish(faulty, stage)
    assert time.monotonic() - started < 60
    # three tries, each of three parts twice; aiohttp repeats a put once on a reused connection
    assert proxy.seen <= 3 * 3 * 2 * 2
    assert "\n" not in str(caught.value)
    assert "after 3 attempts" in str(caught.value)
    assert faulty.record(ADDRESS) is None
    proxy.misbehave(None)
    record = publish(faulty, stage)
    assert stage.runs == 1, "the finished build is not repeated"
    puts = [request for request in proxy.requests if request.startswith("PUT")]
    assert not any("config.json" in put for put in puts), "the file that arrived is kept"
    assert read_back(faulty, record) == WEIGHTS


def test_a_denied_request_is_not_repeated(faulty: Store, proxy: FaultyProxy) -> None:
    proxy.misbehave("denied")
    with pytest.raises(StoreError, match="check the credentials") as caught:
        faulty.record(ADDRESS)
    assert proxy.seen == 1
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_new_files_on_s3_are_seen_by_a_process_that_has_listed_them_before() -> None:
    url, other = new_url(), S3FileSystem(skip_instance_cache=True)
    other.pipe(f"{url}/questions/monday.jsonl", b"{}\n")
    [before] = listing(f"{url}/questions")
    other.pipe(f"{url}/questions/tuesday.jsonl", b"{}\n")
    assert len(listing(f"{url}/questions")) == 2
    other.pipe(f"{url}/questions/monday.jsonl", b"[]\n")  # of the same size
    assert listing(f"{url}/questions")[0] != before


def test_a_missing_bucket_is_no_missing_artifact() -> None:
    store = Store("s3://east-no-such-bucket/runs", transfer=QUICK)
    stage = Checkpoint()
    with pytest.raises(StoreError, match="bucket does not exist"):
        publish(store, stage)
    with pytest.raises(StoreError, match="bucket does not exist"):
        store.addresses("")
    assert stage.runs == 0


def test_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="after 3 attempts"):
        Store(new_url(), transfer=QUICK).record(ADDRESS)


def test_the_answer_to_our_own_put_may_be_lost(faulty: Store, proxy: FaultyProxy) -> None:
    """The record's put succeeds, its answer does not arrive, the repeat is refused: we won."""
    proxy.misbehave("lose-answer", r"^PUT .*_record\.json", times=1)
    record = publish(faulty, Checkpoint())
    assert faulty.require(ADDRESS) == record
    assert len([r for r in proxy.requests if r.startswith("PUT") and "_record" in r]) == 2


def test_a_byte_flipped_on_the_wire_is_fetched_again(faulty: Store, proxy: FaultyProxy) -> None:
    record = publish(faulty, Checkpoint())
    proxy.misbehave("flip", r"^GET .*model\.safetensors", times=1)
    assert read_back(faulty, record) == WEIGHTS


def test_a_byte_flipped_in_the_bucket_is_noticed(tmp_path: Path) -> None:
    store = Store(new_url(), transfer=QUICK)
    record = publish(store, Checkpoint())
    flipped = bytearray(WEIGHTS)
    flipped[7_000_000] ^= 1
    store.write(record.path_of("model.safetensors"), bytes(flipped))
    with pytest.raises(ArtifactDamaged, match=r"model\.safetensors is damaged"):
        store.fetch(record)
    store.write(record.path_of("model.safetensors"), WEIGHTS[:-1])
    with pytest.raises(ArtifactDamaged, match=f"has {len(WEIGHTS) - 1} bytes"):
        store.fetch(record)
    store.write(record.path_of("model.safetensors"), WEIGHTS)
    store.place.delete([record.path_of("config.json")])
    with pytest.raises(ArtifactDamaged, match="is missing"):
        Store(store.root, tmp_path / "empty", transfer=QUICK).fetch(record)


def test_what_an_interrupted_attempt_left_is_cleared() -> None:
    store = Store(new_url(), transfer=QUICK)
    store.write(f"{ADDRESS}/0123456789abcdef/model.safetensors", b"half a run ago")
    store.write(f"{ADDRESS}/scores/0123456789abcdef/kept.json", b"another artifact's")
    record = publish(store, Checkpoint())
    left = store.place.sizes(ADDRESS)
    assert f"{ADDRESS}/0123456789abcdef/model.safetensors" not in left
    assert f"{ADDRESS}/scores/0123456789abcdef/kept.json" in left
    assert read_back(store, record) == WEIGHTS


def _fetch(url: str, cache: str, failures: Any) -> None:
    store = Store(url, Path(cache), transfer=QUICK)
    try:
        assert read_back(store, store.require(ADDRESS)) == WEIGHTS
    except BaseException as error:  # reported to the parent, which fails
        failures.put(repr(error))


def test_processes_share_one_cache_and_download_once(
    faulty: Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    publish(faulty, Checkpoint())
    proxy.misbehave(None)
    context = multiprocessing.get_context("fork")
    failures = context.Queue()
    cache = str(tmp_path / "shared")
    readers = [
        context.Process(target=_fetch, args=(faulty.root, cache, failures)) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(120)
    assert failures.empty(), failures.get()
    gets = [r for r in proxy.requests if r.startswith("GET") and r.endswith("model.safetensors")]
    assert len(gets) == 3, "three ranges, once"


def test_a_store_survives_a_fork() -> None:
    store = Store(new_url(), transfer=QUICK)
    publish(store, Checkpoint())
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=lambda: answers.put(store.require(ADDRESS).address))
    child.start()
    child.join(60)
    assert answers.get(timeout=10) == ADDRESS


def test_threads_share_a_store() -> None:
    store = Store(new_url(), transfer=QUICK)
    record = publish(store, Checkpoint())
    seen: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: seen.append(read_back(store, record))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [WEIGHTS] * 4


def test_a_whole_run_has_the_same_hashes_as_in_a_folder(tmp_path: Path) -> None:
    """The real stages with a scripted sampler and an instant trainer, on S3 and on local disk."""
    contents = []
    for store in (new_url(), str(tmp_path / "store")):
        run = Run.open(sums_config(tmp_path / "data", store=store, rounds=1))
        finish(run, ScriptedSampler(), InstantTrainer())
        contents.append({record.address: record.content for record in run.store.records("sums")})
        assert verify(run.store, "sums").findings == ()
        assert [overview.state for overview in list_runs(run.store)] == ["finished"]
    for content in contents:
        del content["sums/config"]  # it names the store, and nothing is made from it
    assert contents[0] == contents[1]
    assert len(contents[0]) > 10


def test_no_secret_is_left_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "canary-5b1d7e90-secret"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canary)
    monkeypatch.setenv("EAST_TEST_TOKEN", canary)
    caplog.set_level("DEBUG", logger="east_core")
    store = Store(new_url(), transfer=QUICK)
    record = publish(store, Checkpoint())
    store.fetch(record)
    stored = b"".join(store.place.read(path) for path in store.place.sizes(""))
    local = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (stored, local, caplog.text.encode(), repr(store).encode()):
        assert canary.encode() not in text
    with pytest.raises(StoreError) as caught:
        Store(f"s3://user:{canary}@bucket/x")
    assert canary not in str(caught.value)
