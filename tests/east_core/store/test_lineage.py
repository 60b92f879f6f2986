"""The lineage of a whole run's checkpoint, as a tree and as JSON."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from east_core.errors import StoreError
from east_core.runs.run import Run
from east_core.store import Stage, Store, materialize
from east_core.store.lineage import (
    InputLink,
    Lineage,
    lineage_json,
    lineage_lines,
    open_artifact,
    trace,
)


def test_a_checkpoint_is_traced_to_the_base_model_and_the_questions(
    finished_run: Callable[[int], Run],
) -> None:
    run = finished_run(2)
    store, address = open_artifact(f"{run.store.root}/sums/round-02/checkpoint")
    assert address == "sums/round-02/checkpoint"
    lineage = trace(store, address)
    assert set(lineage.records) == {
        "sums/questions",
        "sums/base-model",
        *(
            f"sums/round-0{number}/{stage}"
            for number in (1, 2)
            for stage in ("samples", "weights", "examples", "checkpoint")
        ),
    }
    assert all(link.state == "sound" for links in lineage.links.values() for link in links)
    text = "\n".join(lineage_lines(lineage))
    for told in ("base-model", "learning_rate", '"seed"', "torch", "code 0.1.0", " s\n"):
        assert told in text
    parsed = json.loads(json.dumps(lineage_json(lineage)))
    assert parsed["artifact"] == address
    checkpoint = store.require(address)
    assert parsed["records"][address]["content"] == checkpoint.content
    assert parsed["records"][address]["versions"]["python"]


def make(store: Store, address: str, text: str, **inputs: Any) -> Any:
    return materialize(
        store,
        Stage(address, "stage", inputs=inputs),
        lambda folder: {"length": (folder / "file").write_text(text)},
    )


def test_inputs_that_are_gone_or_made_again_are_marked(tmp_path: Any) -> None:
    import shutil

    store = Store(str(tmp_path / "store"))
    gone, rebuilt = make(store, "run/gone", "a"), make(store, "run/rebuilt", "b")
    make(store, "run/child", "c", gone=gone, rebuilt=rebuilt, hub="1234")
    for name in ("gone", "rebuilt"):
        shutil.rmtree(tmp_path / "store" / "run" / name)
    make(store, "run/rebuilt", "other")
    lineage = trace(store, "run/child")
    states = {link.name: link.state for link in lineage.links["run/child"]}
    assert states == {"gone": "missing", "rebuilt": "changed", "hub": "external"}
    text = "\n".join(lineage_lines(lineage))
    assert f"gone: run/gone  MISSING (was {gone.content[:12]})" in text
    assert f"CHANGED since (was {rebuilt.content[:12]})" in text
    assert "hub: 1234" in text


def test_a_long_chain_is_no_deep_recursion(tmp_path: Any) -> None:
    record = make(Store(str(tmp_path / "store")), "run/n0", "0")
    names = [f"run/n{number}" for number in range(5000)]
    links = {
        name: (InputLink("before", record.content, before, "sound"),)
        for name, before in itertools.pairwise(names)
    }
    chain = Lineage(names[0], dict.fromkeys(names, record), {**links, names[-1]: ()})
    assert len(list(lineage_lines(chain))) == 2 * 5000 + 1


def test_what_is_no_artifact_is_named(tmp_path: Any) -> None:
    with pytest.raises(StoreError, match="there is no artifact at"):
        open_artifact(f"{tmp_path}/store/demo/round-01/checkpoint")
