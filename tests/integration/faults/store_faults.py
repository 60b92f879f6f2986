"""Rows of the fault table: S3 failing, disks full, artifacts damaged, two runs at one address.

Scripted engines, but for two: what fails here is the store, and the rest of the run is real.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.integration.faults.bench import wait_until
from tests.integration.faults.scene import NAME, Ended, Row, Scene
from tests.integration.faulty_proxy import Fault

ROUND = r"/round-01/"
UPLOADS = r"^PUT .*/round-01/(weights|examples|checkpoint)/"
SHARD = "round-01/samples/0000000-0000014"
FEW = 4


def passing(fault: Fault, matching: str = ROUND) -> Callable[[Scene], str]:
    """A row: some requests fail in that way, then all is well."""

    def disturb(scene: Scene) -> str:
        scene.proxy.misbehave(fault, matching, times=FEW)
        ended = scene.run()
        assert scene.proxy.times == 0, "the fault struck too seldom"
        scene.strike()
        return "survived: tried again" if ended.status == 0 else ended.line

    return disturb


def lasting(fault: Fault, matching: str = ROUND) -> Callable[[Scene], str]:
    """A row: from some request on all fail, until the run has ended."""

    def disturb(scene: Scene) -> str:
        scene.proxy.misbehave(fault, matching)
        ended = scene.run()
        assert ended.status != 0, "the run did not notice"
        scene.strike()
        scene.proxy.misbehave(None)
        return told(ended)

    return disturb


def slow(scene: Scene) -> str:
    """Every answer comes late."""
    scene.proxy.misbehave("slow", ROUND)
    ended = scene.run()
    scene.strike()
    scene.proxy.misbehave(None)
    return "survived: slower" if ended.status == 0 else ended.line


def stalled(scene: Scene) -> str:
    """One request is never answered."""
    scene.proxy.misbehave("stall", rf"^PUT .*{ROUND}.*parquet", times=1)
    ended = scene.run()
    assert scene.proxy.times == 0
    scene.strike()
    return "survived: given up after 60 s, tried again" if ended.status == 0 else ended.line


def checkpoint_refused(scene: Scene) -> str:
    """503 to every upload of the checkpoint."""
    scene.start_before("round-01/checkpoint")
    scene.unrepeated = r"step 1/"
    return lasting("503", r"^(PUT|POST) .*round-01/checkpoint/")(scene)


def shard_reset(scene: Scene) -> str:
    """The connection breaks at every upload of the second shard."""
    scene.start_before("round-01/samples")
    return lasting("reset", r"^(PUT|POST) .*samples/0000020-0000039/")(scene)


def scratch_full(scene: Scene) -> str:
    """No space is left where stages build."""
    with small_disk(scene, "128k") as disk:
        scene.extra["EAST_SCRATCH"] = str(disk)
        return _until_larger(scene, disk)


def store_full(scene: Scene) -> str:
    """No space is left where the store is."""
    with small_disk(scene, "256k", "store") as disk:
        return _until_larger(scene, disk)


def cache_full(scene: Scene) -> str:
    """No space is left where downloads are kept."""
    with small_disk(scene, "128k") as disk:
        scene.extra |= {"EAST_CACHE": str(disk), "EAST_SCRATCH": str(scene.folder / "scratch")}
        return _until_larger(scene, disk)


def training_disk_full(scene: Scene) -> str:
    """No space is left for training checkpoints."""
    scene.start_before("round-01/checkpoint")
    with small_disk(scene, "6m") as disk:
        scene.extra["EAST_SCRATCH"] = str(disk)
        return _until_larger(scene, disk)


def shard_damaged(scene: Scene) -> str:
    """A byte of a shard flips."""
    scene.start_before("round-01/weights")
    return _damaged(scene, SHARD, "samples.parquet")


def checkpoint_damaged(scene: Scene) -> str:
    """A byte of a checkpoint flips."""
    scene.start_before("round-01/scores")
    return _damaged(scene, "round-01/checkpoint", "model.safetensors")


def record_damaged(scene: Scene) -> str:
    """A byte of a record flips."""
    scene.start_before("round-01/examples")
    return _damaged(scene, "round-01/weights", "_record.json")


def same_machine(scene: Scene) -> str:
    """The same run is started a second time on its machine."""
    scene.proxy.misbehave("hold", rf"^PUT .*/{SHARD}/_record\.json")
    one = scene.start_on_server()
    wait_until(lambda: scene.proxy.seen, "the first run's shard")
    scene.strike()
    other = scene.run()
    scene.proxy.misbehave(None)
    assert one.end().status == 0
    return f"the second: {told(other)}; the first finishes"


def other_machine(scene: Scene) -> str:
    """The same run is started a second time on another machine (its own cache and scratch)."""
    scene.proxy.misbehave("hold", rf"^PUT .*/{SHARD}/_record\.json")
    one = scene.start_on_server()
    wait_until(lambda: scene.proxy.seen, "the first run's shard")
    scene.extra["EAST_CACHE"] = str(scene.folder / "another-cache")
    other = scene.start_on_server()
    wait_until(lambda: scene.proxy.seen > 1, "the second run's shard")
    scene.strike()
    scene.proxy.misbehave(None)
    assert [one.end().status, other.end().status] == [0, 0]
    return "both finish, with one record for each artifact"


def other_settings(scene: Scene) -> str:
    """Another run is started under the same name."""
    scene.proxy.misbehave("hold", rf"^PUT .*/{SHARD}/_record\.json")
    one = scene.start_on_server()
    wait_until(lambda: scene.proxy.seen, "the first run's shard")
    scene.strike()
    changed = scene.folder / "other.toml"
    changed.write_text(f"seed = 7\n{scene.toml}")
    other = scene.start(changed, PREFECT_API_URL=scene.bench.prefect_url).end()
    scene.proxy.misbehave(None)
    assert one.end().status == 0
    return f"the second: {told(other)}; the first finishes"


def told(ended: Ended) -> str:
    """The user's line, without the names of this machine."""
    line = re.sub(r"\S*/runs/[\w-]+/", "…/", ended.line)
    line = re.sub(r"s3://[\w-]+/[\w-]+", "s3://bucket", line)
    line = re.sub(r"http://127\.0\.0\.1:\d+", "http://s3", line)
    return re.sub(r"pid \d+", "pid N", line)


