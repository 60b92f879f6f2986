import json

import pytest

from tests.east_core.answers.sandboxed import needs_sandbox

STRATEGIES = [
    "uniform",
    "entropy",
    "accuracy",
    "rejected",
    "perplexity",
    "variance",
    "difficulty",
    "corrected_entropy",
    "shrunk_entropy",
    "novelty",
    "margin",
    "balanced",
    "shuffled",
]
ROW = {
    "id": "a",
    "gold": "72",
    "responses": ["#### 72", "it is #### 72", "#### 7"],
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


def test_weights_as_released_say_that_their_mean_is_not_one(east, samples, tmp_path):
    out = tmp_path / "out.jsonl"
    done = east("weigh", samples, "--out", out, "--weighting", "entropy_as_released")
    assert done.returncode == 0, done.stderr
    row = json.loads(out.read_text())
    assert row["weight"] == row["entropy_bits"] / 6.8
    assert f"mean weight {row['weight']:.3g}, as released, and not 1" in done.stdout


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


def weighed(east, tmp_path, rows, *options):
    """The lines of `east weigh` for these rows."""
    source, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = east("weigh", source, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def counts(line):
    return [(c["answer"], c["count"], c["is_correct"]) for c in line["clusters"]]


def test_a_regular_expression_finds_the_answers(east, tmp_path):
    texts = ["ANSWER: 7 no, ANSWER: 8", "ANSWER: 8.0", "8", "<think>ANSWER: 8</think> ANSWER: 7"]
    row = {"id": "a", "gold": "8", "responses": [*texts, "ANSWER: 8"]}
    row["finish_reasons"] = [*["stop"] * 4, "length"]
    (line,) = weighed(east, tmp_path, [row], "--answer-regex", r"ANSWER: ([\d.]+)")
    assert counts(line) == [("8", 2, True), (None, 2, False), ("7", 1, False)]
    (line,) = weighed(east, tmp_path, [row], "--answer-regex", r"\d+$")
    assert counts(line)[0] == ("8", 2, True)


def test_a_pattern_that_takes_forever_is_counted_and_the_others_are_read(east, tmp_path, caplog):
    hostile = "x" * 50_000
    rows = [
        {"id": "hostile", "gold": "xy", "responses": ["xy", hostile, "xxy"]},
        {"id": "plain", "gold": "xy", "responses": ["xy", "xy", "xxy"]},
    ]
    source, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = east(
        "weigh", source, "--out", out, "--answer-regex", "(?:x*)*y|(?:x+x+)+y", "--grading", "exact"
    )
    assert done.returncode == 0, done.stderr
    assert "undecided   1 comparisons" in done.stdout
    assert 'question "hostile": the regular expression takes too long' in caplog.text
    first, second = map(json.loads, out.read_text().splitlines())
    assert sorted(counts(first), key=str) == [("xxy", 1, False), ("xy", 1, True), (None, 1, False)]
    assert counts(second) == [("xy", 2, True), ("xxy", 1, False)]


def test_answers_that_were_extracted_before_are_taken_as_they_are(east, tmp_path):
    rows = [
        {
            "id": "a",
            "gold": "1/2",
            "answers": ["0.5", 0.5, r"\frac{1}{2}", None, "the answer is 2"],
        },
        {"id": "b", "gold": "Paris", "answers": ["the paris", "Rome"], "responses": ["", ""]},
    ]
    first, second = weighed(east, tmp_path, rows, "--grading", "text")
    assert counts(second) == [("Rome", 1, False), ("the paris", 1, True)]
    first, _ = weighed(east, tmp_path, rows)
    assert counts(first)[0][1:] == (3, True)
    assert (None, 1, False) in counts(first)


def test_answers_stand_in_every_line_or_in_none(east, tmp_path):
    source = tmp_path / "samples.jsonl"
    rows = [
        {"id": "a", "gold": "1", "answers": ["1"]},
        {"id": "b", "gold": "1", "responses": ["1"]},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = east("weigh", source, "--out", tmp_path / "out.jsonl")
    assert done.returncode == 2
    assert "line 2: 'answers' must be a list" in done.stderr


@needs_sandbox
def test_programs_are_weighed_where_that_is_allowed(east, tmp_path):
    texts = [
        f"```python\ndef f(x): return {body}\n```" for body in ("x + 1", "1 + x", "2 * x", "x")
    ]
    row = {"id": "a", "gold": ["assert f(2) == 3", "assert f(0) == 1"], "responses": texts}
    options = ("--grading", "code:seconds=2", "--allow-code-execution")
    (line,) = weighed(east, tmp_path, [row], *options)
    assert sorted((c["count"], c["is_correct"]) for c in line["clusters"]) == [
        (1, False), (1, False), (2, True),
    ]  # fmt: skip
    refused = east("weigh", tmp_path / "samples.jsonl", "--out", tmp_path / "o.jsonl", *options[:2])
    assert refused.returncode == 2
    assert "add --allow-code-execution" in " ".join(refused.stderr.split())
    source = tmp_path / "samples.jsonl"
    source.write_text(json.dumps({**row, "gold": "f(2) == 3"}))
    refused = east("weigh", source, "--out", tmp_path / "o.jsonl", *options)
    assert "line 1: 'gold' must be the tests" in " ".join(refused.stderr.split())


def test_a_regular_expression_that_is_none_is_refused(east, samples, tmp_path):
    refused = east("weigh", samples, "--out", tmp_path / "o.jsonl", "--answer-regex", "(")
    assert refused.returncode == 2
    assert "--answer-regex (" in refused.stderr
