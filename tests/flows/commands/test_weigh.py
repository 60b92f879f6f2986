import json

import pytest

STRATEGIES = [
    "uniform",
    "entropy",
    "accuracy",
    "rejected",
    "perplexity",
    "variance",
    "difficulty",
    "corrected_entropy",
    "margin",
    "balanced",
    "shuffled",
]
ROW = {
    "id": "a",
    "gold": "72",
    "responses": ["#### 72", "#### 72", "#### 7"],
    "mean_logprobs": [-1, -1, -2],
}


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return path


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_runs_from_the_command_line(east, samples, tmp_path, strategy):
    done = east("weigh", samples, "--out", tmp_path / "out.jsonl", "--weighting", strategy)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.jsonl").read_text())["weight"] == 1
    assert "kept        1" in done.stdout


def test_label_free_from_the_command_line(east, tmp_path):
    source, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": "a", "responses": ["7", "7", "2"]}\n')
    assert (
        east("weigh", source, "--out", out, "--label-free", "--min-majority", 0.6).returncode == 0
    )
    assert json.loads(out.read_text())["pseudo_label"] == "7"
    assert (
        east("weigh", source, "--out", out, "--label-free", "--min-majority", 0.7).returncode == 0
    )
    assert json.loads(out.read_text())["drop_reason"] == "no_majority"


def test_help_shows_an_example_of_each_strategy_and_of_the_label_free_mode(east):
    text = east("weigh", "--help").stdout
    for strategy in STRATEGIES:
        assert f"--weighting {strategy}" in text or strategy == "entropy", strategy
    assert "--exponent -1" in text
    assert "--label-free --min-majority" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--exponent", "99"),
        ("--exponent", "nan"),
        ("--weighting", "entropi"),
        ("--weighting", "uniform", "--exponent", "2"),
        ("--max-weight", "0.5"),
        ("--policy", "guess"),
        ("--min-majority", "0.5"),
        ("--label-free", "--min-majority", "2"),
    ],
    ids=" ".join,
)
def test_bad_options_are_one_line_and_exit_code_two(east, samples, tmp_path, arguments):
    done = east("weigh", samples, "--out", tmp_path / "out.jsonl", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("east: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.jsonl").exists()


def test_a_malformed_line_is_one_line_and_exit_code_two(east, samples, tmp_path):
    samples.write_text(json.dumps(ROW) + "\n{\n")
    done = east("weigh", samples, "--out", tmp_path / "out.jsonl")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "line 2: not JSON" in done.stderr
