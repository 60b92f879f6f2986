"""A Ray cluster of several nodes on this machine, each with its own address and raylet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
STORE_BYTES = 100 * 2**20


@contextmanager
def ray_nodes(count: int, cores: int = 2) -> Iterator[Any]:
    """A head without cores, and `count` nodes with `cores` each."""
    import ray
    from ray.cluster_utils import Cluster

    shared = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    # not 127.0.0.1, which a driver takes for the machine's address to the outside
    head = {"num_cpus": 0, "node_ip_address": "127.0.0.2", **shared}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for index in range(count):
            cluster.add_node(num_cpus=cores, node_ip_address=f"127.0.0.{3 + index}", **shared)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
