"""Ceph's S3 server on loopback, from Debian's packages: one monitor, one manager, one OSD.

Needs root and `apt-get install radosgw ceph-mon ceph-mgr ceph-osd`; no systemd, no real disk.
Everything lives in one folder (a sparse 20 GB bluestore file) and ends with the context.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from east_core.testing.s3_servers import S3Server, free_port, wait_for_port

PROGRAMS = ("ceph", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-authtool", "monmaptool", "radosgw")


def missing_requirement() -> str | None:
    """Why radosgw can't run here; None where it can."""
    if os.geteuid() != 0:
        return "radosgw's daemons need root here"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        packages = "radosgw ceph-mon ceph-mgr ceph-osd ceph-base ceph-common"
        return f"not installed: {', '.join(missing)} (apt-get install {packages})"
    return None


@contextlib.contextmanager
def radosgw_server(folder: Path) -> Iterator[S3Server]:
    """A running radosgw whose data lie in `folder`."""
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        yield _start(folder, daemons)
    finally:
        for daemon in reversed(daemons):
            daemon.kill()
            daemon.wait(30)


def _start(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> S3Server:
    config, port = folder / "ceph.conf", free_port()
    config.write_text(_config(folder, uuid.uuid4().hex, free_port(), port))
    _start_monitor(folder, config, daemons)
    _start_manager(folder, config, daemons)
    _start_osd(folder, config, daemons)
    daemons.append(_daemon(folder, config, "radosgw", "-n", "client.rgw"))
    wait_for_port(port, 120)
    made = _run(
        config, "radosgw-admin", "user", "create", "--uid=east", "--display-name=east",
        "--access-key=east-test-key", "--secret-key=east-test-secret",
    )  # fmt: skip
    assert json.loads(made)["user_id"] == "east"
    return S3Server(f"http://127.0.0.1:{port}")


def _config(folder: Path, fsid: str, monitor: int, gateway: int) -> str:
    fsid = str(uuid.UUID(fsid))
    return f"""
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
mon_data = {folder}/mon
mgr_data = {folder}/mgr
osd_data = {folder}/osd
run_dir = {folder}
admin_socket = {folder}/$name.$pid.asok
pid_file =
log_file = {folder}/$name.log
mon_cluster_log_file = {folder}/cluster.log
crash_dir = {folder}
keyring = {folder}/keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
osd_class_update_on_start = false
osd_crush_update_on_start = false
osd_objectstore = bluestore
osd_memory_target = 939524096
bluestore_block_size = 21474836480
bluestore_block_create = true
bluestore_block_db_size = 0
bluestore_block_wal_size = 0
bluefs_buffered_io = true
[client.rgw]
# radosgw asks for an encrypted monitor connection by default, which needs cephx
ms_mon_client_mode = crc
auth_client_required = none
rgw_frontends = beast endpoint=127.0.0.1:{gateway}
rgw_data = {folder}/rgw
rgw_enable_usage_log = false
"""


def _start_monitor(folder: Path, config: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    text = config.read_text()
    fsid = text.split("fsid = ")[1].split()[0]
    address = text.split("mon_host = ")[1].split()[0]
    _run(config, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, f"{folder}/map")
    _run(
        config, "ceph-authtool", f"{folder}/keyring", "--create-keyring", "--gen-key", "-n", "mon."
    )
    _run(
        config, "ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{folder}/map",
        "--keyring", f"{folder}/keyring",
    )  # fmt: skip
    daemons.append(_daemon(folder, config, "ceph-mon", "-i", "a"))
    _wait_until(lambda: "quorum" in _run(config, "ceph", "mon", "stat"), 60)


def _start_manager(folder: Path, config: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    (folder / "mgr").mkdir()
    daemons.append(_daemon(folder, config, "ceph-mgr", "-i", "a"))


def _start_osd(folder: Path, config: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    (folder / "osd").mkdir()
    identity = str(uuid.uuid4())
    _run(config, "ceph", "osd", "new", identity)
    _run(config, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity)
    _run(config, "ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default")
    daemons.append(_daemon(folder, config, "ceph-osd", "-i", "0"))
    _wait_until(lambda: "1 up" in _run(config, "ceph", "osd", "stat"), 90)


def _daemon(folder: Path, config: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    output = (folder / f"{program}.out").open("wb")
    return subprocess.Popen(
        [program, "-c", str(config), "-f", *arguments],
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
    )


def _run(config: Path, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [program, "-c", str(config), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=config.parent,
    )
    if done.returncode:
        raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


def _wait_until(reached: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster did not come up")
        time.sleep(0.5)
