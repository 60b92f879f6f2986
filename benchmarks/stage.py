"""A training stage against TRL's own trainer: seconds from the order to the saved checkpoint.

    python -m benchmarks.stage --json rows.json

Ours has the demo's ranks and options, forked from a process that has imported the engines, as in a
run after its first samples. The other side (`benchmarks.plain.training`) is one process, which has
imported TRL, with all cores' threads. Both train the seed model on the same worked solutions, as
many as the demo's first round has.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.pairs import alternate, median_row, write_result
from benchmarks.sides import measured, other_side
from east_core.config import Resources
from east_core.config.toml_file import load_config
from east_core.engines.trl.training import TrlTrainer
from east_core.inputs.questions import builtin_path
from east_core.protocols import ModelSource
from east_core.testing.small_jobs import small_job

GOAL, START_GOAL = 1.05, 2.0
EXAMPLES = 273
MODEL = builtin_path("seed_model")


@dataclasses.dataclass
class Stage:
    """Runs our jobs one after the other, and notes what each took until its first step began."""

    trainer: TrlTrainer
    work: Path
    starts: list[float] = dataclasses.field(default_factory=list)
    jobs: int = 0

    def seconds(self) -> float:
        """Train once, in a folder of its own."""
        config = load_config(builtin_path("demo.toml"), [])
        folder = self.work / f"job-{self.jobs}"
        self.jobs += 1
        job = small_job(
            folder,
            config.training,
            model=ModelSource(MODEL, "seed"),
            examples=EXAMPLES,
            resources=config.resources,
        )
        job = dataclasses.replace(job, system_prompt=config.sampling.system_prompt)
        begun, steps = time.perf_counter(), list[float]()
        trainer = dataclasses.replace(
            self.trainer, on_step=lambda _: steps.append(time.perf_counter())
        )
        trainer.train(job, folder / "out")
        ended = time.perf_counter()
        self.starts.append(steps[0] - begun)
        return ended - begun


def main() -> None:
    """Measure pairs and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    questions = str(builtin_path("train.jsonl"))
    with tempfile.TemporaryDirectory() as folder:
        plain = ["benchmarks.plain.training", str(MODEL), questions, str(EXAMPLES), folder]
        with (
            TrlTrainer(on_log=lambda _: None) as trainer,
            other_side(plain, Resources(device="cpu", engines=1)) as other,
        ):
            stage = Stage(trainer, Path(folder) / "ours")
            stage.seconds()
            measured(other, "seconds")
            pairs = alternate(stage.seconds, lambda: measured(other, "seconds"), options.runs)
    rows = [
        median_row(
            "training: a stage's wall time, share of SFTTrainer's",
            [ours / plain for ours, plain in pairs],
            GOAL,
        ),
        median_row(
            "training: a stage's start to its first step done, share of 2 s",
            [start / START_GOAL for start in stage.starts[1:]],
            1.0,
        ),
    ]
    print(rows, pairs, stage.starts, file=sys.stderr)
    if options.json:
        write_result(options.json, rows)


if __name__ == "__main__":
    main()
