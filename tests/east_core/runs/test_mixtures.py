"""Training questions of several sets: their shares, their gradings, their weights."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from east_core.config import DatasetConfig, RunConfig, SamplingRecipe, SftRecipe
from east_core.config.toml_file import parse_config
from east_core.errors import ConfigError, DataError
from east_core.inputs.mixtures import set_sizes
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Completion, Question, SampledQuestion, TrainingExample, set_of
from east_core.reports import html, round_report
from east_core.runs import start
from east_core.runs.addresses import EXAMPLES_FILE, QUESTIONS_FILE
from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.runs.weights import weight_files
from east_core.tables import read_table, read_tables
from east_core.testing.fakes import InstantTrainer
from east_core.weighting.weighed import WeighedQuestion
from flows.browser.app import browser_app
from flows.commands import check
from flows.commands.console import console, print_rounds
from flows.commands.plan import _training_questions
from tasks.reporting import weights_page
from tests.east_core.conftest import finish, sums_config

GRADER = """
def extract(completion, question):
    return completion

def key(answer):
    return answer.lower().removeprefix("the ").strip(".")
"""
# by set: right and wrong completions; a word is no number, and no box
SAID = {
    "sums": (r"\boxed{1}", r"\boxed{1.0}", r"\boxed{2}", r"\boxed{3}"),
    "words": ("the Alps", "Alps.", "Andes", "the alps"),
}


class Speaker:
    """Says what belongs to the question's set: half of it is right in sums, 3 of 4 in words."""

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        for shard in shards:
            yield [SampledQuestion(each, tuple(self._said(each, settings))) for each in shard]

    def _said(self, question: Question, settings: GenerationSettings) -> Iterator[Completion]:
        texts = SAID["words" if question.answer == "Alps" else "sums"]
        for at in range(settings.samples_per_question):
            yield Completion(texts[at % len(texts)], "stop", token_count=3)

    def release(self) -> None: ...

    def close(self) -> None: ...


