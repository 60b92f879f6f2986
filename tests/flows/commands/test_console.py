"""What the terminal shows of a run."""

import contextlib
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from east_core.config import RunConfig
from east_core.engines.vllm import early
from east_core.errors import ArtifactMismatch, EngineError
from east_core.evaluation.estimates import Estimate
from east_core.runs.summary import RoundSummary
from flows import self_training as flows
from flows.commands import console, launch
from tasks.reporting import curve_page


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


def test_scores_that_are_no_greedy_ones_say_so_in_each_view(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=out, width=80))
    rounds = [
        RoundSummary(
            round=0, accuracy={"sums": Estimate(0.5, 0.4, 0.6, 40)}, kept=None, dropped=None,
            mean_entropy_bits=None, seconds={}, samples={"sums": 4},
        )
    ]  # fmt: skip
    console.print_rounds("demo", rounds)
    told = "accuracy is the mean over 4 samples a question on sums"
    assert told in out.getvalue()
    assert told in curve_page("demo", rounds, [], "store/demo", None)


def test_a_refused_name_does_not_show_the_rounds_of_the_run_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(launch, "prefect_api", lambda **_: contextlib.nullcontext())
    monkeypatch.setattr(early, "early_sampler", contextlib.nullcontext)
    monkeypatch.setattr(launch, "print_end", lambda config: shown.append(config.name))

    def raising(error: BaseException) -> Callable[[RunConfig], None]:
        def run(_: RunConfig) -> None:
            raise error

        return run

    for error, told in ((ArtifactMismatch("taken"), []), (EngineError("died"), ["demo"])):
        monkeypatch.setattr(flows, "self_training", raising(error))
        with pytest.raises(type(error)):
            launch.launch(RunConfig(name="demo"))
        assert shown == told


@pytest.mark.parametrize("api", [None, "http://127.0.0.1:4300/api"])
def test_the_end_says_where_the_ui_is(monkeypatch: pytest.MonkeyPatch, api: str | None) -> None:
    monkeypatch.setattr(console, "running_address", lambda: api)
    assert console.ui_address() == ("east up" if api is None else "http://127.0.0.1:4300/runs")
