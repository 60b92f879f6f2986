"""The workflows and templates of .github, and the hooks: what they run is what `make lint` runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize("schema", ["github-workflows", "github-workflows-require-timeout"])
def test_the_workflows_fit_the_schema(schema: str) -> None:
    kind = f"{'custom' if 'timeout' in schema else 'vendor'}.{schema}"
    command = [BIN / "check-jsonschema", "--builtin-schema", kind, *WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert len(WORKFLOWS) == 2
    assert done.returncode == 0, done.stdout


def test_foreign_actions_are_pinned_by_commit_and_no_secret_is_kept() -> None:
    for path in WORKFLOWS:
        text = path.read_text("utf-8")
        for action in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert "secrets." not in text
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}


def test_ci_runs_what_is_in_the_repository() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))["jobs"]
    steps = [*jobs["test"]["steps"], *jobs["coverage"]["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert (ROOT / commands[0]).stat().st_mode & 0o111
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {command.removeprefix("make ") for command in commands[1:]} <= set(targets)


def test_each_form_asks_for_something() -> None:
    forms = [yaml.safe_load(path.read_text("utf-8")) for path in FORMS]
    asking = [form for form in forms if "body" in form]
    assert len(asking) == 2
    for form in asking:
        assert {"name", "description", "body"} <= form.keys()
        assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_hooks_are_local_and_run_what_make_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = [hook["entry"] for hook in config["repos"][0]["hooks"]]
    lint = (ROOT / "Makefile").read_text("utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert hooks == re.findall(r"\$\(BIN\)(.*)", lint.replace("$(BIN)", "$(BIN).venv/bin"))


def test_the_hooks_can_be_installed() -> None:
    command = [BIN / "pre-commit", "validate-config", ROOT / ".pre-commit-config.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
