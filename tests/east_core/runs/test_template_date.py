"""Templates that write today's date: a run's prompts keep the day of its first start."""

import datetime
from pathlib import Path

import pytest

from east_core.runs import prompts, start
from east_core.runs.prompts import prompt_format
from east_core.runs.run import Run
from east_core.runs.samples import sampling_stage
from tests.east_core.conftest import sums_config

DATED = "Today is {{ strftime_now('%d %b %Y') }}. {{ messages }}"


def test_a_resume_after_midnight_has_the_prompts_of_the_first_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = iter([datetime.date(2026, 11, 25), datetime.date(2026, 11, 26)])
    monkeypatch.setattr(prompts, "today", lambda: next(days))
    config = sums_config(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").write_text(DATED)
    first, resumed = Run.open(config), Run.open(config)
    assert prompts.pin_date(first).facts["date"] == "2026-11-25"
    start.register_base_model(first)
    start.freeze_questions(first)
    began = sampling_stage(first, 1)
    assert prompts.pin_date(resumed).facts["date"] == "2026-11-25"
    assert prompt_format(resumed).date == "2026-11-25"
    assert sampling_stage(resumed, 1).recipe == began.recipe
    assert began.recipe["prompt"] == {"date": "2026-11-25"}


def test_a_date_may_be_set_and_a_study_has_one_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "today", lambda: datetime.date(2026, 11, 27))
    config = sums_config(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").write_text(DATED)
    donor = Run.open(config)
    own = config.model.model_copy(update={"template_date": "2026-01-31"})
    dated = Run.open(config.model_copy(update={"name": "own", "model": own}))
    assert prompts.pin_date(dated).facts["date"] == "2026-01-31"
    arm = Run.open(config.model_copy(update={"name": "arm"}))
    prompts.pin_date(donor)
    monkeypatch.setattr(prompts, "today", lambda: datetime.date(2026, 11, 28))
    assert prompts.pin_date(arm, [donor]).facts["date"] == "2026-11-27"


def test_a_template_without_a_date_leaves_the_fingerprints_as_they_were(tmp_path: Path) -> None:
    run = Run.open(sums_config(tmp_path))
    assert prompts.pin_date(run) is None
    assert prompt_format(run).identity() == {}
