"""What becomes of a run when something fails: each test is a row of docs/reliability.md.

    make faults                                          all rows, and the page (goes on if stopped)
    pytest -m faults tests/integration/faults -k NAME    single rows

A row disturbs a run at one place, runs it again to its end, and compares with an undisturbed run:
no record that stood when the fault struck may be made again, and every artifact must have the same
content hash.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from east_core.runs import addresses
from east_core.store.provenance import code_version
from tests.integration.faults import kills, store_faults
from tests.integration.faults.bench import Bench
from tests.integration.faults.scene import STAGES, Engines, Row, Scene
from tests.integration.faults.table import Result, differing, repeated, table
from tests.integration.pages import markers, write_table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = markers("faults")
ROWS = (*kills.ROWS, *store_faults.ROWS)
# What a run of the rows doesn't make: parts of a stage, and what only other settings lead to.
SOMETIMES = {
    "round-01/samples/{shard}", "round-01/nothing-kept", "rounds/0005", "template-date",
    "report.html", "averages",
    "stops/0003", "replay", "live.json",
}  # fmt: skip
GOOD = Result("flow-start", "killed", True, 4, [], [], "0.1.0")
Baseline = Callable[[Engines], dict[str, str]]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("faults")) as bench:
        yield bench


@pytest.fixture(scope="session")
def baseline(bench: Bench) -> Baseline:
    """The content hashes of an undisturbed run with those engines, made when first asked for."""
    made: dict[str, dict[str, str]] = {}

    def contents(engines: Engines) -> dict[str, str]:
        if engines not in made:
            scene = Scene(bench, f"baseline-{engines}", engines)
            ended = scene.run()
            assert ended.status == 0, ended.output[-3000:]
            made[engines] = scene.contents()
        return made[engines]

    return contents


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> Iterator[dict[str, Result]]:
    """The results of all rows; with --write-pages those of earlier calls too, and the page."""
    writes = bool(pytestconfig.getoption("--write-pages"))
    cache = pytestconfig.cache
    assert cache is not None
    kept = ((row.name, cache.get(f"faults/{row.name}", None)) for row in ROWS)
    found = {name: Result(**told) for name, told in kept if told} if writes else {}
    yield found
    for name, result in found.items():
        cache.set(f"faults/{name}", asdict(result))
    if writes:
        write_table(PAGE, "faults", table(ROWS, found))


@pytest.mark.faults
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_disturbed_run_ends_like_an_undisturbed_one(
    row: Row, bench: Bench, baseline: Baseline, results: dict[str, Result]
) -> None:
    if row.mounts and os.geteuid():
        pytest.skip("it mounts a small disk, which needs root")
    known = results.get(row.name)
    if known and known.holds and known.code_version == code_version():
        pytest.skip("it held with this code already; --cache-clear forgets that")
    with bench.row():
        expected = baseline(row.engines)
        result = results[row.name] = disturbed(bench, row, expected)
    assert result.finished, result.outcome
    assert not result.repeated
    assert not result.differing


def disturbed(bench: Bench, row: Row, expected: dict[str, str]) -> Result:
    """Disturb a run, run it again, and compare."""
    scene = Scene(bench, row.name, row.engines, row.on_s3)
    outcome = row.disturb(scene)
    ended = (scene.rerun or scene.run)()
    if ended.status:
        outcome += f"; THE RERUN: {ended.line}"
    again = repeated(scene.struck, scene.records())
    if scene.unrepeated and scene.unrepeated in ended.output:
        again.append(f"the rerun went through {scene.unrepeated!r} again")
    return Result(
        name=row.name,
        outcome=outcome,
        finished=ended.status == 0,
        recorded=len(scene.struck),
        repeated=again,
        differing=differing(expected, scene.contents()),
        code_version=code_version(),
    )


def test_every_process_is_killed_at_every_point() -> None:
    names = {row.name for row in ROWS}
    assert len(names) == len(ROWS)
    for process, middle in (
        ("flow", "training"),
        ("worker", "training"),
        ("engine", "sampling"),
        ("rank", "training"),
    ):
        for point in ("start", middle, "publishing"):
            if (process, point) != ("rank", "publishing"):  # no rank lives that long
                assert f"{process}-{point}" in names


def test_the_page_has_every_row_in_order() -> None:
    told = PAGE.read_text("utf-8").split(BEGIN)[1].split(END)[0]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in told.splitlines()]
    assert cells[3 : 3 + len(ROWS)] == [row.fault for row in ROWS]


def test_a_row_holds_only_if_nothing_was_lost_repeated_or_changed() -> None:
    assert GOOD.holds
    assert not replace(GOOD, finished=False).holds
    assert not replace(GOOD, repeated=["questions"]).holds
    assert not replace(GOOD, differing=["round-01/checkpoint"]).holds
    assert repeated({"a": b"1", "b": b"2"}, {"a": b"1", "b": b"3", "c": b"4"}) == ["b"]
    assert differing({"a": "1", "b": "2"}, {"a": "1", "c": "2"}) == ["b", "c"]


def test_the_table_is_put_between_the_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    text = table(ROWS, {"flow-start": GOOD})
    write_table(page, "faults", text)
    assert page.read_text() == f"before\n{BEGIN}\n{text}\n{END}\nafter\n"
    assert "| finishes; 0 of 4 repeated | equal |" in text
    assert "Not carried out yet: flow-sampling, " in text


def test_every_stage_of_a_run_is_known() -> None:
    assert addresses.__doc__ is not None
    told = {line.split()[0].removeprefix("{run}/").removesuffix("/{name}")
            for line in addresses.__doc__.splitlines()
            if line.startswith("    {run}/")}  # fmt: skip
    assert told - SOMETIMES <= set(STAGES)
