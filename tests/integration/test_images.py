"""The images of infra/docker, built and run: a round of the demo in a container as in Compose.

It takes a quarter of an hour, 20 GB of disk, Debian's mirror and PyPI. CUDA's wheels are left out:
the GPU image is built with the CPU's torch and without vLLM, everything else of it as it is.
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


def test_the_gpu_image_is_built_but_for_cuda(images: Images) -> None:
    work = images.folder / "gpu"
    images.build(
        DOCKER / "gpu.Dockerfile", "east:gpu", CODE_VERSION=VERSION, EXTRAS="kubernetes ray"
    )
    told = images.run("east:gpu", work, ["sh", "-c", "east --version && gcc --version"])
    assert "\neast " in f"\n{told}"
    assert "Free Software Foundation" in told
