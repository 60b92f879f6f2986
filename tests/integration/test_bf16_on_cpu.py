"""A round in bf16 throughout, as GPUs run it; only where the CPU computes in bf16 itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from east_core.store import Store
from tests.integration.test_losses_in_rounds import CONFIG

CPU = Path("/proc/cpuinfo")
HAS_BF16 = CPU.exists() and "avx512_bf16" in CPU.read_text()
BF16 = 'loss = "sft"\nlearning_rate = 1e-4\nprecision = "bf16"'
ENGINE = 'engine_options = {dtype = "bfloat16"}\n'


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not HAS_BF16, reason="the CPU has no AVX512-BF16, and takes minutes in bf16")
def test_a_round_in_bf16_trains_and_takes_its_checkpoint_in_place(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(store=tmp_path / "store", training=BF16) + ENGINE)
    done = subprocess.run(
        [sys.executable, "-c", "from flows.commands.main import main; main()", "run", str(config)],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-3000:]
    assert "nats a token" not in told  # the engine would have been started anew
    record = Store(str(tmp_path / "store")).require("round/round-01/scores/word-problems")
    assert record.facts["accuracy"]["n"] == 40
