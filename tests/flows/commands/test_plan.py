import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[3] / "infra" / "configs"
HEAVY = ("torch", "prefect", "pandas", "pyarrow", "transformers", "vllm", "datasets")
EIGHT_B = ("--params", "8.03e9", "--hidden", "4096", "--layers", "32")
GSM8K = ("--questions", "7473", "--test-questions", "1319")


@pytest.fixture
def demo(tmp_path):
    """A config whose model and questions are built in."""
    path = tmp_path / "run.toml"
    path.write_text('[questions]\npath = "builtin:train.jsonl"\nlimit = 40\n')
    return path


def test_a_plan_tells_sizes_formulas_and_assumptions(east):
    done = east("plan", CONFIGS / "8b-8-gpus.toml", *EIGHT_B, *GSM8K)
    assert done.returncode == 0, done.stderr
    for words in ("training rank", "2 B x 8,030,000,000 / 1", "KV cache", "assumed", "fits"):
        assert words in done.stdout


def test_json_holds_every_estimate_with_its_formula(east):
    done = east("plan", CONFIGS / "70b-4-nodes.toml", "--params", 70.6e9, "--hidden", 8192,
                "--layers", 80, *GSM8K, "--json")  # fmt: skip
    told = json.loads(done.stdout)
    assert told["misfits"] == []
    assert all(one["formula"] for one in told["estimates"])
    assert {"training rank", "sampling engine", "a round", "the run"} <= {
        one["section"] for one in told["estimates"]
    }


def test_what_does_not_fit_ends_with_exit_code_1(east):
    done = east("plan", CONFIGS / "8b-8-gpus.toml", *EIGHT_B, *GSM8K, "--gpu", "l4")
    assert done.returncode == 1
    assert "DOES NOT FIT: a training rank needs" in done.stdout


def test_builtin_and_local_questions_are_counted(east, demo):
    done = east("plan", demo)
    assert "40 questions x 8" in done.stdout
    assert "500 test questions" in done.stdout


def test_the_questions_of_a_harness_task_are_its_limit_or_must_be_told(east, demo):
    task = ("plan", demo, "--set", "benchmarks.theirs.task=gsm8k")
    assert "100 test questions" in east(*task, "--set", "benchmarks.theirs.limit=100").stdout
    assert "700 test questions" in east(*task, "--test-questions", 700).stdout
    refused = east(*task)
    assert refused.returncode == 2
    assert "lm_eval's task gsm8k are not counted for a plan" in refused.stderr


def test_hours_on_cpu_come_from_measured_rates(east, demo):
    cpu = ("plan", demo, "--set", 'resources.device="cpu"', "--set", "resources.engines=1")
    assert "--sampling-rate and --training-rate" in east(*cpu).stdout
    done = east(*cpu, "--sampling-rate", 1000, "--training-rate", 500)
    assert "sampled / (1 x 1,000 tokens/s)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CONFIGS / "8b-8-gpus.toml", *EIGHT_B), "tell its size with --questions"),
        ((CONFIGS / "8b-8-gpus.toml", *GSM8K, "--params", "8e9"), "give all"),
        ((CONFIGS / "8b-8-gpus.toml", *GSM8K, *EIGHT_B, "--gpu", "h1"), "not one of a100-40"),
        (("absent.toml",), "no such file"),
        (
            (CONFIGS / "8b-8-gpus.toml", *GSM8K, "--set", 'model.name="./absent"'),
            "config.json can't be read",
        ),
    ],
    ids=["questions", "half a model", "gpu", "file", "model"],
)
def test_bad_input_is_one_line_and_exit_code_2(east, arguments, message):
    done = east("plan", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_plan_imports_nothing_heavy():
    program = (
        "import sys; from flows.commands.main import app\n"
        f"arguments = ['plan', {str(CONFIGS / '8b-8-gpus.toml')!r}, *{[*EIGHT_B, *GSM8K]!r}]\n"
        "app(arguments, standalone_mode=False)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
