"""Questions for programs, as in MBPP (arXiv:2108.07732) and HumanEval (arXiv:2107.03374)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from east_core.answers.code.tests import tests_text


def tests_of(row: Mapping[str, Any], columns: Iterable[str]) -> str | None:
    """The tests of a row as one text, with what they need before them (MBPP), and the call of
    HumanEval's `check` behind them; None where it has none.
    """
    tests = next((text for name in columns if (text := tests_text(row.get(name)))), None)
    if tests is None:
        return None
    before = [tests_text(row.get(name)) for name in ("test_imports", "test_setup_code")]
    entry = row.get("entry_point")
    behind = f"check({entry})" if entry and "def check(" in tests else None
    return "\n".join(part for part in (*before, tests, behind) if part)


def prompt_with_tests(prompt: str, row: Mapping[str, Any]) -> str:
    """MBPP's question with its tests, which alone name the function; any other as it is."""
    tests = row.get("test_list")
    if not isinstance(tests, Sequence) or isinstance(tests, str) or not tests:
        return prompt
    shown = "\n".join(map(str, tests))
    return f"{prompt}\nYour code should pass these tests:\n\n{shown}"
