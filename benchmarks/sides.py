"""The other side of a pair: a process that measures itself once for each line of its stdin."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from benchmarks.pairs import ROOT
from east_core.config import Resources
from east_core.engines.vllm.sampler import engine_environment

Side: TypeAlias = "subprocess.Popen[str]"


def side_environment(resources: Resources) -> dict[str, str]:
    """The environment that our engines get, with all cores' threads."""
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR"}
    return {**os.environ, **engine_environment(0, 1, resources), **quiet}


@contextlib.contextmanager
def other_side(command: Sequence[str], resources: Resources) -> Iterator[Side]:
    """A module of this project with its arguments as a process, ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=side_environment(resources),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def measured(process: Side, what: str) -> float:
    """Let the other side work once; the number that it tells under this name."""
    assert process.stdin is not None
    assert process.stdout is not None
    print("go", file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith(f'{{"{what}"'):
            return float(json.loads(line)[what])
    raise RuntimeError(f"the other side ended with status {process.wait()}")
