"""Which Python has lm-evaluation-harness: one of its own, as its pins need not fit ours."""

import os
import subprocess
from pathlib import Path

from east_core.engine_python import engine_python
from east_core.errors import ConfigError

PYTHON = "EAST_LM_EVAL_PYTHON"
INSTALL = (
    'python -m venv ~/lm-eval && ~/lm-eval/bin/pip install "lm_eval[hf]", then set '
    f"{PYTHON}=~/lm-eval/bin/python (where the worker runs, too)"
)
_ASK = (
    "import sys; from importlib.util import find_spec; sys.path[:] = filter(None, sys.path); "
    "print(*filter(find_spec, ('lm_eval', 'vllm')))"
)
_ASK_SECONDS = 60.0


def harness_python() -> str:
    """The Python that $EAST_LM_EVAL_PYTHON names, else the engines', if it has the harness.

    Raises ConfigError, with the commands that install it, where there is none.
    """
    python = str(Path(os.environ.get(PYTHON) or engine_python()).expanduser())
    if "lm_eval" not in packages(python):
        where = f"{PYTHON}={python}" if os.environ.get(PYTHON) else f"the engines' {python}"
        raise ConfigError(
            f"a benchmark is a task of lm-evaluation-harness, which is not in {where}: {INSTALL}"
        )
    return python


def packages(python: str) -> list[str]:
    """Which of lm_eval and vllm a Python has. Raises ConfigError where it can't be started."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK], capture_output=True, check=True, text=True, timeout=_ASK_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"{PYTHON}={python} is no Python that can be started ({error}); {INSTALL}"
        ) from error
    return done.stdout.split()
