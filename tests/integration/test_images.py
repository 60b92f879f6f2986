"""The images of infra/docker, built and run: a round of the demo in a container as in Compose.

It takes a quarter of an hour on 2 cores, 20 GB of disk, Debian's mirror and PyPI. CUDA's wheels are
left out: the GPU image is built with the CPU's torch and without vLLM, everything else as it is.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from east_core.store.manifest import RECORD_NAME
from tests.integration.images import MISSING, ROOT, USER, Images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"{', '.join(MISSING)} not installed (Debian: apt-get install buildah podman "
        "debootstrap bubblewrap)",
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap needs root"),
]
DOCKER = ROOT / "infra" / "docker"
VERSION = "built-by-a-test"
# In the container, which has no network but its own loopback: the image's own command, asked.
SERVES = """
import json, os, subprocess, time, urllib.request
from importlib.util import find_spec

os.environ |= {"EAST_SHOWN_STORE": "/srv/east/store", "PREFECT_HOME": "/srv/east/prefect"}

command = "uvicorn --factory flows.server.application:create_app --port 4200".split()
server = subprocess.Popen(command)

def ask(path):
    with urllib.request.urlopen("http://127.0.0.1:4200" + path, timeout=5) as answer:
        return answer.status, answer.read().decode()

for _ in range(90):
    try:
        healthy = ask("/api/health")[1]
        break
    except OSError:
        time.sleep(1)
engines = [name for name in ("torch", "vllm", "trl", "deepspeed") if find_spec(name)]
print(f"healthy: {healthy}, run browser: {ask('/east/')[0]}, engines: {engines}")
server.terminate()
"""


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    with tempfile.TemporaryDirectory(prefix="east-images-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the image's user must get there
        images = Images(Path(folder))
        images.make_base(DOCKER / "cpu.Dockerfile")
        yield images
        for kind in ("containers", "images"):
            images.ask("buildah", "rm" if kind == "containers" else "rmi", "--all")


def test_the_cpu_image_runs_a_round_without_root_and_on_a_read_only_disk(images: Images) -> None:
    work = images.folder / "cpu"
    images.build(DOCKER / "cpu.Dockerfile", "east:cpu", CODE_VERSION=VERSION, TORCH_BACKEND="")
    told = images.run("east:cpu", work, ["east", "demo", "--set", "rounds=1"])
    print(told)
    records = list((work / "srv-east").rglob(RECORD_NAME))
    assert any("round-01/report" in str(path) for path in records), told
    assert {json.loads(path.read_text())["code_version"] for path in records} == {VERSION}
    owners = {path.stat().st_uid for path in (work / "srv-east").rglob("*")}
    assert owners == {USER}


def test_the_servers_image_serves_without_engines(images: Images) -> None:
    work = images.folder / "server"
    images.build(DOCKER / "server.Dockerfile", "east:server", CODE_VERSION=VERSION)
    told = images.run("east:server", work, ["python", "-c", SERVES])
    print(images.ask("podman", "images"), told)
    assert "healthy: true, run browser: 200, engines: []" in told


def test_the_gpu_image_is_built_but_for_cuda(images: Images) -> None:
    work = images.folder / "gpu"
    images.build(
        DOCKER / "gpu.Dockerfile", "east:gpu", CODE_VERSION=VERSION, EXTRAS="kubernetes ray"
    )
    told = images.run("east:gpu", work, ["sh", "-c", "east --version && gcc --version"])
    assert "\neast " in f"\n{told}"
    assert "Free Software Foundation" in told
