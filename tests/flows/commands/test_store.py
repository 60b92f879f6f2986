"""`east runs`, `lineage`, `verify` and `prune` through the command line's front door."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from east_core.errors import DataError
from east_core.runs.addresses import VIEWS
from east_core.store import Stage, Store, materialize
from flows.commands import store as store_commands

app = typer.Typer()
for command in (
    store_commands.runs,
    store_commands.lineage,
    store_commands.verify,
    store_commands.prune,
):
    app.command()(command)


def weights(path: Path) -> dict[str, int]:
    return {"steps": path.write_bytes(b"0" * 2048)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "store"))
    frozen = Stage("demo/questions", "questions", recipe={"seed": 1})
    questions = materialize(
        store, frozen, lambda folder: {"questions": (folder / "q.jsonl").write_text("{}")}
    )
    for number in (1, 2):
        stage = Stage(
            f"demo/round-0{number}/checkpoint",
            "checkpoint",
            recipe={"seed": number},
            inputs={"questions": questions},
        )
        materialize(store, stage, lambda folder: weights(folder / "model.safetensors"))
    return store


def east(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_runs(store: Store) -> None:
    assert "demo" in east("runs", store.root)
    [run] = json.loads(east("runs", store.root, "--json"))
    assert run["rounds"] == 2
    assert "no runs" in east("runs", f"{store.root}/nothing")


def test_lineage(store: Store) -> None:
    url = f"{store.root}/demo/round-02/checkpoint"
    assert "questions: demo/questions" in east("lineage", url)
    records = json.loads(east("lineage", url, "--json"))["records"]
    assert set(records) == {"demo/questions", "demo/round-02/checkpoint"}


def test_verify_exits_with_1_on_damage(store: Store) -> None:
    assert "all as recorded" in east("verify", f"{store.root}/demo")
    weights = Path(store.root) / "demo/round-01/checkpoint/model.safetensors"
    weights.write_bytes(b"0" * 2047 + b"1")
    output = east("verify", f"{store.root}/demo", code=1)
    assert "damaged    demo/round-01/checkpoint/model.safetensors" in output
    assert not json.loads(east("verify", f"{store.root}/demo", "--json", code=1))["is_sound"]


def test_verify_of_a_run_that_is_not_there_is_an_error(store: Store) -> None:
    result = CliRunner().invoke(app, ["verify", f"{store.root}/dema"])
    assert isinstance(result.exception, DataError)
    assert "no run or artifact 'dema'" in str(result.exception)


def test_verify_knows_the_files_that_east_itself_puts_beside_artifacts(store: Store) -> None:
    for view in VIEWS:
        (Path(store.root) / "demo" / view).write_text("for people and programs")
    assert "unrecorded" not in east("verify", f"{store.root}/demo")
    (Path(store.root) / "demo" / "round-01" / VIEWS[0]).write_text("of somebody else")
    assert "unrecorded demo/round-01" in east("verify", f"{store.root}/demo")


def test_prune_dry_run_deletes_nothing(store: Store) -> None:
    weights = Path(store.root) / "demo/round-01/checkpoint/model.safetensors"
    url = f"{store.root}/demo"
    assert "goes" in east("prune", url, "--keep", "last:1", "--dry-run")
    assert weights.exists()
    assert "freed 0.0 MiB" in east("prune", url, "--keep", "all")
    east("prune", url, "--keep", "last:1")
    assert not weights.exists()
    assert "all as recorded" in east("verify", url)


def test_what_a_store_holds_cannot_steer_the_terminal(tmp_path: Path) -> None:
    url = str(tmp_path / "store")
    recipe = {"seed": "\x1b]0;owned\x07", "\x1b[2J": 1}
    materialize(Store(url), Stage("demo/questions", "\x1b[31mred", recipe=recipe), lambda _: None)
    (tmp_path / "store" / "demo" / "stray\x1b[2J").write_text("")
    for output in (
        east("lineage", f"{url}/demo/questions"),
        east("lineage", f"{url}/demo/questions", "--json"),
        east("verify", f"{url}/demo"),
    ):
        assert "\x1b" not in output


def test_every_command_prints_through_say() -> None:
    folder = Path(__file__).parents[3] / "flows" / "commands"
    bare = {path.name for path in folder.glob("*.py") if "typer.echo(" in path.read_text()}
    assert bare == {"say.py"}
