"""What a store must do, shown on each kind that docs/artifacts.md calls supported.

One suite for all: publish, race, resume after every crash point, verify, prune, list, ranged reads,
a hostile record, a missing package, wrong credentials. With --write-pages its seconds go into
docs/artifacts.md, once every kind was tested whole.
"""

import contextlib
import dataclasses
import importlib.util
import os
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.errors import ArtifactConflict, ArtifactDamaged, StoreError
from east_core.store import ArtifactFile, ArtifactRecord, Stage, Store, materialize
from east_core.store.filesystem import Transfer
from east_core.store.manifest import encode_record
from east_core.store.verification import verify
from east_core.testing.radosgw import missing_requirement, radosgw_server
from east_core.testing.s3_servers import BUCKET, S3Server, moto_server
from east_core.testing.store_servers import (
    StoreServer,
    azurite,
    azurite_command,
    gcs_emulator,
    sftp_server,
)
from tests.integration.pages import write_table

pytestmark = pytest.mark.slow
QUICK = Transfer(attempts=2, request_attempts=2, backoff_s=0.05, part_bytes=5 * 2**20, parallel=3)
KINDS = ("local", "memory", "s3 (moto)", "s3 (radosgw)", "azure", "gcs", "sftp")
NO_EXCLUSIVE_WRITE = {"gcs": "the emulator ignores ifGenerationMatch, which gcsfs sends"}
ADDRESS = "demo/round-01/checkpoint"
RACERS = 16
WEIGHTS = os.urandom(1 << 20) * 12  # three parts
PAGE = Path(__file__).parents[2] / "docs" / "artifacts.md"


@contextlib.contextmanager
def s3(server: S3Server, note: str, checks_keys: bool) -> Iterator[StoreServer]:
    server.create_bucket()
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong-secret"} if checks_keys else None
    yield StoreServer(f"s3://{BUCKET}", server.environment(), wrong, note)


def needs(package: str) -> None:
    """Skip without a package; it is not imported, as gcsfs reads its environment when it is."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


@contextlib.contextmanager
def started(kind: str, folder: Path) -> Iterator[StoreServer]:
    with contextlib.ExitStack() as stack:
        if kind == "local":
            yield StoreServer(str(folder / "store"))
        elif kind == "memory":
            yield StoreServer(f"memory://{uuid.uuid4().hex}")
        elif kind == "s3 (moto)":
            yield stack.enter_context(s3(stack.enter_context(moto_server()), "a mock", False))
        elif kind == "s3 (radosgw)":
            if reason := missing_requirement():
                pytest.skip(reason)
            server = stack.enter_context(radosgw_server(folder))
            yield stack.enter_context(s3(server, "Ceph", True))
        elif kind == "azure":
            needs("adlfs")
            if azurite_command() is None:
                pytest.skip("azurite is not installed (npm install azurite)")
            yield stack.enter_context(azurite(folder / "azurite"))
        elif kind == "gcs":
            needs("gcsfs")
            needs("gcp_storage_emulator")
            yield stack.enter_context(gcs_emulator())
        else:
            needs("paramiko")
            if not Path("/usr/sbin/sshd").exists():
                pytest.skip("sshd is not installed (apt-get install openssh-server)")
            yield stack.enter_context(sftp_server(folder / "ssh"))


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with started(kind, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(autouse=True)
def _environment(server: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "scratch"))
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def note(name: str) -> str:
    """A test's name in the table."""
    return name.removeprefix("test_").replace("_", " ")


