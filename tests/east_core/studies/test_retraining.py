"""The settings of a line's next run."""

from pathlib import Path

from east_core.config import DatasetConfig, QuestionMixture
from east_core.runs import start
from east_core.runs.run import Run
from east_core.store import Store
from east_core.studies import promotion
from east_core.studies.promotion import Entry
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


def test_a_mixture_takes_what_was_added_to_each_of_its_sets(tmp_path: Path) -> None:
    def add(name: str, first: int, count: int) -> None:
        with (tmp_path / f"{name}.jsonl").open("a") as file:
            for n in range(first, first + count):
                file.write(f'{{"question": "{name} {n}?", "answer": "{n}"}}\n')

    add("sums", 0, 9)
    add("letters", 0, 4)
    sets = {
        name: {"path": str(tmp_path / f"{name}.jsonl"), "share": share, "grading": {"kind": kind}}
        for name, share, kind in (("sums", 2, "math"), ("letters", 1, "exact"))
    }
    source = QuestionMixture(sets=sets, limit=3)
    settings = sums_config(tmp_path / "run", questions=source)
    store = Store(settings.store)
    assert gather_arrivals(store, "line", source, least=14) is None
    arrivals = gather_arrivals(store, "line", source, least=13)
    assert arrivals is not None
    mark = {"sums/sums.jsonl": 9, "letters/letters.jsonl": 4}
    assert arrivals.facts == {
        "questions": 13,
        "mark": mark,
        "sets": {"sums": 9, "letters": 4},
    }
    first = next_run(settings, store, "line", arrivals)
    assert first.questions.grading.of("letters/x").kind == "exact"
    frozen = start.freeze_questions(Run(first, store))
    assert frozen.facts["sets"] == {
        "sums": {"questions": 8, "of": 9},
        "letters": {"questions": 4, "of": 4},
    }
    promotion.record_entry(store, "line", Entry(1, "kept", promotion.BASE, "line-0001", "no", mark))
    add("letters", 4, 2)
    arrivals = gather_arrivals(store, "line", source, least=2)
    assert arrivals is not None
    second = next_run(settings, store, "line", arrivals)
    assert list(second.questions.named) == ["letters"]
    assert second.questions.grading.of("letters/x").kind == "exact"
