"""Sampling on a Ray cluster: a shard at a time on every engine, wherever Ray has room for one.

An engine is the `VllmSampler` of one machine, in an actor that asks Ray for its GPUs; so what a
shard comes out as is the same here and on one machine. The driver keeps the order and the store:
a shard is published when it is back, and a lost machine costs the shard that it was working on.

Machines need no common disk: a checkpoint's files travel through Ray's object store, once to each
machine, into its download cache.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from east_core.config import Resources
from east_core.engines.devices import engine_count
from east_core.engines.ray.cluster import ActorPool, actor, connect
from east_core.engines.vllm.batching import ProgressCounter
from east_core.engines.vllm.sampler import VllmSampler
from east_core.home import cache_folder
from east_core.inputs.base_models import fingerprint_files
from east_core.protocols import PROBE_FILE, GenerationSettings, ModelSource, SamplingProgress
from east_core.records import Question, SampledQuestion
from east_core.store.cache import DownloadCache
from east_core.store.files import file_hash
from east_core.store.manifest import ArtifactFile, ArtifactRecord

CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class CheckpointObjects:
    """A checkpoint on its way: its files, and references to their pieces in Ray's object store."""

    model: ModelSource
    files: tuple[ArtifactFile, ...]
    pieces: dict[str, list[Any]]

    def fetch(self, cache: DownloadCache) -> ModelSource:
        """The checkpoint in this machine's cache, brought there where it is not yet."""
        record = ArtifactRecord(
            address=f"ray/{self.model.fingerprint}",
            recipe={},
            inputs={},
            fingerprint=self.model.fingerprint,
            files=self.files,
            facts={},
            code_version="",
            created_at="",
            seconds=0.0,
        )
        folder = cache.folder(record, self.files, self._download)
        return ModelSource(folder, self.model.fingerprint, self.model.trust_remote_code)

    def _download(self, file: ArtifactFile, target: Path) -> str:
        import ray

        digest = hashlib.sha256()
        with target.open("wb") as stream:
            for piece in self.pieces[file.path]:
                data = ray.get(piece)
                digest.update(data)
                stream.write(data)
        return digest.hexdigest()


def put_checkpoint(model: ModelSource) -> CheckpointObjects:
    """Put a checkpoint's files into Ray's object store (which spills to disk what is too much)."""
    hashes = fingerprint_files(model.folder)
    names = [*hashes, *([PROBE_FILE] if (model.folder / PROBE_FILE).is_file() else [])]
    files = tuple(_file(model.folder, name, hashes.get(name)) for name in names)
    return CheckpointObjects(model, files, {name: _put(model.folder / name) for name in names})


def _file(folder: Path, name: str, known: str | None) -> ArtifactFile:
    path = folder / name
    return ArtifactFile(name, path.stat().st_size, known or file_hash(path))


def _put(path: Path) -> list[Any]:
    import ray

    with path.open("rb") as stream:
        return [ray.put(piece) for piece in iter(lambda: stream.read(CHUNK_BYTES), b"")]


Shard = tuple[CheckpointObjects, Sequence[Question], GenerationSettings]


class EngineActor:
    """One engine, on a machine of the cluster."""

    def __init__(self, resources: Resources) -> None:
        self._sampler = VllmSampler(resources)
        self._cache = DownloadCache(cache_folder() / "ray")

    def ready(self) -> None:
        """Answer as soon as there is room for the actor."""

    def sample(
        self,
        checkpoint: CheckpointObjects,
        questions: Sequence[Question],
        settings: GenerationSettings,
    ) -> list[SampledQuestion]:
        """One shard's completions; the checkpoint is loaded where it is another one."""
        model = checkpoint.fetch(self._cache)
        (sampled,) = self._sampler.sample(model, [questions], settings, len(questions))
        return sampled


class RaySampler:
    """The `Sampler` of a cluster: `resources.engines` engines wherever Ray finds room for them."""

    def __init__(
        self,
        resources: Resources,
        on_progress: Callable[[SamplingProgress], None] = lambda _: None,
    ) -> None:
        self._resources = resources
        self._on_progress = on_progress
        self._checkpoint: CheckpointObjects | None = None
        self._pool: ActorPool[Shard, list[SampledQuestion]] = ActorPool(
            self._start,
            lambda engine, shard: engine.sample.remote(*shard),
            engine_count(resources),
            resources.stage_timeout_hours,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        """Yield the shards' completions in order; see `Sampler.sample`."""
        assert self._resources.ray is not None
        connect(self._resources.ray)
        if self._checkpoint is None or self._checkpoint.model != model:
            self._checkpoint = put_checkpoint(model)
        checkpoint, progress = self._checkpoint, ProgressCounter(total, settings, self._on_progress)
        for sampled in self._pool.map((checkpoint, questions, settings) for questions in shards):
            completions = (each for question in sampled for each in question.completions)
            progress.count(len(sampled), sum(each.token_count for each in completions))
            yield sampled
        progress.emit()

    def release(self) -> None:
        """End the engines: whoever comes next asks Ray for what they hold."""
        self.close()

    def close(self) -> None:
        """End every engine."""
        self._pool.close()
        self._checkpoint = None

    def _start(self) -> Any:
        is_cpu = self._resources.device == "cpu"
        alone = self._resources.model_copy(update={"engines": 1, "ray": None})
        ranks = self._resources.tensor_parallel
        cores, gpus = (ranks, 0) if is_cpu else (1, ranks)
        return actor(EngineActor, cores, gpus, alone)
