"""The program of a worker that matches a user's regular expression, in a child that it can lose.

Started as `python -P pattern_worker.py FD SECONDS MEGABYTES SETTINGS`; limits and child are those
of function_worker.py. A pattern may take exponential time, which nothing within a process ends.
"""

import json
import re
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from east_core.records import Question


class PatternFunctions:
    """A regular expression as grading functions: answers are equal where they are the same."""

    key: Any = str
    same: Any = None
    accepts: Any = None

    def __init__(self, pattern: str, flags: int) -> None:
        self._pattern = re.compile(pattern, flags)

    def extract(self, completion: str, question: "Question") -> str | None:  # noqa: ARG002
        """The first group of the last match, or all of it where there is no group."""
        found = None
        for found in self._pattern.finditer(completion):  # noqa: B007 - the last one
            pass
        if found is None:
            return None
        answer: str | None = found[1] if self._pattern.groups else found[0]
        return answer


def main() -> None:
    """Serve until the other end closes."""
    descriptor, seconds, megabytes = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    settings = json.loads(sys.argv[4])
    sys.path[:] = settings["path"]
    from east_core.answers.function_worker import serve

    parent = Connection(descriptor)
    parent.send_bytes(b"ready")
    functions = PatternFunctions(settings["pattern"], settings["flags"])
    serve(parent, functions, (seconds, megabytes))


if __name__ == "__main__":
    main()
