"""Which code and which libraries are at work, for the records."""

import functools
import os
import platform
import subprocess
from pathlib import Path

from east_core.engine_python import has_own_environment, installed_for_engines, installed_here
from east_core.installed import ENGINE_LIBRARIES, OTHER_LIBRARIES, version_of

DISTRIBUTION = "east-self-training"


@functools.cache
def code_version() -> str:
    """This package's version and, in a git checkout, the commit: "0.1.0+g1a2b3c4d5e6f.dirty".

    EAST_CODE_VERSION overrides it, for images built without the repository.
    """
    if given := os.environ.get("EAST_CODE_VERSION"):
        return given
    version = version_of(DISTRIBUTION) or "0"
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return version
    dirty = ".dirty" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{version}+g{commit}{dirty}"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results, where installed.

    An engine's are those of the Python that runs the engines, and that Python's own version is
    told too, where it is not this one. Raises ConfigError where it can't be asked.
    """
    there, here = installed_for_engines(), installed_here()
    of_engines = {name: there.versions.get(name) for name in ENGINE_LIBRARIES}
    others = {name: here.versions.get(name) for name in OTHER_LIBRARIES}
    libraries = {name: found for name, found in sorted({**of_engines, **others}.items()) if found}
    own = {"python of engines": there.python} if has_own_environment() else {}
    return {"python": platform.python_version(), **own, **libraries}


def _git(*arguments: str) -> str | None:
    """The output of a git command in this checkout; None where there is no git or no checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
