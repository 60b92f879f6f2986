"""The environment of flow and server without engines: blocked here, another one for real in
tests/integration/test_two_environments.py."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.test_cli import config

# An import system without these packages, as where they are not installed.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        engines = ("torch", "vllm", "trl", "deepspeed", "accelerate", "peft", "tensorboard")
        return None if name in engines else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
EAST = WITHOUT + "from flows.commands.main import main; main()"
IMPORTS = (
    WITHOUT
    + """
import importlib, pkgutil, flows, tasks, east_core.runs, east_core.studies
for top in (flows, tasks, east_core.runs, east_core.studies):
    for module in pkgutil.walk_packages(top.__path__, top.__name__ + "."):
        importlib.import_module(module.name)
for name in ("vllm.early", "trl.training", "lm_eval.harness", "ray.sampler", "ray.training"):
    importlib.import_module("east_core.engines." + name)
"""
)


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **variables},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """A Python that has the engines, by another name than that of this one."""
    script = tmp_path / "engines" / "bin" / "python"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    script.chmod(0o755)
    return script


def test_flows_tasks_and_server_import_no_engine(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", IMPORTS)
    assert done.returncode == 0, done.stderr


def test_check_reads_the_model_here_and_asks_the_engines_python_for_the_rest(
    tmp_path: Path, engines: Path
) -> None:
    run = str(config(tmp_path))
    done = python(tmp_path, "-c", EAST, "check", run, EAST_ENGINE_PYTHON=str(engines))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # transformers' news about torch is none to a user
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("engines ")]
    assert "torch " in line
    assert line.endswith(f" at {engines}")
    assert done.stdout.splitlines()[-1].startswith("sizes      ok: ")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("", "no torch or trl in this environment: pip install 'east-self-training[cpu]' (or [gp"),
        ("/nowhere/python", "EAST_ENGINE_PYTHON=/nowhere/python can't be started: No such file"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_without_engines_a_run_is_refused_in_one_line_before_anything_starts(
    tmp_path: Path, command: str, named: str, message: str
) -> None:
    done = python(tmp_path, "-c", EAST, command, str(config(tmp_path)), EAST_ENGINE_PYTHON=named)
    assert done.returncode == 2
    assert done.stderr.startswith(f"east: {message}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store").glob("[!.]*"))
