"""Runs in a sandbox, with a model's program: loads it, and makes the calls that it is asked for.

Nothing here can be trusted once the program has run, and nothing here knows what is right.
"""

import io
import sys
from typing import Any

from inside import Channel, limit  # type: ignore[import-not-found]
from plain_values import NotPlain, decode, encode  # type: ignore[import-not-found]

_MOST_OUTPUT = 1 << 20


class Output(io.StringIO):
    """What a program prints, up to a limit."""

    def write(self, text: str) -> int:
        """Take a text; raises NotPlain beyond the limit."""
        if self.tell() + len(text) > _MOST_OUTPUT:
            raise NotPlain("printed too much")
        return super().write(text)


def outcome(work: Any) -> dict[str, Any]:
    """What work gives as plain JSON, or the kind of exception that it raised."""
    try:
        return {"gives": encode(work())}
    except MemoryError:
        return {"raises": "MemoryError"}
    except BaseException as error:
        return {"raises": type(error).__name__}


def printed(code: Any, text: str) -> str:
    """What a whole program prints when it is given `text`."""
    out = Output()
    sys.stdin, sys.stdout = io.StringIO(text), out
    try:
        exec(code, {"__name__": "__main__"})  # noqa: S102 - this is the sandbox
    except SystemExit:
        pass
    finally:
        sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__
    return out.getvalue()


def main() -> None:
    """Load a program, then serve calls."""
    channel = Channel()
    limit(*map(int, sys.argv[1:4]))
    sys.setrecursionlimit(5000)
    asked = channel.receive()
    space: dict[str, Any] = {"__name__": "program"}
    code: Any = None

    def load() -> None:
        nonlocal code
        code = compile(asked["program"], "program", "exec")
        if not asked["prints"]:
            exec(code, space)  # noqa: S102 - this is the sandbox

    channel.send(outcome(load))
    while True:
        job = channel.receive()
        if asked["prints"]:
            channel.send(outcome(lambda: printed(code, job["text"])))  # noqa: B023
            continue
        arguments = decode(job["arguments"])

        def call() -> Any:
            return space[job["name"]](*arguments[0], **arguments[1])  # noqa: B023

        channel.send(outcome(call))


main()
