"""`make check-gpu`, as far as a machine without a GPU goes."""

from pathlib import Path

import pytest

from benchmarks.check_gpu import Part, check, page_of


def test_what_works_what_can_not_and_what_fails_are_told_apart(tmp_path: Path) -> None:
    fine = check("machine", "cpu", tmp_path)
    assert (fine.result, fine.output) == ("ok", "")
    assert "torch 2" in fine.found
    missing = check("machine", "cuda", tmp_path)
    assert missing.result == "FAILED"
    assert "PyTorch sees no GPU" in missing.found
    assert missing.output
    assert check("sleep", "cpu", tmp_path).result == "not run"
    late = check("losses", "cpu", tmp_path, limit=0.1)
    assert (late.result, late.found) == ("FAILED", "took longer than 0 s")


def test_a_part_that_crashes_is_told_with_its_last_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text("import os, sys\nprint('gone')\nos._exit(7)\n")
    crashed = check("machine", "cpu", tmp_path)
    assert (crashed.result, crashed.found) == ("FAILED", "it ended in between")
    assert crashed.output == "gone"


def test_the_page_keeps_its_table_whatever_a_part_tells() -> None:
    page = page_of([Part("losses", "FAILED", "a | b", 1.2, "```\nlast words")])
    assert "| losses | FAILED | a \\| b | 1 |" in page
    assert "'''\nlast words\n```" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ranks", "losses", "resume", "training", "sampling"])
def test_the_parts_hold_on_a_cpu(tmp_path: Path, name: str) -> None:
    part = check(name, "cpu", tmp_path, limit=600)
    assert part.result == "ok", f"{part.found}\n{part.output}"
