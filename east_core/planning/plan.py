"""What a run will need: memory, tokens, storage and hours, from sizes and stated assumptions.

Pure arithmetic on a config and a model's shape; every estimate carries its formula.
docs/planning.md shows the arithmetic and how far measurements were from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from east_core.planning.basis import Basis
from east_core.planning.engine_memory import engine_memory
from east_core.planning.figures import GIB, Estimate
from east_core.planning.hours import hours
from east_core.planning.rank_memory import rank_memory
from east_core.planning.work import storage, tokens


@dataclass(frozen=True)
class Plan:
    """All estimates in the order in which they are told, and what does not fit."""

    estimates: tuple[Estimate, ...]
    misfits: tuple[str, ...]

    def value(self, section: str, name: str) -> float:
        """The value of one estimate; raises KeyError where there is none."""
        found = {(one.section, one.name): one.value for one in self.estimates}
        return found[section, name]


def make_plan(basis: Basis) -> Plan:
    """Every estimate of a run."""
    parts = (rank_memory, engine_memory, tokens, storage, hours)
    estimates = tuple(estimate for part in parts for estimate in part(basis))
    return Plan(estimates, tuple(_problems(basis, Plan(estimates, ()))))


def _problems(basis: Basis, plan: Plan) -> Iterator[str]:
    """What does not fit on the GPU, each with what to change."""
    if basis.device == "cpu":
        return
    memory, peak = basis.assumed.gpu.memory, plan.value("training rank", "peak")
    if peak > memory:
        yield (
            f"a training rank needs {peak / GIB:.0f} GiB of {memory / GIB:.0f} GiB; lower "
            "micro_batch_size or max_length, set gradient_checkpointing, raise zero_stage, "
            "processes or nodes, or set offload"
        )
    if plan.value("sampling engine", "sequences at full length") < 1:
        yield (
            "a sampling engine has no room for one full sequence beside the weights; raise "
            "tensor_parallel or engine_memory, or lower sampling.max_tokens"
        )
