"""Flows of tests as deployments that a worker of a pool runs: self-training with scripted engines.

EAST_SHARD_SECONDS in its environment is how long each shard takes to sample: time enough for a test
to come in between.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from east_core.engines.ray.cluster import cluster_facts
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.self_training import self_training_form
from flows.server.forms import RunForm, named_by_form
from tasks.engines import Engines, use_engines

DEPLOYMENTS = """
name: east
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $EAST_WORKDIR }}"
deployments:
  - name: scripted
    version: "{{ $EAST_VERSION }}"
    entrypoint: tests.integration.scripted_flow.scripted_form
    work_pool: {name: east}
  - name: ray-nodes
    version: "{{ $EAST_VERSION }}"
    entrypoint: tests.integration.scripted_flow.ray_nodes
    work_pool: {name: east}
"""


class SlowSampler(ScriptedSampler):
    """Takes its time for each shard."""

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        """See `Sampler.sample`."""
        for sampled in super().sample(model, shards, settings, total):
            time.sleep(float(os.environ["EAST_SHARD_SECONDS"]))
            yield sampled


@flow(name="self-training", flow_run_name=named_by_form)
def scripted_form(form: RunForm) -> State[None]:
    """Self-training as the UI starts it, with scripted engines."""
    with use_engines(Engines(SlowSampler(), InstantTrainer())):
        return self_training_form.fn(form)


@flow(name="ray-nodes")
def ray_nodes() -> State[None]:
    """What the Ray cluster around the worker has, as the message of the run's end."""
    return Completed(message=cluster_facts("auto"))
