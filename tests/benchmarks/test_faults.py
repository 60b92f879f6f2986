"""The fault table's own bookkeeping; its rows are runs of minutes (make faults)."""

from dataclasses import replace
from pathlib import Path

from benchmarks.faults import BEGIN, END, NEED_ROOT, ON_S3, Result, rows, table, write_table
from benchmarks.faults_bench import STAGES
from east_core.runs import addresses

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
GOOD = Result("flow-start", "killed", True, 4, [], ["config"], [], 1.0, "0.1.0")


def test_every_process_is_killed_at_every_point() -> None:
    names = [row.name for row in rows()]
    assert len(names) == len(set(names)) >= 24
    for process, middle in (
        ("flow", "training"),
        ("worker", "training"),
        ("engine", "sampling"),
        ("rank", "training"),
    ):
        for point in ("start", middle, "publishing"):
            if (process, point) != ("rank", "publishing"):  # no rank lives that long
                assert f"{process}-{point}" in names
    assert set(names) >= ON_S3 | NEED_ROOT


def test_a_row_holds_only_if_nothing_was_lost_repeated_or_changed() -> None:
    assert GOOD.holds
    assert not replace(GOOD, finished=False).holds
    assert not replace(GOOD, repeated=["questions"]).holds
    assert not replace(GOOD, differing=["round-01/checkpoint"]).holds


def test_the_table_is_put_between_the_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    text = table(rows(), {"flow-start": GOOD})
    write_table(page, text)
    assert page.read_text() == f"before\n{BEGIN}\n{text}\n{END}\nafter\n"
    assert "| finishes; 0 of 4 repeated | equal |" in text


def test_the_page_has_a_place_for_the_table() -> None:
    text = PAGE.read_text("utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_the_bench_knows_every_stage_of_a_run() -> None:
    assert addresses.__doc__ is not None
    told = {line.split()[0].removeprefix("{run}/").removesuffix("/{name}")
            for line in addresses.__doc__.splitlines()
            if line.startswith("    {run}/")}  # fmt: skip
    assert told - {"round-00/report"} <= set(STAGES)
