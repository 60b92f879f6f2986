"""The demo on real engines: the same hashes in a folder, on moto and on Ceph's radosgw."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from east_core.runs.addresses import VIEWS
from east_core.store import Store
from east_core.store.verification import verify
from east_core.testing.radosgw import missing_requirement, radosgw_server
from east_core.testing.s3_servers import BUCKET, S3Server, moto_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
ROOT = Path(__file__).resolve().parents[2]
EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]
SMALL = (
    "rounds=1",
    "questions.limit=60",
    "benchmarks.word-problems.limit=20",
    "sampling.samples_per_question=8",
    "training.epochs=1",
    "resources.shard_questions=20",
)


def demo(folder: Path, store: str, env: dict[str, str]) -> None:
    """`east demo`, made small."""
    settings = [word for setting in SMALL for word in ("--set", setting)]
    done = subprocess.run(
        [*EAST, "demo", "--store", store, *settings],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EAST_CACHE": str(folder / "cache"), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def contents(store: Store) -> dict[str, str]:
    """The content of every artifact; `config` names its store and is left out."""
    assert verify(store, "demo", VIEWS).findings == ()
    found = {record.address: record.content for record in store.records("demo")}
    del found["demo/config"]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The contents of the demo in a folder, by a file:// URL."""
    folder = tmp_path_factory.mktemp("folder")
    url = f"file://{folder}/store"
    demo(folder, url, {})
    return contents(Store(url))


@pytest.fixture(params=["moto", "radosgw"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    if request.param == "radosgw" and (reason := missing_requirement()):
        pytest.skip(reason)
    running = (
        moto_server()
        if request.param == "moto"
        else radosgw_server(tmp_path_factory.mktemp("ceph"))
    )
    with running as server:
        server.create_bucket()
        yield server


def test_the_demo_has_the_same_hashes_on_s3_as_in_a_folder(
    undisturbed: dict[str, str], server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "reader"))
    url = f"s3://{BUCKET}/runs"
    demo(tmp_path, url, {})
    assert contents(Store(url)) == undisturbed
    assert len(undisturbed) > 12
