"""Benchmarks, tests and the product: who may import whom."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("east_core", "tasks", "flows")


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """(file, module) of every import below a folder, also of those inside functions."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((str(path), name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield str(path), node.module or ""


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("tests", ("benchmarks",)),
        ("benchmarks", ("tests",)),
        *((folder, ("benchmarks", "tests")) for folder in PRODUCT),
    ],
)
def test_neither_imports_the_other(folder: str, others: tuple[str, ...]) -> None:
    found = list(imported(folder))
    assert len(found) > 20
    assert [(file, name) for file, name in found if name.split(".")[0] in others] == []
