"""A program with lm_eval's command line that writes lm_eval's files, for tests without it.

Its tasks: `sums` (generated answers, two filters), `letters` (choices), `degrees` (no outcome of 0
or 1), `many` (a group of two). A model is a fake's folder: its skill is the chance to be right.
$STAND_IN names a way to fail, which STAND_IN_MODELS=1 keeps for runs that have a model. What it was
called with goes to $STAND_IN_CALLS.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

DOCUMENTS = 40
TASKS = {"sums": ["sums"], "letters": ["letters"], "degrees": ["degrees"], "many": ["one", "two"]}
VERSION = "0.4.12"


def main() -> None:
    arguments = parsed()
    note_call(arguments)
    failure = os.environ.get("STAND_IN", "")
    if arguments.model == "dummy" and os.environ.get("STAND_IN_MODELS"):
        failure = ""
    if arguments.tasks not in TASKS:
        raise SystemExit(f"ValueError: Tasks not found: {arguments.tasks}")
    if failure == "crash":
        raise SystemExit("torch.OutOfMemoryError: CUDA out of memory")
    if failure == "loud":
        raise SystemExit("Error: " + "x" * 10**6)
    if failure == "hang":
        time.sleep(600)
    if failure == "silence":
        print("Could not save results aggregated")
        return
    skill = 0.0 if arguments.model == "dummy" else skill_of(arguments.model_args["pretrained"])
    folder = Path(arguments.output_path) / "model"
    folder.mkdir(parents=True)
    names = TASKS[arguments.tasks]
    (folder / "results_2026-11-25.json").write_text(json.dumps(results(names, arguments, failure)))
    for name in names:
        rows = samples(name, arguments, skill)
        lines = [json.dumps(row) + "\n" for row in rows]
        write(folder / f"samples_{name}_2026-11-25.jsonl", lines, failure)


def parsed() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--tasks")
    parser.add_argument("--model_args", type=json.loads, nargs="?", default={})
    parser.add_argument("--output_path")
    parser.add_argument("--limit", type=float)
    parser.add_argument("--num_fewshot", type=int)
    for name in ("include_path", "gen_kwargs", "batch_size", "device", "seed"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--system_instruction")
    parser.add_argument("--apply_chat_template", action="store_true")
    parser.add_argument("--log_samples", action="store_true", required=True)
    return parser.parse_args()


def note_call(arguments: Any) -> None:
    calls = os.environ.get("STAND_IN_CALLS")
    if not calls:
        return
    noted = {**vars(arguments), "cwd": str(Path.cwd())}
    if "pretrained" in arguments.model_args:
        template = Path(arguments.model_args["pretrained"]) / "chat_template.jinja"
        noted["template"] = template.read_text()
    with Path(calls).open("a") as stream:
        stream.write(json.dumps(noted) + "\n")


def skill_of(folder: str) -> float:
    return float(json.loads((Path(folder) / "skill.json").read_text()))


def results(names: list[str], arguments: Any, failure: str) -> dict[str, Any]:
    fewshot = 5 if arguments.num_fewshot is None else arguments.num_fewshot
    version = "0.4.13" if failure == "newer" else VERSION
    config = {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "process_docs": f"<function docs at {hex(id(names))}>",
        "num_fewshot": fewshot,
        "metadata": {"version": 3.0, "pretrained": arguments.model_args.get("pretrained")},
    }
    return {
        "configs": {name: {"task": name, **config} for name in names},
        "versions": dict.fromkeys(names, 3.0),
        "n-shot": dict.fromkeys(names, fewshot),
        "lm_eval_version": version,
        "transformers_version": "5.19.0",
    }


def samples(task: str, arguments: Any, skill: float) -> list[dict[str, Any]]:
    count = int(arguments.limit or DOCUMENTS)
    if task == "letters":
        return [letter(number, skill) for number in range(count)]
    if task == "degrees":
        return [answered(number, skill, "none", {"bleu": 0.37}) for number in range(count)]
    return [
        answered(number, skill, name, {"words": 0.5, "exact_match": None})
        for name in ("strict-match", "flexible")
        for number in range(count)
    ]


def is_right(number: int, skill: float) -> bool:
    drawn = int(hashlib.sha256(str(number).encode()).hexdigest()[:8], 16)
    return drawn / 2**32 < skill


def described(number: int, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    question = f"{number} + 1 = ?"
    return {
        "doc_id": number,
        "doc": {"question": question, "weight": float("nan")},
        "filter": name,
        "metrics": list(metrics),
        "doc_hash": hashlib.sha256(question.encode()).hexdigest(),
        **metrics,
    }


def answered(number: int, skill: float, name: str, metrics: dict[str, Any]) -> dict[str, Any]:
    right = is_right(number, skill)
    given = str(number + 1) if right else "[invalid]"
    if "exact_match" in metrics:
        metrics = {**metrics, "exact_match": 1.0 if right else 0.0}
    return {
        **described(number, name, metrics),
        "target": str(number + 1),
        "arguments": {"gen_args_0": {"arg_0": f"{number} + 1 = ?", "arg_1": {"until": ["\n"]}}},
        "resps": [[f"It is {given}."]],
        "filtered_resps": [given],
    }


def letter(number: int, skill: float) -> dict[str, Any]:
    right = is_right(number, skill)
    scores = ["-1.5", "-0.5"] if right else ["-0.5", "-1.5"]
    asked = {
        f"gen_args_{i}": {"arg_0": f"Is {number} a number?", "arg_1": f" {text}"}
        for i, text in enumerate(("no", "yes"))
    }
    return {
        **described(number, "none", {"acc": 1 if right else 0, "acc_norm": "True"}),
        "target": "1",
        "arguments": asked,
        "resps": [[[score, "False"]] for score in scores],
        "filtered_resps": [[score, "False"] for score in scores],
    }


def write(path: Path, lines: list[str], failure: str) -> None:
    if failure == "no samples":
        return
    if failure == "link":
        secret = path.parent.parent / "secret"
        secret.write_text("".join(lines))
        path.symlink_to(secret)
        return
    path.write_text("".join(spoilt(lines, failure)))


def spoilt(lines: list[str], failure: str) -> list[str]:
    row = json.loads(lines[3])
    changes: dict[str, dict[str, Any]] = {
        "nan": {"exact_match": float("nan")},
        "half": {"exact_match": 0.5},
        "two": {"exact_match": 2},
        "a list": {"exact_match": [1]},
        "no outcome": {"exact_match": None},
        "long": {"resps": [["x" * (10 * 2**20)]]},
        "twice": {"doc_id": 2},
        "path": {"doc_hash": "../../../etc/passwd"},
        "negative": {"doc_id": -1},
        "nothing asked": {"arguments": {}},
        "no lists": {"filtered_resps": "text", "arguments": 7},
        "other data": {"doc_hash": "0" * 64},
        "surrogate": {"resps": [["\ud800"]], "target": "\udfff"},
    }
    texts = {
        "no json": '{"doc_id": 3, ',
        "a number": "9" * 5000,
        "deep": "[" * 100_000,
        "binary": "\x00\x00\x00",
        "empty line": "",
    }
    if failure in changes:
        return [*lines[:3], json.dumps({**row, **changes[failure]}) + "\n", *lines[4:]]
    if failure in texts:
        return [*lines[:3], texts[failure] + "\n", *lines[4:]]
    return [*lines[:3], *lines[4:]] if failure == "too few" else lines


if __name__ == "__main__":
    sys.exit(main())
