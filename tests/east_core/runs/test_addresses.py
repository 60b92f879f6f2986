"""Addresses and file names of a run are spelled in one module, and read back by it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from east_core.runs import addresses
from east_core.runs.addresses import Part, RunAddresses, is_shard, part_of, shard_address

ROOT = Path(__file__).parents[3]
HOME = ROOT / "east_core/runs/addresses.py"
AT = RunAddresses("demo")
# A file's name that an engine writes has its home in the protocol between engines and runs.
ELSEWHERE = {"training.jsonl": ROOT / "east_core/protocols.py"}
FILES = {
    value.rsplit("/", 1)[-1]
    for name, value in vars(addresses).items()
    if isinstance(value, str) and re.search(r"\.(json|parquet|png|html|md)$", value)
} | ELSEWHERE.keys()


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module, parts of f-strings included, docstrings left out."""
    tree = ast.parse(path.read_text("utf-8"))
    told = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
            yield node.lineno, node.value


def spells(text: str) -> bool:
    """Whether a text is (a part of) an address or a file name; sentences with examples are not."""
    if " " in text.strip():
        return False
    folders = r"(^|/)(round-|scores/|benchmarks/|history/|comparison/|averages/)"
    address = rf"{folders}|/(checkpoint|config|report)$"
    return re.search(address, text) is not None or text.rsplit("/", 1)[-1] in FILES


def test_no_other_module_spells_an_address() -> None:
    modules = [p for room in ("east_core", "tasks", "flows") for p in (ROOT / room).rglob("*.py")]
    homes = {HOME, *ELSEWHERE.values()}
    allowed = {
        ("config.json", "east_core"),  # a model's own file, whose name is not ours
        ("/run/{name}/report", "flows"),  # a page of the run browser, not a place in the store
    }
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text!r}"
        for path in modules
        if path not in homes
        for line, text in strings(path)
        if spells(text) and (text, path.relative_to(ROOT).parts[0]) not in allowed
    ]
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_is_for(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        'f"{run}/round-{n:02d}/checkpoint"\nx = f"{a}/scores/{b}"\ny = "predictions.parquet"\n'
        'z = f"{run}/config"\n"such as demo/round-02"\n'
    )
    assert {line for line, text in strings(module) if spells(text)} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("address", "part"),
    [
        (AT.config, Part("config")),
        (AT.questions, Part("questions")),
        (AT.benchmark("gsm8k"), Part("benchmarks", None, "gsm8k")),
        (AT.extension(3), Part("rounds", None, "0003")),
        (AT.average("0x0.5-3x0.5"), Part("averages", None, "0x0.5-3x0.5")),
        (AT.checkpoint(0), Part("base-model")),
        (AT.checkpoint(12), Part("checkpoint", 12)),
        (AT.samples(1), Part("samples", 1)),
        (shard_address(AT.samples(1), range(500, 1000)), Part("samples", 1, "0000500-0000999")),
        (AT.scores(0, "gsm8k"), Part("scores", 0, "gsm8k")),
        (AT.round_report(123), Part("report", 123)),
    ],
)
def test_what_is_written_is_read_back(address: str, part: Part) -> None:
    assert part_of(address) == part
    assert RunAddresses("other").part(address) is None


@pytest.mark.parametrize("address", ["demo", "line/history/0001", "demo/round-01", "demo/config/x"])
def test_what_is_no_run_has_no_part(address: str) -> None:
    assert part_of(address) is None


def test_shards_are_known_and_give_their_questions() -> None:
    shard = shard_address(AT.samples(1), range(500, 1000))
    assert is_shard(shard)
    assert not is_shard(AT.samples(1))
    assert addresses.shard_questions(shard) == range(500, 1000)
