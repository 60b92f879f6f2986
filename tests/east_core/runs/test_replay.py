"""Examples of earlier rounds, or given solutions, among those of a round."""

import json
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from east_core.config import DpoRecipe, KtoRecipe, Replay, RunConfig, SftRecipe
from east_core.config.toml_file import parse_config
from east_core.errors import ArtifactMismatch, ConfigError, DataError
from east_core.inputs.solutions import load_solutions
from east_core.protocols import example_type
from east_core.reports import round_report
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.replay import replay_count
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.tables import read_table
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.commands.check import _replay
from flows.server.forms import RunForm
from tests.east_core.conftest import finish, sums_config


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(round_report, "publish", lambda *_: None)


def finished(folder: Path, **changes: Any) -> Run:
    settings = {"rounds": 3, "training": SftRecipe(global_batch_size=4), **changes}
    run = Run.open(sums_config(folder, **settings))
    finish(run, ScriptedSampler(), InstantTrainer())
    return run


def examples(run: Run, number: int) -> list[Any]:
    folder = run.store.fetch(run.record(run.at.examples(number)))
    return list(read_table(folder / EXAMPLES_FILE, example_type(run.config.training)))


def parts(run: Run, number: int) -> tuple[list[Any], list[Any]]:
    """The round's own examples, and the replayed ones."""
    rows = examples(run, number)
    own = len(rows) - int(run.record(run.at.examples(number)).facts["replayed"])
    return rows[:own], rows[own:]


def mean_weight(rows: list[Any]) -> float:
    return sum(row.weight for row in rows) / len(rows)


def test_a_share_holds_to_one_example() -> None:
    for share in (0.01, 0.1, 0.25, 0.3, 0.5, 0.9):
        for own in range(1, 60):
            replayed = replay_count(own, share)
            assert abs(replayed - Fraction(str(share)) * (own + replayed)) <= Fraction(1, 2)


@pytest.mark.parametrize("recipe", [SftRecipe, DpoRecipe, KtoRecipe])
def test_rounds_replay_what_earlier_rounds_learned_from(recipe: Any, tmp_path: Path) -> None:
    run = finished(
        tmp_path, replay=Replay(share=0.25), training=recipe(global_batch_size=4, targets="any")
    )
    kept = []
    for number in (1, 2, 3):
        own, again = parts(run, number)
        assert len(again) == (round(len(own) / 3) if number > 1 else 0)
        assert mean_weight(own) == pytest.approx(1)
        assert mean_weight(own + again) == pytest.approx(1)
        # as they were trained on then, but for their weights
        before = {(row.question_id, _text(row), row.prompt_ids) for row in kept}
        assert {(row.question_id, _text(row), row.prompt_ids) for row in again} <= before
        kept += own
    third = run.record(run.at.examples(3))
    assert {*third.input_addresses.values()} >= {run.at.examples(1), run.at.examples(2)}
    assert third.recipe["replay"] == {"share": 0.25, "of": "rounds"}
    assert third.facts["replay_pool"] == sum(len(parts(run, number)[0]) for number in (1, 2))
    assert [each.replayed for each in summarise(run.store, "sums")][2] == len(parts(run, 2)[1])


def _text(row: Any) -> str:
    return str(getattr(row, "chosen", None) or row.completion)


def solutions(folder: Path, count: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    rows = (
        {"question": f"{n} * 2?", "completion": f"It is \\boxed{{{2 * n}}}"} for n in range(count)
    )
    path = folder / "solutions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_solutions_are_replayed_from_the_first_round_on_and_in_the_lineage(tmp_path: Path) -> None:
    replay = Replay(share=0.5, path=solutions(tmp_path, 4))
    run = finished(tmp_path, rounds=2, replay=replay)
    for number in (1, 2):
        own, again = parts(run, number)
        assert len(again) == len(own) > 4
        assert mean_weight(again) == pytest.approx(1)
        # there are fewer than are asked for: each is taken as often as any other, to one
        times = Counter(row.question_id for row in again)
        assert set(times) == {f"replay/{n:06d}" for n in range(4)}
        assert max(times.values()) - min(times.values()) <= 1
        assert again[0].completion_ids is None
        assert run.record(run.at.examples(number)).inputs["replay"]
    assert run.record(run.at.replay).facts == {"solutions": 4}


def test_what_is_replayed_depends_on_the_seed_alone(tmp_path: Path) -> None:
    def drawn(name: str, **changes: Any) -> list[str]:
        replay = Replay(share=0.2, path=solutions(tmp_path / name, 60))
        run = finished(tmp_path / name, rounds=1, replay=replay, **changes)
        return [row.question_id for row in parts(run, 1)[1]]

    assert drawn("one") == drawn("again")
    assert drawn("other", seed=7) != drawn("one-more")


def test_other_replay_under_the_same_name_is_refused(tmp_path: Path) -> None:
    run = finished(tmp_path, rounds=1, replay=Replay(share=0.5, path=solutions(tmp_path, 4)))
    changed = run.config.model_copy(update={"replay": Replay(share=0.25, path=None)})
    with pytest.raises(ArtifactMismatch, match=r'replay.of: "solutions" -> "rounds"'):
        finish(Run(changed, run.store), ScriptedSampler(), InstantTrainer())


def test_without_replay_nothing_tells_of_it(tmp_path: Path) -> None:
    run = finished(tmp_path, rounds=1)
    assert "replay" not in RunConfig().identity()
    for address in (run.at.config, run.at.examples(1)):
        record = run.record(address)
        assert "replay" not in {*record.recipe, *record.facts, *record.inputs}
        assert "replayed" not in record.facts
    assert [each.replayed for each in summarise(run.store, "sums")] == [None, None]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"question": "1?"}', "solutions.jsonl line 1: no text in column 'completion'"),
        ('{"question": " ", "completion": "1"}', "line 1: no text in column 'question'"),
        ('{"question": 7, "completion": "1"}', "line 1: no text in column 'question'"),
        ("no", "solutions.jsonl line 1: not JSON"),
        ("", "there are no solutions to replay"),
    ],
)
def test_bad_solutions_are_named(line: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=problem):
        list(load_solutions(str(path)))
    with pytest.raises(DataError, match=problem):
        _replay(Replay(path=str(path)))


def test_settings_that_can_not_be_are_named() -> None:
    with pytest.raises(ConfigError, match=r"replay.share: input should be less than 1"):
        parse_config({"replay": {"share": 1}})
    with pytest.raises(ConfigError, match=r"replay.path has solutions, which loss 'dpo'"):
        parse_config({"replay": {"path": "s.jsonl"}, "training": {"loss": "dpo"}})


def test_check_and_the_form_know_replay(tmp_path: Path) -> None:
    path = solutions(tmp_path, 4)
    told = _replay(Replay(share=0.25, path=path))
    assert told == f"25.0% of each round's examples are of the 4 solutions in {path}"
    assert "from the second round on" in _replay(Replay())
    form = RunForm.model_validate({"replay": {"share": 0.25, "path": path}})
    assert form.run_config().replay == Replay(share=0.25, path=path)
