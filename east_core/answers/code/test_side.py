"""Runs in a sandbox of its own, with a question's tests: the model's program is never here.

What the tests call is asked of the program's sandbox, and comes back as plain values. Every assert
counts: one that fails does not end the others.
"""

import ast
import sys
from typing import Any

from inside import Channel, limit  # type: ignore[import-not-found]
from plain_values import decode, encode  # type: ignore[import-not-found]

MOST_RESULTS = 10_000


class Failed(Exception):
    """What a call of the program raised."""


class Asserts(ast.NodeTransformer):
    """`assert a` -> `try: assert a; except ...: note`, and a note where it holds."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """One assert that is noted."""
        noted = ast.parse(
            "try:\n pass\nexcept BaseException as e:\n __note(e)\nelse:\n __note(None)"
        )
        attempt = noted.body[0]
        assert isinstance(attempt, ast.Try)
        attempt.body = [node]
        return ast.copy_location(attempt, node)


def _kind(error: BaseException | None) -> str:
    return type(error).__name__


def main() -> None:
    """Run the tests; one message for each call, and one with the results at the end."""
    channel = Channel()
    limit(*map(int, sys.argv[1:4]))
    asked = channel.receive()
    results: list[str] = []

    def note(error: BaseException | None) -> None:
        if len(results) < MOST_RESULTS:
            failed = "failed" if isinstance(error, AssertionError) else f"raised {_kind(error)}"
            results.append("passed" if error is None else failed)

    def stand_in(name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            channel.send({"name": name, "arguments": encode([list(args), kwargs])})
            reply = channel.receive()
            if "gives" not in reply:
                raise Failed(reply["raises"])
            return decode(reply["gives"])

        return call

    space = {"__name__": "tests", "__note": note}
    space |= {name: stand_in(name) for name in asked["names"]}
    try:
        tree = ast.fix_missing_locations(Asserts().visit(ast.parse(asked["tests"])))
        exec(compile(tree, "tests", "exec"), space)  # noqa: S102 - this is a sandbox
    except BaseException as error:
        note(error)
    channel.send({"results": results})


main()
