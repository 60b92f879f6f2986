"""Two rounds on the real engines for tasks that are no mathematics, and for a mixture with replay.

The model is the seed model, taught in half a minute to answer them partly right.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from east_core.config.toml_file import load_config
from east_core.records import SampledQuestion, TrainingExample, set_of
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.runs.weights import weight_files
from east_core.tables import read_table, read_tables
from east_core.weighting.weighed import WeighedQuestion
from tests.east_core.answers.sandboxed import needs_sandbox
from tests.integration.tasks_to_learn import TASKS, reads, teach, write_questions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # whole runs, on a busy machine
EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]
ASKED, TESTED = range(500, 532), range(540, 556)
SETTINGS = """
rounds = 2
[model]
name = "{model}"
[sampling]
samples_per_question = 8
max_tokens = 40
[training]
learning_rate = 1e-4
epochs = 1
global_batch_size = 4
[evaluation]
max_tokens = 40
[resources]
device = "cpu"
micro_batch_size = 4
kv_cache_gib = 0.25
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(tmp_path_factory.mktemp("taught"))


def table(head: str, task: str, path: Path, more: str = "") -> str:
    """A data set in TOML."""
    read = 'answer_format = "tests"\nallow_code_execution = true\n' if task == "code" else ""
    return f'[{head}]\npath = "{path}"\n{read}{more}[{head}.grading]\nkind = "{task}"\n'


def run_of(folder: Path, model: Path, name: str, tables: str) -> Run:
    """A finished run of these data sets, made by the command line."""
    path = folder / "run.toml"
    head = f'name = "{name}"\nstore = "{folder / "store"}"\n'
    path.write_text(head + SETTINGS.format(model=model) + tables)
    told = east(folder, "check", str(path))
    assert "questions  ok" in told
    east(folder, "run", str(path))
    return Run.open(load_config(path))


def east(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*EAST, *arguments],
        cwd=folder,
        env={**os.environ, "PREFECT_HOME": str(folder / "prefect"), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rounds_of(folder: Path, run: Run) -> list[dict[str, Any]]:
    shown = east(folder, "show", f"{run.store.root}/{run.name}", "--json")
    rounds: list[dict[str, Any]] = json.loads(shown)["rounds"]
    return rounds


def check_clusters(run: Run, number: int, task_of: dict[str, str]) -> None:
    """Clusters are what a reader makes of the completions who knows nothing of the project."""
    sampled = read_tables(sample_files(run, run.record(run.at.samples(number))), SampledQuestion)
    weighed = read_tables(weight_files(run, run.record(run.at.weights(number))), WeighedQuestion)
    read_at_all = total = 0
    for asked, row in zip(sampled, weighed, strict=True):
        name = row.question_id.rsplit("/", 1)[-1]
        task = task_of[name.split("-")[0]]
        right = {reads(task, each) for each in TASKS[task](int(name.split("-")[1])).right}
        assert len(right) == 1
        groups: dict[str, set[int]] = defaultdict(set)
        for at, completion in enumerate(asked.completions):
            said = reads(task, completion.text)
            if said is not None and completion.finish_reason == "stop":
                groups[said].add(at)
        total += len(asked.completions)
        read_at_all += sum(map(len, groups.values()))
        for said, members in groups.items():
            (cluster,) = [each for each in row.clusters if members & {*each.members}]
            assert members <= {*cluster.members}
            assert cluster.is_correct == ({said} == right)
    assert read_at_all > 0.5 * total  # most of what it says is as it was taught


@pytest.mark.parametrize("task", ["choice", "text", pytest.param("code", marks=needs_sandbox)])
def test_two_rounds_of_a_task(task: str, model: Path, tmp_path: Path) -> None:
    train = write_questions(tmp_path, task, ASKED, "train")
    test = write_questions(tmp_path, task, TESTED, "test")
    tables = table("questions", task, train) + table(f"benchmarks.{task}", task, test)
    run = run_of(tmp_path, model, f"learns-{task}", tables)
    for number in (1, 2):
        weights = run.record(run.at.weights(number))
        assert weights.recipe["grading"]["kind"] == task
        assert weights.facts["undecided"] == 0
        assert 0 < weights.facts["accuracy"] < 1  # it can partly answer
        assert weights.facts["kept"] >= 4
        check_clusters(run, number, {task: task})
    accuracy = [each["accuracy"][task] for each in rounds_of(tmp_path, run)]
    assert [each["n"] for each in accuracy] == [len(TESTED)] * 3
    print(task, [each["value"] for each in accuracy])


@needs_sandbox
def test_two_rounds_of_a_mixture_with_replay(model: Path, tmp_path: Path) -> None:
    tables = "".join(
        table(
            f"questions.sets.{task}",
            task,
            write_questions(tmp_path, task, ASKED, task),
            f"share = {share}\n",
        )
        for task, share in (("choice", 3), ("code", 1))
    )
    test = write_questions(tmp_path, "choice", TESTED, "test")
    tables += table("benchmarks.choice", "choice", test)
    tables += '[weighting]\nnormalize = "set"\n[replay]\nshare = 0.2\n'
    run = run_of(tmp_path, model, "learns-both", tables)
    assert run.record(run.at.questions).facts["sets"] == {
        "choice": {"questions": 32, "of": 32},
        "code": {"questions": 10, "of": 32},
    }
    for number in (1, 2):
        check_clusters(run, number, {"choice": "choice", "code": "code"})
        check_examples(run, number)
    rounds = rounds_of(tmp_path, run)
    assert [list(each["sets"]) for each in rounds] == [[], ["choice", "code"], ["choice", "code"]]
    told = east(tmp_path, "show", f"{run.store.root}/{run.name}")
    assert "examples replayed" in told
    assert "code" in told


def check_examples(run: Run, number: int) -> None:
    """Weights have mean 1 in each set, and among what is replayed; the share is exact."""
    record = run.record(run.at.examples(number))
    rows = list(read_table(run.store.fetch(record) / EXAMPLES_FILE, TrainingExample))
    again = int(record.facts["replayed"])
    own = rows[: len(rows) - again]
    assert again == (round(len(own) / 4) if number == 2 else 0)
    by_set: dict[str, list[float]] = defaultdict(list)
    for row in own:
        by_set[set_of(row.question_id)].append(row.weight)
    parts = [*by_set.values(), *([[row.weight for row in rows[len(own) :]]] if again else [])]
    for weights in parts:
        assert sum(weights) == pytest.approx(len(weights))
    trained = run.record(run.at.checkpoint(number)).facts
    assert trained["examples"] == len(rows)
    assert trained["ids"]["sampled"] == len(rows)  # what is replayed are the tokens of then
