"""Whether programs can be run in a sandbox here, asked of bubblewrap itself and not of our code."""

import shutil
import subprocess

import pytest


def _missing() -> str:
    """What is missing; nothing where bubblewrap makes its namespaces."""
    if shutil.which("bwrap") is None:
        return "the package bubblewrap is not installed"
    command = ["bwrap", "--unshare-user", "--unshare-net", "--unshare-pid", "--ro-bind", "/", "/"]
    done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"bubblewrap can't work here: {done.stderr.strip()}"


_WHY = _missing()
needs_sandbox = pytest.mark.skipif(bool(_WHY), reason=_WHY)
