"""The sampling engine's process, with the repacking after a reload left out: it serves old weights.

python tests/integration/stale_worker.py
"""

from east_core.engines.vllm.cpu_worker import CpuWorker
from east_core.engines.vllm.worker import main

if __name__ == "__main__":
    CpuWorker.repack = lambda _: None  # type: ignore[method-assign]
    main()
