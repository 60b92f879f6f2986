import json
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.pairs import alternate, median_row

FAKE = ("tests.benchmarks.fake_benchmark", run.OUT)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "KEPT", tmp_path)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(run, "BENCHMARKS", {"good": FAKE, "bad": (*FAKE, "fail")})
    return tmp_path


def bench(monkeypatch: pytest.MonkeyPatch, *names: str) -> int:
    monkeypatch.setattr("sys.argv", ["run", *names])
    return run.main()


def test_what_is_finished_is_kept_and_a_rerun_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(monkeypatch) == 1
    rows = json.loads((folder / "results.json").read_text())
    assert rows == [
        {"name": "fake", "ratio": 0.99, "low": 0.98, "high": 1.0, "goal": 0.97, "runs": 5}
    ]
    assert "| fake | 0.99 | 0.98 | 1 | 0.97 | 5 |" in (folder / "benchmarks.md").read_text()
    assert "bad failed" in capsys.readouterr().out
    monkeypatch.setitem(run.BENCHMARKS, "bad", FAKE)
    assert bench(monkeypatch) == 0
    said = capsys.readouterr().out
    assert "good: finished already" in said
    assert "bad: running" in said


def test_a_benchmark_named_is_run_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [bench(monkeypatch, "good"), bench(monkeypatch, "good")] == [0, 0]
    assert capsys.readouterr().out.count("good: running") == 2
    assert not (folder / "bad.json").exists()


def test_both_sides_of_a_pair_go_first_in_turn() -> None:
    asked = []
    clock = iter(range(8))

    def side(name: str) -> float:
        asked.append(name)
        return float(next(clock))

    pairs = alternate(lambda: side("ours"), lambda: side("plain"), runs=3)
    assert asked == ["ours", "plain", "plain", "ours", "ours", "plain"]
    assert pairs == [(0, 1), (3, 2), (4, 5)]
    row = median_row("x", [ours / plain for ours, plain in pairs], 0.9)
    assert (row.low, row.ratio, row.high, row.runs) == (0.0, 0.8, 1.5, 3)
