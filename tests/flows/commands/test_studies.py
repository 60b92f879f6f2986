"""`east report`, `east compare` and `east sweep` from outside."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from east_core.errors import ConfigError, DataError
from east_core.testing.fakes import InstantTrainer, ScriptedSampler, write_model
from flows.commands.main import app
from flows.commands.studies import exponent_grid
from tasks.engines import Engines, use_engines

NAMED = "figures and numbers: "
STUDY = """
name = "tiny"
store = "{folder}/store"
seeds = [1]
[run]
rounds = 1
model = {{ name = "{folder}/model" }}
questions = {{ path = "{folder}/q.jsonl" }}
benchmarks = {{ sums = {{ path = "{folder}/q.jsonl" }} }}
"""


def study(folder: Path) -> str:
    write_model(folder / "model")
    rows = (f'{{"question": "{i} + 1 = ?", "answer": "{i + 1}"}}\n' for i in range(40))
    (folder / "q.jsonl").write_text("".join(rows))
    (folder / "study.toml").write_text(STUDY.format(folder=folder))
    return str(folder / "study.toml")


def east(*arguments: str) -> str:
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def figures(output: str) -> Path:
    """The folder that the command names."""
    (line,) = (line for line in output.splitlines() if line.startswith(NAMED))
    return Path(line.removeprefix(NAMED))


@pytest.mark.usefixtures("prefect_api")
def test_a_study_ends_with_its_table_and_every_run_has_a_report(tmp_path: Path) -> None:
    output = east("compare", study(tmp_path))
    assert "| SFT, uniform | sums | 1 |" in output
    assert "can't be told apart from sft-uniform" in output
    assert (figures(output) / "rounds-sums.svg").is_file()
    written = east("report", f"{tmp_path}/store/tiny/sft-entropy-1-seed-1").strip()
    assert Path(written).read_text().startswith("<!doctype html>")


@pytest.mark.usefixtures("prefect_api")
def test_a_study_on_bases_compares_each_by_itself(tmp_path: Path) -> None:
    run = Path(study(tmp_path)).read_text().partition("[run]")[2]
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(run)
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(
        f'name = "m"\nstore = "{tmp_path}/store"\nseeds = [1]\nweightings = ["uniform"]\n'
        'bases = ["one.toml", "two.toml"]'
    )
    output = east("compare", str(matrix))
    told = [line for line in output.splitlines() if line.startswith(NAMED)]
    assert len(told) == 2
    assert {path.name for path in (tmp_path / "store").iterdir()} >= {"m-one", "m-two"}


@pytest.mark.usefixtures("prefect_api")
def test_a_sweep_draws_accuracy_against_the_exponent(tmp_path: Path) -> None:
    output = east("sweep", study(tmp_path), "--from", "-1", "--to", "1")
    assert (figures(output) / "exponents-sft-entropy-sums.svg").is_file()
    assert "a = -1" in output


def test_a_report_of_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run 'nothing'"):
        east("report", f"{tmp_path}/nothing")


def test_the_exponents_of_a_sweep() -> None:
    assert exponent_grid(-3, 3, 1) == [-3, -2, -1, 0, 1, 2, 3]
    assert exponent_grid(-0.3, 0.3, 0.1) == [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3]
    assert exponent_grid(1, 1, 0.5) == [1]
    with pytest.raises(ConfigError, match="swap them"):
        exponent_grid(3, -3, 1)
