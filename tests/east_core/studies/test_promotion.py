"""Champions and their history, on a store in a temporary folder."""

import json
from pathlib import Path

import pytest

from east_core.errors import ArtifactConflict, ConfigError
from east_core.evaluation.estimates import paired_difference
from east_core.store import Store
from east_core.studies.promotion import (
    BASE,
    Entry,
    Margin,
    PairedTest,
    champion,
    history,
    mark,
    record_entry,
    roll_back,
)


def checkpoint(store: Store, address: str) -> str:
    from east_core.store import Stage, materialize

    def build(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(address.encode())

    return materialize(store, Stage(address, "checkpoint"), build).address


def promoted(store: Store, number: int) -> Entry:
    address = checkpoint(store, f"line-{number:04d}/round-01/checkpoint")
    entry = Entry(number, "promoted", address, f"line-{number:04d}", "better", {"a.jsonl": number})
    return record_entry(store, "line", entry)


def test_a_line_without_decisions_uses_the_base_model(tmp_path: Path) -> None:
    assert history(Store(str(tmp_path)), "line") == []
    assert champion([]) == BASE
    assert mark([]) == {}


def test_the_last_decision_names_the_champion_and_the_pointer_says_the_same(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    promoted(store, 1)
    second = promoted(store, 2)
    assert champion(history(store, "line")) == second.champion
    pointer = json.loads((tmp_path / "line" / "champion.json").read_text())
    assert pointer["champion"] == second.champion
    assert Path(pointer["url"], "model.safetensors").is_file()


def test_rollbacks_go_back_one_promotion_at_a_time_and_stay_in_the_history(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first, second = promoted(store, 1), promoted(store, 2)
    assert roll_back(store, "line", "too terse").champion == first.champion
    assert roll_back(store, "line", "all of it").champion == BASE
    actions = [entry.action for entry in history(store, "line")]
    assert actions == ["promoted", "promoted", "rolled back", "rolled back"]
    assert second.champion in [entry.champion for entry in history(store, "line")]


def test_a_promotion_after_a_rollback_rolls_back_to_what_was_in_use_before_it(
    tmp_path: Path,
) -> None:
    store = Store(str(tmp_path))
    first = promoted(store, 1)
    promoted(store, 2)
    roll_back(store, "line", "worse in use")
    promoted(store, 4)
    assert roll_back(store, "line", "also worse").champion == first.champion


def test_a_rollback_keeps_the_mark_so_that_questions_are_not_used_twice(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    promoted(store, 1)
    assert roll_back(store, "line", "why not").mark == {"a.jsonl": 1}


def test_without_a_promotion_there_is_nothing_to_roll_back(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no promotion to roll back"):
        roll_back(Store(str(tmp_path)), "line", "by mistake")


def test_two_writers_can_not_both_take_one_decision(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    promoted(store, 1)
    other = Entry(1, "kept", BASE, "line-0001", "worse", {})
    with pytest.raises(ArtifactConflict, match="taken by another run"):
        record_entry(store, "line", other)


def outcomes(learnt: int, unlearnt: int, same: int) -> tuple[list[bool], list[bool]]:
    return (
        [False] * learnt + [True] * unlearnt + [True] * same,
        [True] * learnt + [False] * unlearnt + [True] * same,
    )


@pytest.mark.parametrize(
    ("learnt", "unlearnt", "paired", "margin"),
    [
        (5, 0, False, True),  # exact p = 2 / 2^5 = 0.0625: may be chance
        (6, 0, True, True),  # 2 / 2^6 = 0.03125
        (0, 6, False, False),  # as sure, but worse
        (1, 0, False, True),  # 1 of 100 questions is the margin itself
        (0, 0, False, False),
    ],
)
def test_the_rules_decide_as_stated(learnt: int, unlearnt: int, paired: bool, margin: bool) -> None:
    before, after = outcomes(learnt, unlearnt, 100 - learnt - unlearnt)
    difference = paired_difference(before, after)
    assert PairedTest(significance=0.05).accepts(difference) is paired
    assert Margin(points=1.0).accepts(difference) is margin
