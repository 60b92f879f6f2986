"""The settings of a line's next run."""

from pathlib import Path

from east_core.config import DatasetConfig
from east_core.store import Store
from east_core.studies.retraining import gather_arrivals, next_run
from tests.east_core.conftest import sums_config


def test_the_next_run_reads_its_questions_as_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "assert f() == 2"}\n')
    questions = DatasetConfig(path=str(path), grading={"kind": "code"}, allow_code_execution=True)
    questions = questions.model_copy(update={"decontaminate": True})
    settings = sums_config(tmp_path, questions=questions)
    store = Store(settings.store)
    arrivals = gather_arrivals(store, "line", questions, least=1)
    assert arrivals is not None
    asked = next_run(settings, store, "line", arrivals).questions
    assert (asked.grading, asked.allow_code_execution) == (questions.grading, True)
    assert asked.decontaminate
