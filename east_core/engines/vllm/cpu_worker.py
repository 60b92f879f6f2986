"""What our engines on CPUs add to vLLM's worker, in whatever process that one lives.

`vllm.LLM(worker_extension_cls=...)` mixes the class into the worker. Its methods are called by
name: vLLM refuses to send a function to an engine in a process of its own.
"""

from typing import Any

import east_core.engines.vllm.request_noise  # noqa: F401 takes effect by being imported
from east_core.engines.vllm.patches import repack_experts, repack_output_layer


class CpuWorker:
    """Methods for `LLM.collective_rpc`."""

    def repack(self: Any) -> None:
        """Renew the packed weights of CPU kernels after a reload (see patches)."""
        model = self.get_model()
        repack_output_layer(model)
        repack_experts(model)
