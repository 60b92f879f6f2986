"""Images of infra/docker built without Docker and without its hub: buildah, podman, debootstrap.

A Debian of debootstrap with Debian's own Python stands in for the base image, under its name: the
same release and the same minor version of Python, but not the same build of it.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TOOLS = ("buildah", "podman", "debootstrap", "bwrap")
MISSING = [name for name in TOOLS if shutil.which(name) is None]
ROOT = Path(__file__).resolve().parents[2]
FROM = re.compile(r"^FROM (?P<image>python:(?P<python>[\d.]+)-slim-(?P<release>\w+))", re.MULTILINE)
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv", "python-is-python3")
CERTIFICATES = "/etc/ssl/certs"
USER = 10001
FOLDERS = ("/srv/east", "/var/cache/east", "/var/tmp/east")  # that Compose mounts volumes on


@dataclass(frozen=True)
class Images:
    """A store of images in a folder of its own."""

    folder: Path

    def ask(self, tool: str, *arguments: object, cwd: Path = ROOT) -> str:
        """What buildah or podman print on this store. Raises AssertionError where they fail."""
        store = ("--root", self.folder / "storage", "--runroot", self.folder / "run")
        command = [tool, *map(str, (*store, *arguments))]
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}\n")
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}"
        return done.stdout

    def make_base(self, dockerfile: Path) -> str:
        """An image with the name that the Dockerfile begins from; the release's Python in it."""
        found = FROM.search(dockerfile.read_text("utf-8"))
        assert found, f"{dockerfile} begins from no Debian with Python"
        system = self.folder / "base"
        packages = f"--include={','.join(PACKAGES)}"
        with (self.folder / "debootstrap.txt").open("w") as log:
            subprocess.run(
                ["debootstrap", "--variant=minbase", packages, found["release"], str(system)],
                stdout=log, stderr=log, check=True,
            )  # fmt: skip
        for marker in system.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()  # the base image has none: its Python is not Debian's
        shutil.rmtree(system / "var/cache/apt/archives", ignore_errors=True)
        with subprocess.Popen(
            ["tar", "-C", str(system), "-c", "."], stdout=subprocess.PIPE
        ) as packed:
            container = self.ask("buildah", "from", "scratch").split()[-1]
            mounted = self.ask("buildah", "mount", container).split()[-1]
            subprocess.run(["tar", "-C", mounted, "-x"], stdin=packed.stdout, check=True)
        self.ask("buildah", "umount", container)
        self.ask("buildah", "commit", "--rm", container, f"docker.io/library/{found['image']}")
        shutil.rmtree(system)
        return found["image"]

    def build(self, dockerfile: Path, tag: str, **arguments: str) -> None:
        """Build an image, with this machine's certificates and its folder of wheels."""
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        with _site(self.folder) as mounts:
            self.ask(
                "buildah", "build", "--isolation=chroot", "--pull-never", "--layers=false",
                *given, *(f"--volume={mount}" for mount in mounts),
                f"--file={dockerfile}", f"--tag={tag}", ROOT,
            )  # fmt: skip

    def run(self, image: str, work: Path, command: Sequence[str]) -> str:
        """A command on the image's disk as Compose starts one: no root, no rights, nothing to write
        but its three folders and /tmp; without network. Raises AssertionError where it fails.
        Everybody must get to `work`.

        bubblewrap stands in for podman's runtime, which wants rights that not every root has.
        """
        [told] = json.loads(self.ask("podman", "image", "inspect", image))
        variables = [each.partition("=") for each in told["Config"]["Env"]]
        options = ["--ro-bind", self._disk(image, work), "/", "--proc", "/proc", "--dev", "/dev"]
        options += ["--ro-bind", "/sys", "/sys"]  # as in every container; vLLM counts cores there
        options += ["--tmpfs", "/tmp", "--clearenv", "--setenv", "HOME", "/home/east"]
        options += [word for name, _, value in variables for word in ("--setenv", name, value)]
        for place in FOLDERS:
            folder = work / place.strip("/").replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, USER, USER)
            options += ["--bind", str(folder), place]
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        options += ["--unshare-all", "--die-with-parent", "--chdir", FOLDERS[0]]
        done = subprocess.run(
            [*user, "bwrap", *options, "tini", "-s", "--", *command], text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        subprocess.run(["umount", str(work / "disk")], check=True)
        self.ask("podman", "image", "umount", image)
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def _disk(self, image: str, work: Path) -> str:
        """The image's files, where its user gets at them."""
        mounted, disk = self.ask("podman", "image", "mount", image).split()[-1], work / "disk"
        disk.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--bind", mounted, str(disk)], check=True)
        return str(disk)


@contextlib.contextmanager
def _site(folder: Path) -> Iterator[list[str]]:
    """What a build must know of this network, as mounts: no word of it is in the image."""
    settings, pip = folder / "uv.toml", folder / "pip.conf"
    pip.write_text(f"[global]\ncert = {CERTIFICATES}/ca-certificates.crt\n")
    mounts = [f"{CERTIFICATES}:{CERTIFICATES}:ro", f"{settings}:/etc/uv/uv.toml:ro"]
    mounts.append(f"{pip}:/etc/pip.conf:ro")
    lines = ["native-tls = true"]
    wheels = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS") or ""
    if Path(wheels).is_dir():
        lines.append(f'find-links = ["{wheels}"]')
        mounts.append(f"{wheels}:{wheels}:ro")
    settings.write_text("\n".join(lines) + "\n")
    yield mounts
