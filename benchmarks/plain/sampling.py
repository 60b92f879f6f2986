"""Samples with vLLM alone: `LLM.chat`, n completions of each question.

    python -m benchmarks.plain.sampling MODEL QUESTIONS.jsonl LIMIT N MAX_TOKENS SHARE

Prints its tokens a second as a JSON line, once for each line of stdin. On CPUs as users set it up
after a look at the manual: eager, fp32 (bf16 is slower there), a small KV cache. On a GPU it takes
the SHARE of the memory.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from vllm import LLM, SamplingParams


def main() -> None:
    """Serve."""
    model, path, limit, n, max_tokens, share = sys.argv[1:]
    with Path(path).open() as file:
        rows = [json.loads(line) for line in file][: int(limit)]
    asked: Any = [[{"role": "user", "content": row["question"]}] for row in rows]
    options: Any = {"gpu_memory_utilization": float(share)}
    if not torch.cuda.is_available():
        options = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**30}
    llm = LLM(model, max_model_len=2048, **options)
    params = SamplingParams(n=int(n), temperature=1.0, max_tokens=int(max_tokens))
    for _ in sys.stdin:
        llm.reset_prefix_cache()
        begun = time.perf_counter()
        outputs = llm.chat(asked, params, use_tqdm=False)
        seconds = time.perf_counter() - begun
        tokens = sum(len(sample.token_ids) for output in outputs for sample in output.outputs)
        print(json.dumps({"rate": tokens / seconds}), flush=True)


if __name__ == "__main__":
    main()
