"""docs/adding.md is complete: each change is applied to a copy of the code, and used."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import east_core.engines
from east_core.runs import start
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.store import Stage, Store, materialize
from east_core.testing.fakes import InstantTrainer
from tests.east_core.conftest import finish, sums_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
EDIT = re.compile(r'^```diff title="(.+?)"\n(.*?)^```', re.DOTALL | re.MULTILINE)


def apply(section: str, tree: Path) -> None:
    """Make the changes of a section of the page in a copy of the code."""
    for name, diff in EDIT.findall(SECTIONS[section]):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text("utf-8") if path.exists() else ""
        for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] in " -")
            assert text.count(old) == 1 or not text, f"{name} no longer has: {old}"
            text = text.replace(old, "".join(line[1:] for line in lines if line[0] in " +"), 1)
        path.write_text(text, "utf-8")


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str], str]:
    """Call it with a section and code: the code's output where the section's changes are made."""

    def run(section: str, code: str) -> str:
        for package in ("east_core", "tasks", "flows"):
            unneeded = shutil.ignore_patterns("__pycache__", "*.jsonl", "seed_model")
            shutil.copytree(ROOT / package, tmp_path / "code" / package, ignore=unneeded)
        apply(section, tmp_path / "code")
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def east(*arguments: object) -> str:
    """Code that runs the command line."""
    argv = ["east", *map(str, arguments)]
    return f"import sys; sys.argv = {argv!r}; from flows.commands.main import main; main()"


def responses(folder: Path, *texts: str) -> Path:
    row = {"id": "q", "gold": "7", "responses": list(texts)}
    path = folder / "responses.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path


def test_each_change_takes_at_most_two_files() -> None:
    words = {"weighting", "loss", "grader", "engine", "store", "data set format", "command"}
    assert {re.sub("^An? ", "", name) for name in SECTIONS} == words
    for name, section in SECTIONS.items():
        assert len({file for file, _ in EDIT.findall(section)}) <= 2, name


def test_a_weighting(changed: Callable[[str, str], str], tmp_path: Path) -> None:
    source = responses(tmp_path, r"\boxed{7}", r"\boxed{8}")
    out = tmp_path / "weights.jsonl"
    changed("A weighting", east("weigh", source, "--out", out, "--weighting", "tie"))
    assert json.loads(out.read_text())["weight"] == 1.0


def test_a_loss(changed: Callable[[str, str], str], tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('name = "x"\n[training]\nloss = "dpo"\nvariant = "hinge"\nbeta = 0.5\n')
    code = f"""
import torch
from pathlib import Path
from east_core import dpo_losses, load_config
recipe = load_config(Path({str(config)!r})).training
print(dpo_losses(torch.tensor([1.0]), torch.tensor([0.0]), recipe.beta, recipe.variant).item())
"""
    assert float(changed("A loss", code)) == 0.5


def test_a_grader(changed: Callable[[str, str], str], tmp_path: Path) -> None:
    source = tmp_path / "responses.jsonl"
    texts = [r"\boxed{Tinsel}", r"\boxed{listen}", r"\boxed{tins}"]
    source.write_text(json.dumps({"id": "q", "gold": "silent", "responses": texts}))
    out = tmp_path / "weights.jsonl"
    changed("A grader", east("weigh", source, "--out", out, "--grading", "letters"))
    assert json.loads(out.read_text())["accuracy"] == 2 / 3


def test_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apply("An engine", tmp_path / "code")
    folders = [*east_core.engines.__path__, str(tmp_path / "code" / "east_core" / "engines")]
    monkeypatch.setattr(east_core.engines, "__path__", folders)
    from east_core.engines.echo.sampler import EchoSampler  # type: ignore[import-not-found]

    weighting = {"kind": "uniform", "drop_unanimous": False}
    config = sums_config(tmp_path, rounds=1, weighting=weighting)
    run = Run.open(config)
    finish(run, EchoSampler(), InstantTrainer())
    rounds = summarise(run.store, config.name)
    assert [summary.accuracy["sums"].value for summary in rounds] == [1.0, 1.0]


def test_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    exec(re.findall(r"```python\n(.*?)```", SECTIONS["A store"], re.DOTALL)[0], {})
    store = Store("shelf://mine/runs")

    def build(folder: Path) -> dict[str, object]:
        (folder / "a.txt").write_text("kept")
        return {"files": 1}

    record = materialize(store, Stage("run/a", "a", {"x": 1}, {}, 1), build)
    assert record == Store("shelf://mine/runs").require("run/a")
    assert (store.fetch(record) / "a.txt").read_text() == "kept"


def test_a_data_set_format(changed: Callable[[str, str], str], tmp_path: Path) -> None:
    rows = tmp_path / "svamp.jsonl"
    rows.write_text('{"ID": "s1", "question_concat": "3 + 4?", "Answer": "7", "Type": "Sum"}\n')
    code = f"""
from east_core import DatasetConfig
from east_core.inputs.questions import load_questions
question, = load_questions(DatasetConfig(path={str(rows)!r}, format="svamp"))
print(question.id, question.prompt, question.answer, question.subject)
"""
    assert changed("A data set format", code) == "s1 3 + 4? 7 Sum\n"


def test_a_command(changed: Callable[[str, str], str], tmp_path: Path) -> None:
    run = Run.open(sums_config(tmp_path / "run"))
    start.freeze_questions(run)
    url = f"{run.store.root}/{run.config.name}"
    assert changed("A command", east("where", url, "questions")).strip() == f"{url}/questions"
