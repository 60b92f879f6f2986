"""This user's folder for what can be had again."""

import os
from pathlib import Path

from east_core.errors import StoreError


def cache_home() -> Path:
    """This user's folder for things that can be had again: $XDG_CACHE_HOME/east.

    Raises StoreError where this user has no home (a container's made-up user id).
    """
    if configured := os.environ.get("XDG_CACHE_HOME"):
        return Path(configured) / "east"
    try:
        return Path.home() / ".cache" / "east"
    except RuntimeError as error:
        raise StoreError("this user has no home folder; set EAST_CACHE to one to keep") from error


def cache_folder() -> Path:
    """The same, or the folder that EAST_CACHE names. Raises StoreError as `cache_home` does."""
    return Path(os.environ.get("EAST_CACHE") or cache_home())
