"""Artifacts and where they live: what others import of the store.

A stage goes through `materialize`; `Store` finds, fetches and lists what was made.
"""

from east_core.store.manifest import ArtifactFile, ArtifactRecord, Json
from east_core.store.materialize import Stage, existing, made_by_revision, materialize, reuse
from east_core.store.scratch import work_folder
from east_core.store.store import Store, StoreCheck

__all__ = [
    "ArtifactFile",
    "ArtifactRecord",
    "Json",
    "Stage",
    "Store",
    "StoreCheck",
    "existing",
    "made_by_revision",
    "materialize",
    "reuse",
    "work_folder",
]
