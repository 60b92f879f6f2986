"""One process that imports the training engines once, and forks the ranks of each job.

    python -m east_core.engines.trl.fork_server

Importing torch, Transformers, TRL and DeepSpeed takes a process 5 to 20 s of CPU. Here it is done
once in a run, while the sampler works, and the ranks share the memory of what was imported.
Nothing touches a device before the fork: CUDA could not be used after it.

Orders come in on stdin, one `Fork` a job; what the ranks tell goes out on stdout, as under
torchrun, and `Ended` after it. Ends when stdin does.
"""

import contextlib
import gc
import importlib
import importlib.util
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from torch import distributed

from east_core.engines.processes import emit
from east_core.engines.supervise import die_with_parent, name_process
from east_core.engines.trl.messages import Ended, Fork, RankEnd, read_command
from east_core.engines.trl.patches import import_muon

# A rank that loses its peer fails within milliseconds of the peer's death: whoever is dead by
# then is told together, and the one that a signal killed is the cause.
SETTLE_SECONDS = 0.2
_ENGINES = (
    "deepspeed",
    "peft",
    "torch.utils.tensorboard",
    "transformers.models.llama.modeling_llama",
    "east_core.engines.trl.rank",
)
# What these import only once they are used; other versions may have it elsewhere.
_LATER = ("deepspeed.module_inject.auto_ep_layer", "torch.profiler._cupti_monitor")


def main() -> None:
    """Import, and run job after job."""
    _import_engines()
    for line in sys.stdin:
        emit(Ended(run_ranks(read_command(line))))


def _import_engines() -> None:
    """Import what ranks use, and take it out of the garbage collector's sight.

    Each full collection would go through millions of objects, and copy their pages in each rank.
    """
    for module in (*_ENGINES, *filter(importlib.util.find_spec, _LATER)):
        importlib.import_module(module)
    import_muon()
    gc.collect()
    gc.freeze()


def run_ranks(order: Fork) -> list[RankEnd]:
    """Run the ranks of a job to their end; what failed, empty where all went well.

    The first rank to fail ends the others: they wait in a collective that never comes.
    """
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    context = multiprocessing.get_context("fork")
    sys.stdout.flush()
    ranks: list[BaseProcess] = [
        context.Process(target=_run_rank, args=(order, rank, store.port))
        for rank in range(order.processes)
    ]
    for process in ranks:
        process.start()
    failed = _first_failures(ranks)
    for process in ranks:
        process.kill()
        process.join()
    return failed


def _first_failures(ranks: list[BaseProcess]) -> list[RankEnd]:
    """Wait until all ranks have ended well, or one has not: those that have failed by then."""
    running = ranks
    while running:
        wait([process.sentinel for process in running])
        running = [process for process in running if process.is_alive()]
        if any(process.exitcode for process in ranks):
            time.sleep(SETTLE_SECONDS)
            return [RankEnd(i, each.exitcode) for i, each in enumerate(ranks) if each.exitcode]
    return []


def _run_rank(order: Fork, rank: int, port: int) -> None:
    """What a forked process does: become the rank, and leave with its status."""
    die_with_parent()
    name_process(f"east-rank-{rank}")
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(order.processes),
        "LOCAL_WORLD_SIZE": str(order.processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # the store is the launcher's, as torchrun's is: no rank has to bind a port
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    from east_core.engines.trl.rank import run

    run(Path(order.job))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
