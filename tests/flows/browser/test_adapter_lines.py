"""A run of adapters in the browser: its whole models are a command away."""

from pathlib import Path

import pytest

from flows.browser.details import run_details
from tests.east_core.adapter_runs import adapter_run


def test_a_round_that_is_an_adapter_is_served_after_it_was_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    run = adapter_run(tmp_path, rounds=1)
    (shown,) = run_details(run.store, "sums").checkpoints
    assert shown.download == f"east publish {run.store.root}/sums/round-01 --to ./sums-round-01"
    assert shown.serve == "vllm serve sums-round-01 --served-model-name sums"
