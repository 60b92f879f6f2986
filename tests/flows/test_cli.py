"""The command line from outside: what it prints, its exit codes, and one line for each mistake."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from east_core.inputs.questions import builtin_path
from east_core.testing.fakes import write_model

EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]
HEAVY = (
    "torch", "transformers", "trl", "deepspeed", "vllm", "datasets", "prefect", "pandas", "pyarrow",
    "numpy", "scipy", "sympy", "math_verify", "matplotlib", "fsspec", "s3fs",
)  # fmt: skip


East = Callable[..., Any]  # the fixture: the command line in this process


def east_process(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own, for what only that shows."""
    return subprocess.run(
        [*EAST, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def config(folder: Path, **sections: object) -> Path:
    """A run on four questions that passes `east check`, changed by `sections`."""
    rows = ({"question": f"{i}+1?", "answer": str(i + 1)} for i in range(4))
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "store": "store",
        "questions.path": str(folder / "q.jsonl"),
        "benchmarks.sums.path": str(folder / "q.jsonl"),
        "training.loss": "sft",
        "training.global_batch_size": 4,
        "sampling.max_tokens": 64,
        **sections,
    }
    path = folder / "run.toml"
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    return path


def test_help_teaches_and_imports_nothing_heavy() -> None:
    done = east_process("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("demo", "check", "run", "show", "weigh"))
    program = f"import sys, flows.commands.main; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_the_version_is_that_of_the_package() -> None:
    assert east_process("--version").stdout == f"east {version('east-self-training')}\n"


def test_check_passes_a_sound_config(tmp_path: Path) -> None:
    done = east_process("check", str(config(tmp_path)), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "settings",
        "engines",
        "store",
        "model",
        "tokenizer",
        "turn",
        "generation",
        "questions",
        "benchmark",
        "scores",
        "overlap",
        "context",
        "sizes",
    ]
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store").glob("[!.]*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samplin.temperature": 1}, "samplin is not a setting"),
        ({"rounds": 0}, "rounds: input should be greater than or equal to 1"),
        ({"store": "/proc/nowhere"}, "/proc/nowhere"),
        ({"model.name": "./absent"}, "model folder ./absent does not exist"),
        ({"model.name": "scripted"}, "model scripted"),
        ({"questions.path": "absent.jsonl"}, "absent.jsonl: no .jsonl or .parquet file there"),
        ({"questions.path": "empty.jsonl"}, "empty.jsonl: the data set is empty"),
        ({"questions.path": "nogold.jsonl"}, "nogold.jsonl line 1: no gold answer in column"),
        ({"questions.path": "broken.jsonl"}, "broken.jsonl line 1: not JSON"),
        ({"training.global_batch_size": 8}, "4 questions can never fill one global batch of 8"),
        ({"resources.processes": 3}, "global_batch_size 4 is not a multiple of"),
        ({"resources.nodes": 2, "resources.processes": 2}, "nodes 2 needs a Ray cluster: set"),
        ({"resources.trackers": ["mlflow"]}, "names mlflow, which is not installed; pip install"),
        ({"resources.device": "cuda", "resources.engines": 4096}, "need 4096 GPUs, and "),
        ({"resources.ray": "auto", "resources.device": "auto"}, "ray needs device 'cuda' or 'cpu'"),
        (
            {"sampling.max_tokens": 4096},
            "leave no room for 4096 tokens in a context of 2048; lower sampling.max_tokens",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    east: East,
    change: dict[str, object],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "nogold.jsonl").write_text('{"question": "why?"}\n')
    (tmp_path / "broken.jsonl").write_text("{oops\n")
    (write_model(tmp_path / "scripted") / "chat_template.jinja").unlink()
    done = east("check", config(tmp_path, **change))
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_show_of_a_run_that_is_not_there(tmp_path: Path, east: East) -> None:
    done = east("show", tmp_path / "absent")
    assert done.returncode == 2
    assert "no run 'absent' with a finished stage" in done.stderr


def test_a_bad_run_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = config(tmp_path, **{"questions.path": str(tmp_path / "absent.jsonl")})
    done = east_process("run", str(path), folder=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((tmp_path / "store").glob("[!.]*/questions/**/*.parquet"))


def test_the_builtin_files_are_where_the_package_is() -> None:
    assert (builtin_path("seed_model") / "model.safetensors").is_file()
    assert builtin_path("train.jsonl").is_file()


def test_deploying_to_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url, message in (("http://127.0.0.1:9/api", "does not answer"), (None, "is not set")):
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
        if url:
            monkeypatch.setenv("PREFECT_API_URL", url)
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
        done = east_process("deploy", folder=tmp_path)
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1


def test_what_can_not_run_here_is_refused_before_the_name_is_claimed(tmp_path: Path) -> None:
    path = config(tmp_path, **{"resources.device": "cuda", "resources.engines": 4096})
    done = east_process("run", str(path), folder=tmp_path)
    assert done.returncode == 2
    assert "set resources.device to 'cpu'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((tmp_path / "store").rglob("_record.json"))
    assert "View at" not in done.stdout + done.stderr
