"""Where we reach into vLLM: what for, and for which versions.

| what | why | versions |
|---|---|---|
| `repack_output_layer` | a reload leaves a stale copy of a tied output layer on CPUs | 0.32 |
| `repack_experts` | a reload leaves a mixture's experts unpacked on CPUs | 0.32 |
| `request_noise`, a module | on CPUs each token of each request is a generator's call | 0.32 |
| `inspect_models_here` | vLLM imports itself again to look at a model's class, once a home | 0.32 |
| `tokens_by_request` | vLLM counts the tokens of unfinished requests only for its log | 0.32 |

tests/east_core/engines/test_patches.py fails with a version that is not named here, and
tests/integration/test_engine_reload.py where an engine serves stale weights.
tests/integration/test_request_noise.py says what the noise must be.
"""

from collections.abc import Callable, Iterator
from typing import Any

from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
from vllm.model_executor.models import registry


def repack_output_layer(model: Any) -> None:
    """Renew the packed copies of weights that vLLM's CPU kernels keep beside the weights.

    A reload renews them for every layer that it loads, but not for an output layer that is tied to
    the embedding: that one would go on giving the first checkpoint's logits.
    """
    for layer in model.modules():
        if hasattr(layer, "cpu_linear") and layer.weight.numel():
            dispatch_cpu_unquantized_gemm(layer, remove_weight=False)


def repack_experts(model: Any) -> None:
    """Pack a mixture's experts again as vLLM's CPU kernels want them.

    vLLM packs them when it sets up their kernel, which a reload does not do again: the kernel would
    read plain weights as packed ones.
    """
    for layer in model.modules():
        kernel = getattr(getattr(layer, "quant_method", None), "moe_kernel", None)
        if kernel is not None:
            kernel.fused_experts.process_weights_after_loading(layer)


def inspect_models_here() -> None:
    """Look at a model's class in this process, which is to import it anyway.

    vLLM does so in a process of its own, lest CUDA be initialised: 10 s of CPU for each engine of
    the first run in an empty home, for nothing where there is no GPU.
    """
    registry.__dict__["_run_in_subprocess"] = _run_here


def _run_here(look: Callable[[], Any]) -> Any:
    return look()


def tokens_by_request(engine: Any) -> Iterator[tuple[str, str, int]]:
    """Of each unfinished sequence: its request, its own id, and its tokens so far."""
    for state in engine.output_processor.request_states.values():
        asked = (
            state.external_req_id if state.parent_req is None else state.parent_req.external_req_id
        )
        tokens = 0 if state.detokenizer is None else state.detokenizer.num_output_tokens()
        yield asked, state.request_id, tokens