def write_rows(path: Path, count: int, answer: str) -> str:
    rows = (
        {"id": f"q{n}", "question": f"{path.stem}, {n}?", "answer": answer} for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def mixture(folder: Path, sums: int = 40, words: int = 12, **changes: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(GRADER)
    grading = {"kind": "python", "functions": "mine", "folder": str(folder)}
    return {
        "sets": {
            "sums": {"path": write_rows(folder / "sums.jsonl", sums, "1"), "share": 3},
            "words": {
                "path": write_rows(folder / "words.jsonl", words, "Alps"),
                "share": 1,
                "grading": grading,
            },
        },
        **changes,
    }


def config_of(folder: Path, questions: dict[str, Any], **changes: Any) -> RunConfig:
    settings = {
        "rounds": 1,
        "sampling": SamplingRecipe(samples_per_question=4),
        "training": SftRecipe(global_batch_size=2),
        **changes,
    }
    return sums_config(folder, questions=questions, **settings)


def frozen(run: Run) -> list[Question]:
    start.freeze_benchmarks(run)
    record = start.freeze_questions(run)
    return list(read_table(run.store.fetch(record) / QUESTIONS_FILE, Question))


def test_shares_hold_to_one_question_and_ids_are_unique(tmp_path: Path) -> None:
    run = Run.open(config_of(tmp_path, mixture(tmp_path)))
    asked = frozen(run)
    ids = [each.id for each in asked]
    # 40 sums are used up at 40 / 0.75 = 53 questions, 12 words at 12 / 0.25 = 48
    assert (len(ids), len(set(ids))) == (48, 48)
    assert [set_of(each) for each in ids].count("words") == 12
    assert run.record(run.at.questions).facts["sets"] == {
        "sums": {"questions": 36, "of": 40},
        "words": {"questions": 12, "of": 12},
    }
    # evenly mixed: wherever one stops, a quarter is of the smaller set
    for until in range(49):
        words = [set_of(each) for each in ids[:until]].count("words")
        assert abs(words - until / 4) < 1


def test_every_limit_is_kept_to_one_question() -> None:
    shares = {"a": 0.1, "b": 0.2, "c": 0.4}
    for limit in range(4, 60):
        sizes = set_sizes(dict.fromkeys(shares, 40), shares, limit)
        assert sum(sizes.values()) == limit
        for name, share in shares.items():
            assert abs(sizes[name] - limit * share / 0.7) < 1


def test_which_questions_are_drawn_depends_on_the_set_alone(tmp_path: Path) -> None:
    def drawn(name: str, **changes: Any) -> list[str]:
        folder = tmp_path / name
        run = Run.open(config_of(folder, mixture(folder, limit=16), **changes))
        return [each.id for each in frozen(run)]

    assert drawn("one") == drawn("other-seed", seed=7)
    few = {each for each in drawn("one-more") if each.startswith("words/")}
    folder = tmp_path / "changed"
    questions = mixture(folder, limit=16)
    questions["sets"]["words"]["share"] = 3
    many = {each.id for each in frozen(Run.open(config_of(folder, questions)))}
    assert few < many
    assert [int(each.removeprefix("words/q")) for each in sorted(few)] != [0, 1, 2, 3]


def finished(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Run:
    monkeypatch.setattr(round_report, "publish", lambda *_: None)  # pictures take most of the time
    benchmarks = {"words": DatasetConfig(path=write_rows(folder / "test.jsonl", 3, "1"))}
    changes = {"benchmarks": benchmarks, **changes}
    run = Run.open(config_of(folder, mixture(folder), **changes))
    finish(run, Speaker(), InstantTrainer())
    return run


def weights_by_set(run: Run) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    files = weight_files(run, run.record(run.at.weights(1)))
    for row in read_tables(files, WeighedQuestion):
        assert row.kept
        found.setdefault(set_of(row.question_id), []).append(row.weight)
    return found


def examples_by_set(run: Run) -> dict[str, list[TrainingExample]]:
    found: dict[str, list[TrainingExample]] = {}
    folder = run.store.fetch(run.record(run.at.examples(1)))
    for row in read_table(folder / EXAMPLES_FILE, TrainingExample):
        found.setdefault(set_of(row.question_id), []).append(row)
    return found


@pytest.mark.parametrize("normalize", ["all", "set"])
def test_each_set_is_graded_its_own_way_and_weights_have_mean_1(
    normalize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighting = {"kind": "entropy", "normalize": normalize}
    run = finished(tmp_path, monkeypatch, weighting=weighting)
    weights, examples = weights_by_set(run), examples_by_set(run)
    assert {name: len(each) for name, each in weights.items()} == {"sums": 36, "words": 12}
    total = {name: sum(each) for name, each in weights.items()}
    chosen = {name: sum(row.weight for row in rows) for name, rows in examples.items()}
    if normalize == "set":
        assert total == pytest.approx({"sums": 36, "words": 12})
    else:
        assert sum(total.values()) == pytest.approx(48)
        # 1.5 bits of (2, 1, 1), 0.811 of (3, 1)
        assert total["sums"] / 36 / (total["words"] / 12) == pytest.approx(1.5 / 0.8112781)
    assert chosen == pytest.approx(total)
    # words know no box, sums do
    assert {row.completion for row in examples["sums"]} <= set(SAID["sums"][:2])
    assert {row.completion for row in examples["words"]} <= set(SAID["words"]) - {"Andes"}


def test_sets_are_told_apart_wherever_a_round_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tmp_path, monkeypatch)
    (summary,) = [each for each in summarise(run.store, "sums") if each.round == 1]
    words, sums = summary.sets["words"], summary.sets["sums"]
    assert (words.questions, words.kept, words.accuracy, words.examples) == (12, 12, 0.75, 12)
    assert (sums.accuracy, sums.mean_entropy_bits) == (0.5, 1.5)
    assert words.total_weight + sums.total_weight == pytest.approx(48)
    page = html.render(run.store, "sums")
    assert "By set" in page
    assert "over all sets together" in page
    row = "".join(f"<td>{cell}</td>" for cell in ("12", "75.0%", "12", "0.811"))
    client = TestClient(browser_app(run.store))
    for shown in (page, client.get("/run/sums").text):
        assert row in shown.replace("\n", "")
    assert "| words | 12 | 75.0% | 12 | 0.811 |" in weights_page(run, 1)
    samples = client.get("/run/sums/samples/1?set=words").text
    assert "12 of 48 questions" in samples
    assert '<option value="words" selected>' in samples
    with console.capture() as told:
        print_rounds("sums", [summary])
    assert "words" in told.get()
    assert "75.0%" in told.get()


def test_one_set_of_questions_has_no_trace_of_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_report, "publish", lambda *_: None)
    config = sums_config(tmp_path, rounds=1, sampling=SamplingRecipe(samples_per_question=4))
    run = Run.open(config.model_copy(update={"questions": DatasetConfig(
        path=write_rows(tmp_path / "one.jsonl", 20, "1"))}))  # fmt: skip
    finish(run, Speaker(), InstantTrainer())
    for address in (run.at.config, run.at.questions, run.at.weights(1), run.at.examples(1)):
        record = run.record(address)
        assert "normalize" not in json.dumps(record.recipe)
        assert "sets" not in record.facts
        assert "sets" not in record.recipe
    assert "By set" not in html.render(run.store, "sums")
    assert "Sets" not in TestClient(browser_app(run.store)).get("/run/sums").text


def test_decontamination_looks_at_every_set_and_shares_are_of_what_is_left(tmp_path: Path) -> None:
    questions = mixture(tmp_path, sums=40, words=12)
    test = tmp_path / "test.jsonl"
    rows = (tmp_path / "words.jsonl").read_text().splitlines()[:4]
    test.write_text("\n".join(rows))
    benchmarks = {"same": DatasetConfig(path=str(test))}
    kept = Run.open(config_of(tmp_path, questions, benchmarks=benchmarks))
    frozen(kept)
    assert "4 in same (words/q0 = q0" in str(start.overlaps_told(kept))
    folder = tmp_path / "clean"
    questions = {**mixture(folder), "decontaminate": True}
    clean = Run.open(config_of(folder, questions, benchmarks=benchmarks))
    ids = [each.id for each in frozen(clean)]
    assert len(ids) == 32  # 8 words are left, which are a quarter
    assert not {f"words/q{n}" for n in range(4)} & set(ids)
    left_out = clean.record(clean.at.questions).facts["in_benchmark"]
    assert left_out["words/q0"] == ["same", "q0"]


def test_check_and_plan_tell_the_sets(tmp_path: Path) -> None:
    config = config_of(tmp_path, mixture(tmp_path))
    count, _, told = check._check_overlaps(config)
    assert count == 48 == _training_questions(config.questions)
    assert told == "48 questions: sums 36 of its 40 (75.0%), words 12 of its 12 (25.0%)"


@pytest.mark.parametrize(
    ("questions", "problem"),
    [
        ({"sets": {"": {"share": 1}}}, "questions.sets: '' is no name of a set"),
        ({"sets": [{"share": 1}]}, "questions.sets: a set has no name: write "),
        ({"sets": {"replay": {"share": 1}}}, "questions.sets: a set can't be named 'replay'"),
        ({"sets": {}}, "questions.sets: dictionary should have at least 1 item"),
        ({"sets": {"a": {"share": 0}}}, "questions.sets.a.share: input should be greater than 0"),
        ({"sets": {"a": {"share": -0.5}}}, "questions.sets.a.share: input should be greater than"),
        ({"sets": {"a": {"share": float("nan")}}}, "questions.sets.a.share: input should be"),
        ({"sets": {"a": {"path": "x"}}}, "questions.sets.a.share: field required"),
        ({"path": "x", "sets": {"a": {"share": 1}}}, "questions.path is not a setting of"),
        ({"sets": {"a": {"share": 1, "decontaminate": True}}}, "set questions.decontaminate"),
        ({"pth": "x"}, "questions.pth is not a setting; did you mean questions.path?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_mixture_is_named_in_one_line(
    questions: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as told:
        parse_config({"questions": questions})
    assert problem in str(told.value)
    assert "\n" not in str(told.value)


def test_a_set_named_twice_is_named(tmp_path: Path) -> None:
    from east_core.config.toml_file import load_config

    table = "[questions.sets.a]\nshare = 1\n"
    (tmp_path / "run.toml").write_text(table + table)
    with pytest.raises(ConfigError, match=r"not valid TOML: .*\('questions', 'sets', 'a'\) twice"):
        load_config(tmp_path / "run.toml")


def test_weights_within_sets_need_sets() -> None:
    with pytest.raises(ConfigError, match=r"normalize 'set' is for a mixture"):
        parse_config({"weighting": {"normalize": "set"}})


@pytest.mark.parametrize(
    ("limit", "shares", "problem"),
    [
        (52, (3, 1), r"questions.sets.words has 12 questions, and its share \(0.25\) of 52 is 13;"),
        (3, (100, 1), r"questions.sets.words: its share \(0.0099\) of 3 questions is none"),
    ],
)  # fmt: skip
def test_a_set_too_small_for_its_share_is_named(
    limit: int, shares: tuple[float, float], problem: str, tmp_path: Path
) -> None:
    questions = mixture(tmp_path, limit=limit)
    for each, share in zip(questions["sets"].values(), shares, strict=True):
        each["share"] = share
    with pytest.raises(DataError, match=problem):
        frozen(Run.open(config_of(tmp_path, questions)))


def test_a_missing_file_is_told_with_its_set(tmp_path: Path) -> None:
    questions = mixture(tmp_path)
    questions["sets"]["words"]["path"] = str(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match=r"^questions.sets.words: .*nowhere.jsonl"):
        frozen(Run.open(config_of(tmp_path, questions)))
