r"""Does a model between the base and the last round keep more of pass@k? Over five seeds.

    python examples/averages/averages.py --output averages --run    # half an hour, 2 cores
    python examples/averages/averages.py --output averages          # again, from averages.csv

With --run the demo's three rounds are run with each seed, and both ends and three averages of them
(`east average`, `east evaluate`) are scored with eight samples a question; it goes on where it was
stopped. Writes averages.md and averages.png.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from east_core.demo import DEMO_FOLDER
from east_core.reports import figures
from east_core.reports.text import point_bounds, points
from east_core.store import Store
from east_core.studies.comparison import over_seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NUMBERS: Final = Path(__file__).resolve().parent / "averages.csv"
BENCHMARK: Final = "word-problems"
ROUNDS: Final = 3
SEEDS: Final = (1, 2, 3, 4, 5)
BASE_SHARES: Final = (0.75, 0.5, 0.25)
MEASURES: Final = {"greedy": "greedy", "pass_1": "pass@1", "pass_8": "pass@8"}


def east(*arguments: str) -> None:
    """Run a command of `east`. Raises SystemExit with its code where it fails."""
    command = [str(Path(sys.executable).with_name("east")), *arguments]
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(code)


def run(store: str, seed: int) -> Iterator[dict[str, float]]:
    """The three rounds and the averages of one seed; a row of scores for each checkpoint."""
    name = f"averages-{seed}"
    given = [f"name={name}", f"store={store}", f"seed={seed}", "evaluation.samples_per_question=8"]
    east("run", str(DEMO_FOLDER / "demo.toml"), *(part for one in given for part in ("--set", one)))
    yield _scores(store, f"{name}/round-00", seed, 1.0)
    for share in BASE_SHARES:
        own, url = f"base-{100 * share:.0f}", f"{store}/{name}"
        mixed = ("--rounds", f"0,{ROUNDS}", "--weights", f"{share},{1 - share}", "--name", own)
        east("average", url, *mixed)
        east("evaluate", f"{url}/averages/{own}", "--name", f"{name}-{own}")
        yield _scores(store, f"{name}-{own}/round-00", seed, share)
    yield _scores(store, f"{name}/round-{ROUNDS:02d}", seed, 0.0)


def _scores(store: str, checkpoint: str, seed: int, share: float) -> dict[str, float]:
    with Store(store) as opened:
        record = opened.record(f"{checkpoint}/scores/{BENCHMARK}")
    if record is None:
        raise SystemExit(f"{store}/{checkpoint} has no scores; run it again")
    passes = record.facts["pass_at"]
    values = (record.facts["accuracy"], passes["1"], passes["8"])
    shown = dict(zip(MEASURES, (float(each["value"]) for each in values), strict=True))
    return {"seed": seed, "base_share": share, **shown}


def table(numbers: pd.DataFrame) -> str:
    """Markdown: means over seeds, and each measure's height above the line between the ends."""
    head = [
        "share of the base",
        *MEASURES.values(),
        *(f"{m} above the line" for m in MEASURES.values()),
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for share, rows in numbers.groupby("base_share", sort=False):
        means = [f"{rows[measure].mean():.1%}" for measure in MEASURES]
        above = [_above_line(numbers, float(share), measure) for measure in MEASURES]
        lines.append(f"| {' | '.join([f'{share:g}', *means, *above])} |")
    return "\n".join(lines) + "\n"


def _above_line(numbers: pd.DataFrame, share: float, measure: str) -> str:
    if share in {0.0, 1.0}:
        return ""
    wide = numbers.pivot(index="seed", columns="base_share", values=measure)
    line = share * wide[1.0] + (1 - share) * wide[0.0]
    told = over_seeds((wide[share] - line).tolist())
    return f"{points(told.value)} {point_bounds(told.low, told.high)}"


def draw(numbers: pd.DataFrame) -> Figure:
    """Means over seeds by the share of the last round, and the lines between the ends."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    means = numbers.groupby("base_share")[list(MEASURES)].mean().sort_index(ascending=False)
    for index, (measure, label) in enumerate(MEASURES.items()):
        values = 100 * means[measure]
        colour, marker = figures.COLOURS[index], figures.MARKERS[index]
        axes.plot(1 - means.index, values, color=colour, marker=marker, ms=4, lw=1.4, label=label)
        axes.plot([0, 1], [values.iloc[0], values.iloc[-1]], color="#999999", lw=0.8, ls=":")
    axes.set_xlabel("share of the last round's weights (the rest is the base model)")
    axes.set_ylabel("%")
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Run, or read the numbers; write table and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=Path("averages"), help="name of .md and .png"
    )
    parser.add_argument("--run", action="store_true", help="run what has not been run yet, first")
    parser.add_argument("--store", default=".east/averages")
    parser.add_argument("--numbers", type=Path, default=NUMBERS, help="the CSV file")
    arguments = parser.parse_args()
    if arguments.run:
        rows = [row for seed in SEEDS for row in run(arguments.store, seed)]
        pd.DataFrame(rows).to_csv(arguments.numbers, index=False, float_format="%.4f")
    elif not arguments.numbers.is_file():
        parser.error(f"{arguments.numbers} is not there yet; make it with --run")
    numbers = pd.read_csv(arguments.numbers)
    arguments.output.with_suffix(".png").write_bytes(figures.png(draw(numbers)))
    arguments.output.with_suffix(".md").write_text(table(numbers), encoding="utf-8")
    print(table(numbers))


if __name__ == "__main__":
    main()
