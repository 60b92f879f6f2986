"""What the terminal shows of a run."""

import io

import pytest
from rich.console import Console

from east_core.evaluation.estimates import Estimate
from east_core.runs.summary import RoundSummary
from flows.commands import console


def test_the_table_of_rounds_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=out, width=80))
    accuracy = {"word-problems": Estimate(0.5439, 0.4999, 0.5871, 7473)}
    summary = RoundSummary(
        round=10, accuracy=accuracy, kept=7000, dropped=473, mean_entropy_bits=1.97,
        seconds={"samples": 86399.0}, overhead_seconds=123.4,
    )  # fmt: skip
    console.print_rounds("demo", [summary])
    shown = out.getvalue()
    assert "…" not in shown
    for text in ("54.4% [50.0, 58.7]", "7000", "473", "1.97", "86399", "123.4"):
        assert text in shown