@contextlib.contextmanager
def small_disk(scene: Scene, size: str, name: str = "disk") -> Iterator[Path]:
    """A file system of `size` bytes in the row's folder; unmounted after the row."""
    disk = scene.folder / name
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    scene.bench.ends.callback(lambda: subprocess.run(["umount", "--lazy", disk], check=True))
    yield disk


def _until_larger(scene: Scene, disk: Path) -> str:
    """Run into the full disk, then enlarge it."""
    ended = scene.run()
    assert ended.status != 0, "the disk was large enough"
    scene.strike()
    subprocess.run(["mount", "-o", "remount,size=512m", disk], check=True)
    return told(ended)


def _damaged(scene: Scene, address: str, name: str) -> str:
    """Flip a byte, run into it, and do what the error says: delete the address."""
    path = scene.run_folder / address / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    os.utime(path)
    path.write_bytes(data)
    ended = scene.run()
    assert ended.status != 0, "the damage was not noticed"
    assert f"{NAME}/{address}" in ended.line, ended.line
    shutil.rmtree(scene.run_folder / address)
    scene.strike()
    return told(ended)


ROWS = (
    Row("s3-500", "S3 answers 500, a few times", passing("500"), "scripted", on_s3=True),
    Row(
        "s3-500-lasting", "S3 answers 500, lasting", lasting("500", UPLOADS), "scripted", on_s3=True
    ),
    Row("s3-503", "S3 answers 503 SlowDown, a few times", passing("503"), "scripted", on_s3=True),
    Row(
        "s3-503-lasting",
        "S3 answers 503 SlowDown, lasting",
        lasting("503", UPLOADS),
        "scripted",
        on_s3=True,
    ),
    Row("s3-reset", "S3 resets connections, a few times", passing("reset"), "scripted", on_s3=True),
    Row(
        "s3-reset-lasting",
        "S3 resets connections, lasting",
        lasting("reset", UPLOADS),
        "scripted",
        on_s3=True,
    ),
    Row(
        "s3-truncated",
        "S3 truncates bodies, a few times",
        passing("truncate", rf"^GET .*{ROUND}"),
        "scripted",
        on_s3=True,
    ),
    Row(
        "s3-truncated-lasting",
        "S3 truncates bodies, lasting",
        lasting("truncate"),
        "scripted",
        on_s3=True,
    ),
    Row("s3-slow", "S3 answers 0.4 s late, always", slow, "scripted", on_s3=True),
    Row("s3-stalled", "S3 never answers one upload", stalled, "scripted", on_s3=True),
    Row("s3-denied", "S3 denies access in mid-run", lasting("denied"), "scripted", on_s3=True),
    Row(
        "s3-bucket-gone",
        "the bucket is gone in mid-run",
        lasting("no-bucket"),
        "scripted",
        on_s3=True,
    ),
    Row(
        "same-machine",
        "the run is started twice, on one machine",
        same_machine,
        "scripted",
        on_s3=True,
    ),
    Row(
        "other-machine",
        "the run is started twice, on two machines",
        other_machine,
        "scripted",
        on_s3=True,
    ),
    Row(
        "other-settings", "another run under the same name", other_settings, "scripted", on_s3=True
    ),
    Row("cache-full", "disk full: the cache", cache_full, "scripted", on_s3=True, mounts=True),
    Row(
        "s3-503-checkpoint",
        "S3 answers 503 to the checkpoint's upload, lasting",
        checkpoint_refused,
        on_s3=True,
    ),
    Row("s3-reset-shard", "S3 resets the upload of a shard, lasting", shard_reset, on_s3=True),
    Row("scratch-full", "disk full: scratch", scratch_full, "scripted", mounts=True),
    Row("store-full", "disk full: a local store", store_full, "scripted", mounts=True),
    Row("shard-damaged", "a byte flips in a shard", shard_damaged, "scripted"),
    Row("record-damaged", "a byte flips in a record", record_damaged, "scripted"),
    Row("training-disk-full", "disk full: training checkpoints", training_disk_full, mounts=True),
    Row("checkpoint-damaged", "a byte flips in a checkpoint", checkpoint_damaged),
)
