"""The sandboxed side's end of its pipe, and its limits. Imports nothing of east_core."""

import json
import os
import resource
import sys
from typing import Any, TextIO


def limit(seconds: int, megabytes: int, file_megabytes: int) -> None:
    """Bound CPU time, memory, files and open files of this process, for good.

    Out of CPU time ends by SIGXCPU, so that SIGKILL is somebody else's (Sandbox.was_killed); one
    that ignores it has a second more.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    limits = {
        resource.RLIMIT_AS: megabytes << 20,
        resource.RLIMIT_FSIZE: file_megabytes << 20,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_CORE: 0,
    }
    for name, most in limits.items():
        resource.setrlimit(name, (most, most))


class Channel:
    """Lines of JSON over what were standard input and output; those now lead nowhere."""

    def __init__(self) -> None:
        self._in: TextIO = os.fdopen(os.dup(0), encoding="utf-8")
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)

    def receive(self) -> Any:
        """The next message; the process ends where there is none."""
        line = self._in.readline()
        if not line:
            sys.exit(0)
        return json.loads(line)

    def send(self, message: Any) -> None:
        """Pass a message on."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()