class Seconds:
    """A pytest plugin that notes the seconds of each fact on each kind, without skipped ones."""

    def __init__(self) -> None:
        self.took: dict[tuple[str, str], float] = {}
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed
        if report.when == "call" and report.passed:
            fact, kind = report.location[2].removesuffix("]").split("[", 1)
            self.took[note(fact), kind] = report.duration

    def whole(self) -> bool:
        """Whether every kind was there, and no fact was left out by a choice of tests."""
        facts, kinds = map(set, zip(*self.took, strict=True)) if self.took else (set(), set())
        asked = {note(name) for name in globals() if name.startswith("test_")}
        return not self.failed and facts == asked and kinds == set(KINDS)

    def table(self) -> str:
        """A row a fact, a column a kind: seconds, or a dash where that can't be asked."""
        rows = [f"| seconds | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 1) + "|"]
        for fact in dict.fromkeys(fact for fact, _ in self.took):
            cells = (self.took.get((fact, kind)) for kind in KINDS)
            shown = ("-" if cell is None else f"{cell:.1f}" for cell in cells)
            rows.append(f"| {fact} | {' | '.join(shown)} |")
        return "\n".join(rows)


@pytest.fixture(scope="session", autouse=True)
def _seconds(pytestconfig: pytest.Config) -> Iterator[None]:
    """With --write-pages the table of docs/artifacts.md, once it is whole."""
    seconds = Seconds()
    pytestconfig.pluginmanager.register(seconds)
    yield
    pytestconfig.pluginmanager.unregister(seconds)
    if pytestconfig.getoption("--write-pages") and seconds.whole():
        write_table(PAGE, "stores", seconds.table())


def opened(server: StoreServer, url: str, *cache: Path) -> Store:
    return Store(url, *cache, options=server.options, transfer=QUICK)


@pytest.fixture
def store(server: StoreServer) -> Store:
    return opened(server, f"{server.url}/{uuid.uuid4().hex}")


class Checkpoint:
    def __init__(self, weights: bytes = WEIGHTS) -> None:
        self.runs, self.weights = 0, weights

    def __call__(self, folder: Path) -> dict[str, Any]:
        self.runs += 1
        (folder / "parts").mkdir()
        (folder / "parts" / "config.json").write_text('{"model_type": "llama"}')
        (folder / "empty").write_text("")
        (folder / "model.safetensors").write_bytes(self.weights)
        return {"loss": 0.5}


def publish(store: Store, build: Any, address: str = ADDRESS, **recipe: Any) -> ArtifactRecord:
    return materialize(store, Stage(address, "train", recipe=recipe), build)


def test_publish_and_read_back(server: StoreServer, store: Store, tmp_path: Path) -> None:
    record = publish(store, Checkpoint())
    elsewhere = opened(server, store.root, tmp_path / "another-machine")
    fetched = elsewhere.fetch(elsewhere.require(ADDRESS))
    assert (fetched / "model.safetensors").read_bytes() == WEIGHTS
    assert (fetched / "empty").read_bytes() == b""
    again = Checkpoint()
    assert publish(elsewhere, again) == record
    assert again.runs == 0


def test_check_says_what_the_store_does(store: Store, kind: str) -> None:
    check = store.check_writable()
    assert check.conditional_writes == (kind not in NO_EXCLUSIVE_WRITE)
    assert ("all of it is lost" in str(check)) == (kind == "memory")
    assert store.addresses() == []


def test_of_16_racers_one_wins(server: StoreServer, store: Store, kind: str) -> None:
    if kind in NO_EXCLUSIVE_WRITE:
        pytest.skip(NO_EXCLUSIVE_WRITE[kind])
    start, won, lost = threading.Barrier(RACERS), [], []

    def race(number: int) -> None:
        mine = opened(server, store.root)

        def build(folder: Path) -> dict[str, int]:
            (folder / "answer.txt").write_text(f"{number}" * 1000)
            start.wait(120)
            return {"writer": number}

        try:
            won.append(publish(mine, build, writer=number))
        except ArtifactConflict:
            lost.append(number)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(300)
    assert (len(won), len(lost)) == (1, RACERS - 1)
    record = store.require(ADDRESS)
    assert record == won[0]
    answer = (store.fetch(record) / "answer.txt").read_text()
    assert answer == str(record.facts["writer"]) * 1000


class Killed(BaseException):
    """What a kill looks like from inside: nothing handles it."""


class Saboteur:
    """Kills at the `after`-th call of the store, before or after it took effect."""

    METHODS = ("read", "sizes", "send", "publish", "require_free")
    BELOW = ("create", "upload", "size", "sizes", "read", "delete")

    def __init__(self, store: Store, after: int, late: bool) -> None:
        self.left, self.late, self.struck = after, late, False
        below = getattr(store.place, "transport", None)
        for target, names in ((store.place, self.METHODS), (below, self.BELOW)):
            for name in names if target is not None else ():
                setattr(target, name, self._around(getattr(target, name)))

    def _around(self, call: Any) -> Any:
        def sabotaged(*given: Any) -> Any:
            self.left -= 1
            strikes = self.left == 0
            self.struck |= strikes
            if strikes and not self.late:
                raise Killed
            answer = call(*given)
            if strikes:
                raise Killed
            return answer

        return sabotaged


def test_resume_after_every_crash_point(server: StoreServer, tmp_path: Path) -> None:
    points = 0
    for late in (False, True):
        for after in range(1, 100):
            url = f"{server.url}/{uuid.uuid4().hex}"
            doomed = opened(server, url)
            saboteur, build = Saboteur(doomed, after, late), Checkpoint(b"w" * 1000)
            try:
                publish(doomed, build)
            except Killed:
                points += 1
            if not saboteur.struck:
                break
            store = opened(server, url)
            record = publish(store, build)
            assert build.runs == 1, f"built again after the kill at call {after}"
            found = verify(store, "demo")
            assert found.is_sound
            assert not found.findings, f"{found.findings} left by the kill at call {after}"
            assert (store.fetch(record) / "model.safetensors").stat().st_size == 1000
            assert not list((tmp_path / "scratch").rglob("*")), "scratch left behind"
    assert points >= 8


def test_verify_finds_damage(server: StoreServer, store: Store) -> None:
    record = publish(store, Checkpoint())
    assert not verify(store, "demo").findings
    path = record.path_of("parts/config.json")
    if store.is_local:
        (Path(store.root) / path).write_bytes(b'{"model_type": "lla_a"}')
    else:
        store.write(path, b'{"model_type": "lla_a"}')
    found = verify(opened(server, store.root), "demo")
    assert [finding.problem for finding in found.findings] == ["damaged"]
    store.place.delete([path])
    found = verify(opened(server, store.root), "demo")
    assert [finding.problem for finding in found.findings] == ["missing"]


def test_a_hostile_record_writes_nothing_outside(store: Store, tmp_path: Path) -> None:
    record = publish(store, lambda folder: None)
    outside = tmp_path / "outside"
    for name in ("../../../outside", str(outside)):
        hostile = dataclasses.replace(record, files=(ArtifactFile(name, 5, "0" * 64),))
        path = f"{ADDRESS}/_record.json"
        if store.is_local:
            (Path(store.root) / path).write_bytes(encode_record(hostile))
        else:
            store.write(path, encode_record(hostile))
        with pytest.raises(ArtifactDamaged, match="file name of an artifact"):
            store.fetch(store.require(ADDRESS))
    assert not list(tmp_path.parent.rglob("outside"))


def test_list_and_prune(store: Store) -> None:
    for number in (2, 1):
        publish(store, lambda folder: None, f"demo/round-0{number}/weights")
    record = publish(store, Checkpoint())
    assert store.addresses("demo") == [ADDRESS, "demo/round-01/weights", "demo/round-02/weights"]
    assert store.addresses("demo/round-02") == ["demo/round-02/weights"]
    assert store.addresses("nobody") == []
    files = [record.path_of(file.path) for file in record.files]
    store.place.delete([*files, "demo/never/was"])
    assert not set(files) & set(store.place.sizes("demo"))
    assert store.record(ADDRESS) == record


def test_a_ranged_read_gives_the_bytes_asked_for(store: Store) -> None:
    if store.is_local:
        pytest.skip("local files are read in place")
    record = publish(store, Checkpoint())
    transport = store.place.transport  # type: ignore[attr-defined]
    size = len(WEIGHTS)
    whole = b"".join(transport.chunks(record.path_of("model.safetensors"), size))
    assert whole == WEIGHTS
    with pytest.raises(StoreError, match="bytes"):
        b"".join(transport.chunks(record.path_of("model.safetensors"), size + 10))


def test_a_missing_package_is_told_by_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "sftp": "paramiko"}
    scheme = store.root.split("://")[0]
    if scheme not in packages:
        pytest.skip("needs no package")
    imported = sys.modules["fsspec.registry"]._registry  # type: ignore[attr-defined]
    monkeypatch.delitem(imported, scheme, raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == packages[scheme]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    monkeypatch.setitem(sys.modules, packages[scheme], None)
    with pytest.raises(StoreError, match=f"pip install {packages[scheme]}"):
        store.check_writable()


def test_wrong_credentials_are_told_and_not_shown(
    server: StoreServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server.wrong is None:
        pytest.skip("nothing to refuse: it looks at no credentials")
    for name, value in server.wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="check the credentials") as caught:
        opened(server, store.root).check_writable()
    assert "wrong-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
