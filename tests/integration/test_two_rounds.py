"""Whole runs on the real engines: vLLM, TRL on two DeepSpeed ranks, Prefect, the seed model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from east_core.store import Store
from east_core.store.manifest import ArtifactRecord

pytestmark = pytest.mark.timeout(1800)  # whole runs, on a machine that may be busy
EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]
CHILDREN = ("east_core.engines.", "east_core.engines.supervise", "flows.server.application")
CONFIG = """
name = "two-rounds"
store = "{store}"
rounds = 2
[questions]
path = "builtin:train.jsonl"
limit = 120
[benchmarks.word-problems]
path = "builtin:test.jsonl"
limit = 60
[sampling]
samples_per_question = 8
max_tokens = 96
[training]
loss = "sft"
learning_rate = 1e-4
epochs = 1
global_batch_size = 8
[evaluation]
max_tokens = 96
[resources]
device = "cpu"
processes = 2
micro_batch_size = 4
zero_stage = 2
shard_questions = 50
kv_cache_gib = 0.25
checkpoint_every_steps = 2
"""


def write_config(folder: Path) -> Path:
    path = folder / "run.toml"
    path.write_text(CONFIG.format(store=folder / "store"))
    return path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PREFECT_HOME": str(folder / "prefect")}


def east(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*EAST, *arguments], env=environment(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def table(folder: Path) -> list[dict[str, object]]:
    """The rounds as `east show --json` tells them, without the times."""
    rounds: list[dict[str, object]] = json.loads(
        east(folder, "show", str(folder / "store/two-rounds"), "--json")
    )["rounds"]
    return [{name: row[name] for name in row if "seconds" not in name} for row in rounds]


def records(folder: Path) -> dict[str, ArtifactRecord]:
    found = Store(str(folder / "store")).records("two-rounds")
    return {record.address.removeprefix("two-rounds/"): record for record in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run."""
    folder = tmp_path_factory.mktemp("finished")
    east(folder, "run", str(write_config(folder)))
    return folder


def test_two_rounds_leave_every_artifact_and_a_table(finished: Path) -> None:
    rounds = table(finished)
    assert [entry["round"] for entry in rounds] == [0, 1, 2]
    for entry in rounds:
        accuracy = entry["accuracy"]["word-problems"]  # type: ignore[index]
        assert accuracy["n"] == 60
        assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    made = records(finished)
    for number in (1, 2):
        assert made[f"round-0{number}/samples"].facts["completions"] == 120 * 8
        weights = made[f"round-0{number}/weights"].facts
        assert weights["kept"] + sum(weights["dropped"].values()) == 120  # type: ignore[operator,union-attr]
        training = made[f"round-0{number}/checkpoint"].facts
        assert training["examples"] == made[f"round-0{number}/examples"].facts["examples"]
        names = {file.path for file in made[f"round-0{number}/checkpoint"].files}
        assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names


def test_training_moves_the_model_and_lowers_its_loss_on_its_own_answers(finished: Path) -> None:
    from safetensors.numpy import load_file

    from east_core.inputs.questions import builtin_path

    made = records(finished)
    store = Store(str(finished / "store"))
    base = load_file(builtin_path("seed_model") / "model.safetensors")
    trained = load_file(store.fetch(made["round-02/checkpoint"]) / "model.safetensors")
    assert base.keys() == trained.keys()
    moved = max(abs(base[name] - trained[name]).max() for name in base)
    assert 0 < moved < 0.1


def test_a_finished_run_is_not_repeated(finished: Path) -> None:
    before = {name: record.created_at for name, record in records(finished).items()}
    east(finished, "run", str(finished / "run.toml"))
    assert {name: record.created_at for name, record in records(finished).items()} == before


@pytest.mark.slow
def test_a_run_killed_in_training_goes_on_to_the_same_table(finished: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    run = subprocess.Popen(
        [*EAST, "run", str(config)],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: in_training(tmp_path, run.pid), "round 2 to be in training")
    children = children_of(run.pid)
    assert {"server.application", "engines.trl.fork_server"} <= set(kinds(children))
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    wait_until(lambda: not any(process.is_running() for process in children), "children to end", 30)
    interrupted = records(tmp_path)
    assert "round-02/checkpoint" not in interrupted
    east(tmp_path, "run", str(config))
    after = records(tmp_path)
    for name, record in interrupted.items():
        assert after[name].created_at == record.created_at, f"{name} was made again"
    assert table(tmp_path) == table(finished)
    for name, record in records(finished).items():
        if name != "config":
            assert after[name].content == record.content, name


def in_training(folder: Path, pid: int) -> bool:
    """Whether the ranks of round 2 are at work: a training checkpoint of theirs is there."""
    scratch = folder / "store" / ".scratch"
    examples = folder / "store/two-rounds/round-02/examples/_record.json"
    ranks = [process for process in children_of(pid) if process.name().startswith("east-rank-")]
    return examples.exists() and bool(ranks) and any(scratch.glob("**/checkpoint-2"))


def children_of(pid: int) -> list[psutil.Process]:
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [c for c in children if any(mark in " ".join(c.cmdline()) for mark in CHILDREN)]
    except psutil.NoSuchProcess:
        return []


def kinds(processes: list[psutil.Process]) -> list[str]:
    """Which of our services and engines the processes are."""
    commands = [" ".join(process.cmdline()) for process in processes]
    return [
        kind
        for kind in ("server.application", "engines.trl.fork_server")
        if any(kind in c for c in commands)
    ]


def wait_until(is_true: object, what: str, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
