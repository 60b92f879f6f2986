"""Sampling and weighing on two Ray nodes: what one machine gives, and a node that is lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from east_core.config import DatasetConfig, Resources, RunConfig, SamplingRecipe
from east_core.engines.ray.cluster import ActorPool, actor, connect
from east_core.engines.ray.sampler import RaySampler
from east_core.engines.ray.weighing import RayShardWeigher
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import DataError, EngineError
from east_core.runs import samples, start, weights
from east_core.runs.run import Run
from tests.integration.ray_nodes import ray_nodes

SHARDS, SIZE = 6, 16


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_nodes(2) as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def opened(store: Path, **resources: Any) -> Run:
    """A run of the seed model, its questions frozen and its model registered."""
    config = RunConfig(
        name="spread",
        store=str(store),
        questions=DatasetConfig(limit=SHARDS * SIZE),
        sampling=SamplingRecipe(samples_per_question=4, max_tokens=64),
        resources=Resources(
            device="cpu", kv_cache_gib=0.25, max_sequences=16, shard_questions=SIZE, **resources
        ),
    )
    run = Run.open(config)
    start.claim(run)
    start.register_base_model(run)
    start.freeze_questions(run)
    return run


def contents(run: Run) -> dict[str, str]:
    """The hash of each artifact of the round, by address."""
    return {record.address: record.content for record in run.store.records("spread/round-01")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The artifacts of a run on one machine."""
    run = opened(tmp_path_factory.mktemp("alone"))
    with VllmSampler(run.config.resources) as sampler:
        samples.sample(run, 1, sampler)
    weights.weigh(run, 1)
    return contents(run)


def test_a_cluster_that_is_not_there_is_told_in_seconds() -> None:
    with pytest.raises(EngineError, match=r"nothing answers at 127\.0\.0\.9:1, .*ray start"):
        connect("127.0.0.9:1")


@pytest.mark.slow
def test_two_nodes_make_what_one_machine_makes(
    cluster: Any, alone: dict[str, str], tmp_path: Path
) -> None:
    run = opened(tmp_path, ray=cluster.address, engines=2)
    with RaySampler(run.config.resources) as sampler:
        samples.sample(run, 1, sampler)
        weights.weigh(run, 1, RayShardWeigher(run.config.resources, sampler))
    assert len(alone) == SHARDS + 2
    assert contents(run) == alone


class Counter:
    """An actor that adds one; it dies, or complains, where it is told to."""

    def ready(self) -> None: ...

    def add(self, number: int) -> int:
        if number == 13:
            os._exit(1)
        if number == 14:
            raise DataError("14 is not a number")
        if number == 15:
            raise ZeroDivisionError("of ours")
        return number + 1


def counters(address: str, size: int = 2) -> ActorPool[int, int]:
    connect(address)
    return ActorPool(
        lambda: actor(Counter, 1, 0), lambda each, n: each.add.remote(n), size=size, hours=0.1
    )


def test_results_keep_the_order_of_the_items(cluster: Any) -> None:
    pool = counters(cluster.address)
    assert list(pool.map(range(10))) == list(range(1, 11))
    assert list(pool.map([7])) == [8]  # the same actors again
    pool.close()


def test_what_kills_every_machine_is_told_and_not_tried_for_ever(cluster: Any) -> None:
    with pytest.raises(EngineError, match=r"3 machines were lost .* part 2 of the stage"):
        list(counters(cluster.address).map([1, 13]))


def test_an_error_of_ours_on_a_node_is_the_same_error_here(cluster: Any) -> None:
    with pytest.raises(DataError, match=r"^14 is not a number$"):
        list(counters(cluster.address).map([14]))
    with pytest.raises(EngineError, match="on a node of the cluster: ZeroDivisionError: of ours"):
        list(counters(cluster.address).map([15]))


def test_more_workers_than_there_is_room_for_do_not_stop_those_that_run(cluster: Any) -> None:
    pool = counters(cluster.address, size=9)
    assert list(pool.map(range(20, 50))) == list(range(21, 51))
    pool.close()


@pytest.mark.slow
def test_a_lost_node_costs_its_shard_only(
    cluster: Any, alone: dict[str, str], tmp_path: Path
) -> None:
    """A node is killed as it begins its second shard; that one is sampled again, elsewhere.

    The last test here: the cluster has one node less afterwards.
    """
    run = opened(tmp_path, ray=cluster.address, engines=2)
    with RaySampler(run.config.resources) as sampler:
        asked = lose_a_node(cluster, sampler, at=4)
        samples.sample(run, 1, sampler)
        weights.weigh(run, 1, RayShardWeigher(run.config.resources, sampler))
    assert contents(run) == alone
    assert sorted(asked) == sorted([*set(asked), asked[3]])
    assert len(asked) == SHARDS + 1


def lose_a_node(cluster: Any, sampler: RaySampler, at: int) -> list[str]:
    """Kill -9 the node of the engine that gets the `at`-th shard; the shards handed out."""
    asked: list[str] = []
    hand_out = sampler._pool._call

    def counted(engine: Any, shard: Any) -> Any:
        asked.append(shard[1][0].id)
        reference = hand_out(engine, shard)
        if len(asked) == at:
            facts = ray._private.state.actors(engine._actor_id.hex())
            place = facts["Address"]["NodeID"]
            (doomed,) = (node for node in cluster.list_all_nodes() if node.node_id == place)
            os.kill(facts["Pid"], signal.SIGKILL)  # a machine's processes end all at once
            cluster.remove_node(doomed, allow_graceful=False)
        return reference

    sampler._pool._call = counted
    return asked
