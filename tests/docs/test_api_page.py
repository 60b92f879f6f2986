"""docs/api.md shows the public face: all of it, and with code that runs."""

import re
from pathlib import Path

import pytest

import east_core
from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")


def test_the_page_lists_every_public_name_and_no_other() -> None:
    listed = re.findall(r"`(\w+)`", PAGE.split("## All names")[1])
    assert sorted(listed) == sorted(set(listed)) == sorted(east_core.__all__)


def test_the_code_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sums_config(tmp_path, name="demo", rounds=1, store=str(tmp_path / ".east" / "store"))
    finish(Run.open(settings), ScriptedSampler(), InstantTrainer())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        exec(compile(block, "docs/api.md", "exec"), names)


def test_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    block, said = re.findall(r"```python\n(.*?)```\n\nprints\n\n(.*?)\n\n\S", PAGE, re.DOTALL)[0]
    exec(compile(block, "docs/api.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [line.strip() for line in said.splitlines()]
