"""Engines in a Python with an environment of its own: what is refused, handed on, and recorded."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import east_core
from east_core import installed
from east_core.config import Resources
from east_core.config.passed_on import engine_names, engine_problem
from east_core.engine_python import (
    PYTHON,
    engine_python,
    engine_variables,
    engines_told,
    require_engines,
)
from east_core.engines.devices import require_means
from east_core.engines.lm_eval.environment import harness_python
from east_core.engines.processes import engine_process
from east_core.errors import ConfigError
from east_core.store.provenance import library_versions

SOURCE = str(Path(east_core.__file__).resolve().parent)
ALL = dict.fromkeys(installed.ENGINE_MODULES, "/nowhere")
VERSIONS = {"torch": "9.1", "trl": "9.2", "vllm": "9.3", "transformers": "9.4", "prefect": "9.5"}
Place = Callable[[str], Path]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Makes EAST_ENGINE_PYTHON name a shell script of these lines."""

    def named(lines: str) -> Path:
        script = tmp_path / "their bin" / "python"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\n{lines}\n")
        script.chmod(0o755)
        monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv(PYTHON, str(script))
        return script

    return named


def telling(**changes: object) -> str:
    """A Python that tells these facts of itself."""
    facts = {"python": "3.12.1", "versions": VERSIONS, "folders": ALL, "source": SOURCE, **changes}
    return f"echo {shlex.quote(json.dumps(facts))}"


def passing_on(before: str = "") -> str:
    """This Python under another name."""
    return f'{before}\nexec {shlex.quote(sys.executable)} "$@"'


def test_engines_are_in_this_environment_where_nothing_else_is_said() -> None:
    assert engine_python() == sys.executable
    assert engine_variables() == {}
    require_engines()
    assert engines_told().endswith(", in this environment")


@pytest.mark.parametrize("name", ["/nowhere/bin/python", "no-such-python"])
def test_a_python_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(PYTHON, name)
    with pytest.raises(ConfigError, match=rf"{PYTHON}=/.*python can't be started: No such file"):
        require_means(Resources(device="cpu"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("true", "is no Python: it does not run .*installed.py; name the Python of"),
        ("exit 3", "is no Python: "),
        ('cat "$1"', "is no Python: "),
        ("echo 17", "is no Python: "),
        (telling(python="3.9.2"), "is Python 3.9.2; 3.11 or newer is needed"),
        (
            telling(folders={}),
            r"has no torch, .*-m pip install 'east-self-training\[cpu\]' \(or \[",
        ),
        (telling(source="/old/east_core"), "does not import the source .*, but /old/east_core; "),
    ],
)
def test_a_python_that_can_hold_no_engines_is_refused_in_one_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    python = place(script)
    with pytest.raises(ConfigError, match=message) as refused:
        require_means(Resources(device="cpu"))
    assert str(refused.value).startswith(f"{PYTHON}={python} ")
    assert "\n" not in str(refused.value)


def test_one_library_that_is_missing_is_named_with_the_command_that_installs_it(
    place: Place,
) -> None:
    folders = {name: folder for name, folder in ALL.items() if name != "lazy_loader"}
    python = place(telling(folders=folders))
    with pytest.raises(ConfigError, match=f"{python} -m pip install lazy-loader$"):
        require_engines()


def test_without_engines_here_their_extras_and_the_variable_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = east_core.engine_python.Installed("3.12.1", {}, {"numpy": "/nowhere"}, SOURCE)
    monkeypatch.setattr("east_core.engine_python.installed_here", lambda: here)
    with pytest.raises(ConfigError, match=rf"no torch or .*-self-training\[cpu\].* {PYTHON}"):
        require_engines()


def test_a_child_runs_there_with_our_source_and_nothing_else_of_our_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = place(passing_on('echo "$PYTHONPATH" >> "$(dirname "$0")/calls"')).with_name("calls")
    monkeypatch.setenv("PYTHONPATH", "/libraries/of/another/environment")
    program = (
        "import json, os, east_core; names = ('PYTHONPATH', 'PATH', 'EAST_ENGINE_PYTHON'); "
        "print(json.dumps([east_core.__file__, *(os.environ[name] for name in names)]))"
    )
    with engine_process(["-c", program]) as child:
        *_, last = child.lines()
        assert child.wait() == 0
    imported, path, commands, named = json.loads(last)
    assert str(Path(imported).resolve().parent) == SOURCE
    assert [each.name for each in Path(path).iterdir()] == ["east_core"]
    assert commands.split(os.pathsep)[0] == str(calls.parent)
    assert named == ""  # the child is the engines' Python
    assert calls.read_text().splitlines() == [path, path]  # the supervisor's, the command's


def test_its_versions_are_those_that_are_recorded_and_told(place: Place) -> None:
    here = installed.facts()["versions"]
    place(telling())
    told = library_versions()
    assert told["torch"] == "9.1"
    assert told["python of engines"] == "3.12.1"
    assert told["prefect"] == here["prefect"]
    assert "deepspeed" not in told  # it has none, whatever is installed here


def test_what_differs_from_what_was_tried_or_from_here_is_told(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = installed.facts()["versions"]
    bounds = ["trl>=1.16,<1.17", "vllm==9.3; extra == 'gpu'", "pandas>=3,<4", "torch>=9.1,<9.2"]
    monkeypatch.setattr(installed, "requirements_of", lambda _: bounds)
    python = place(telling())
    assert engines_told() == (
        f"torch 9.1, transformers 9.4, trl 9.2, vllm 9.3, Python 3.12.1 at {python}; "
        "trl 9.2 is untried (<1.17,>=1.16 is tried); transformers "
        f"is {here['transformers']} here and 9.4 there; tokenizers is {here['tokenizers']} here "
        "and None there"
    )


def test_names_of_options_are_those_of_its_vllm(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "vllm"
    (folder / "engine").mkdir(parents=True)
    source = "class EngineArgs:\n    warp_speed: int = 1\n"
    (folder / "engine" / "arg_utils.py").write_text(source)
    place(telling(folders={**ALL, "vllm": str(folder)}))
    assert engine_names() == {"warp_speed"}
    assert engine_problem({"warp_speed": 2}) is None
    assert "did you mean warp_speed" in str(engine_problem({"warp_sped": 2}))


def test_a_tracker_is_needed_on_both_sides(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    python = place(telling())
    asked = Resources(device="cpu", trackers=("wandb",))
    with pytest.raises(ConfigError, match=f"not installed for the engines; {python} -m pip inst"):
        require_means(asked)


def test_the_harness_is_looked_for_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EAST_LM_EVAL_PYTHON", raising=False)
    python = place('echo "lm_eval"')
    assert harness_python() == str(python)


def test_what_is_installed_is_told_without_importing_it() -> None:
    program = "import json, sys; from east_core import installed; installed.facts(); "
    program += "print([name for name in installed.ENGINE_MODULES if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"lazy_loader"}


def test_a_python_that_has_nothing_tells_so() -> None:
    bare = [sys.executable, "-I", "-S", installed.__file__]
    done = subprocess.run(bare, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["folders"] == told["versions"] == {}
    assert told["python"] == sys.version.split()[0]
