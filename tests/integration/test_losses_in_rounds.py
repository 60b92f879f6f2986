"""One round with each other loss, and with adapters: real engines, two ranks under ZeRO-3."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from east_core.inputs.base_models import whole_model
from east_core.inputs.questions import builtin_path
from east_core.store import Store

pytestmark = pytest.mark.timeout(1800)  # whole runs, on a machine that may be busy
CONFIG = """
name = "round"
store = "{store}"
rounds = 1
[questions]
path = "builtin:train.jsonl"
limit = 100
[benchmarks.word-problems]
path = "builtin:test.jsonl"
limit = 40
[sampling]
samples_per_question = 8
max_tokens = 96
[training]
global_batch_size = 8
epochs = 1
{training}
[evaluation]
max_tokens = 96
[resources]
device = "cpu"
processes = 2
micro_batch_size = 4
zero_stage = 3
kv_cache_gib = 0.25
"""
TRAINING = {
    "dpo": 'loss = "dpo"\nbeta = 0.1\nlearning_rate = 1e-5',
    "kto": 'loss = "kto"\nbeta = 0.1\nlearning_rate = 1e-5',
    "lora": 'loss = "sft"\nlearning_rate = 1e-3\n[training.lora]\nrank = 8',
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINING)
def test_one_round_through_the_flow(name: str, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(store=tmp_path / "store", training=TRAINING[name]))
    done = subprocess.run(
        [sys.executable, "-c", "from flows.commands.main import main; main()", "run", str(config)],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-3000:]
    store = Store(str(tmp_path / "store"))
    trained = store.require("round/round-01/checkpoint")
    examples = store.require("round/round-01/examples")
    assert trained.facts["examples"] == examples.facts["examples"] > 8
    # DPO starts at log 2 and KTO at 1/2, because the model is its own reference at the start
    (first,) = re.findall(r"step 1/\d+  loss [\d.]+ \(unweighted ([\d.]+)\)", told)
    if name != "lora":
        assert float(first) == pytest.approx({"dpo": math.log(2), "kto": 0.5}[name], abs=1e-4)
    base = load_file(builtin_path("seed_model") / "model.safetensors")
    weights = load_file(whole_model(store, trained) / "model.safetensors")
    assert weights.keys() == base.keys()
    assert 0 < max(abs(weights[key] - base[key]).max() for key in base) < 0.1
    # vLLM has served the new checkpoint, merged where adapters were trained
    scores = store.require("round/round-01/scores/word-problems")
    assert scores.facts["accuracy"]["n"] == 40
