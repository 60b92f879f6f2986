"""Where we reach into vLLM: what for, and for which versions.

| what | why | versions |
|---|---|---|
| `repack_output_layer` | a reload leaves a stale copy of a tied output layer on CPUs | 0.32 |

tests/east_core/engines/test_patches.py fails with a version that is not named here, and
tests/integration/test_engine_reload.py where an engine serves stale weights.
"""

from typing import Any

from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm


def repack_output_layer(model: Any) -> None:
    """Renew the packed copies of weights that vLLM's CPU kernels keep beside the weights.

    A reload renews them for every layer that it loads, but not for an output layer that is tied to
    the embedding: that one would go on giving the first checkpoint's logits.
    """
    for layer in model.modules():
        if hasattr(layer, "cpu_linear") and layer.weight.numel():
            dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
