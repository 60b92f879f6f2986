"""A number of the environment that is none is told in one line, by its name."""

from pathlib import Path

import pytest

from east_core.errors import StoreError
from east_core.store import Store
from east_core.store.environment import number
from east_core.store.scratch import sweep_scratch

NONE = ["ten", "-1", "nan", "inf", "1e999"]


def test_what_is_set_counts_and_the_default_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EAST_CACHE_GIB", raising=False)
    assert number("EAST_CACHE_GIB", 100.0) == 100.0
    for told, value in (("", 100.0), ("0", 0.0), (" 2.5 ", 2.5)):
        monkeypatch.setenv("EAST_CACHE_GIB", told)
        assert number("EAST_CACHE_GIB", 100.0) == value


@pytest.mark.parametrize("told", NONE)
def test_no_number_is_one_line(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAST_CACHE_GIB", told)
    with pytest.raises(StoreError, match=r"EAST_CACHE_GIB is .*set a number") as caught:
        Store(f"memory://{tmp_path.name}", tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("EAST_SCRATCH_DAYS", told)
    with pytest.raises(StoreError, match=r"EAST_SCRATCH_DAYS is .*set a number"):
        sweep_scratch(tmp_path)
