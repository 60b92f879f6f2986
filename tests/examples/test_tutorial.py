"""The tutorial notebook runs from its first cell to its last, and is kept without outputs."""

from pathlib import Path

import nbclient
import nbformat

from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "tutorial.ipynb"


def test_the_tutorial_runs(tmp_path: Path) -> None:
    config = sums_config(tmp_path, name="demo", store=str(tmp_path / ".east" / "store"))
    finish(Run.open(config), ScriptedSampler(), InstantTrainer())
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [
        output.get("data", {})
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert sum("image/png" in data for data in shown) == 3
    assert sum("text/html" in data for data in shown) == 4


def test_it_is_kept_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
