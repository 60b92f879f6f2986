r"""Draw where weighting helps: the studies of infra/configs/map, from their numbers by seed.

    python examples/weighting_map/draw_map.py --store .east/store
    python examples/weighting_map/draw_map.py                 # again, from map.csv beside this file
    python examples/weighting_map/draw_map.py --study sound   # where only sound answers count

With --store the accuracies are first read from the studies' runs, and written to the CSV file.
Writes map.png and map.md (or sound.png ...): for each pupil, number of completions and loss the
difference of each weighting from vanilla (`uniform`, same loss, paired by seed) in points with its
interval over seeds, and how many seeds a difference of one point would need.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from east_core.reports import figures
from east_core.reports.text import point_bounds, points
from east_core.runs.addresses import RunAddresses
from east_core.store import Store
from east_core.studies.comparison import over_seeds
from east_core.studies.study import StudyConfig, load_studies

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE: Final = Path(__file__).resolve().parent
CONFIGS: Final = HERE.parents[1] / "infra" / "configs" / "map"
STUDIES: Final = {"map": ("matrix.toml", (8, 32, 64)), "sound": ("sound.toml", (32,))}
PUPILS: Final = ("one", "many", "firm", "lucky")
VANILLA: Final = "uniform"
WEIGHTINGS: Final = ("entropy", "shuffled", "balanced")
CELL: Final = ["pupil", "completions", "loss", "weighting"]
POINT, POWER, LEVEL = 0.01, 0.8, 0.05


def studies(store: str, name: str = "map") -> Iterator[tuple[int, StudyConfig]]:
    """The studies of a name, NAME-COMPLETIONS-PUPIL, each with its completions a question."""
    config, completions = STUDIES[name]
    for count in completions:
        given = [f"name={name}-{count}", f"run.sampling.samples_per_question={count}"]
        for study in load_studies(CONFIGS / config, [*given, f"store={store}"]):
            yield count, study


def collect(store: str, name: str) -> pd.DataFrame:
    """A row for each finished run: its cell, its seed, and accuracies (shares) before and after."""
    rows = [
        {
            "pupil": study.name.rpartition("-")[2],
            "completions": count,
            "loss": arm.loss,
            "weighting": arm.weighting,
            "seed": seed,
            "base": before,
            "accuracy": after,
        }
        for count, study in studies(store, name)
        for arm in study.arms()
        for seed in study.seeds
        for before, after in scores(study, arm.run_name(seed))
    ]
    return pd.DataFrame(rows).sort_values([*CELL, "seed"], key=_in_order)


def _in_order(column: pd.Series) -> pd.Series:
    return column.map(PUPILS.index) if column.name == "pupil" else column


def scores(study: StudyConfig, run: str) -> Iterator[tuple[float, float]]:
    """The accuracies of a run's base model and of its round, if both are there."""
    (benchmark,) = study.run_config(study.arms()[0], study.seeds[0]).benchmarks
    with Store(study.runs_store) as store:
        records = [store.record(RunAddresses(run).scores(number, benchmark)) for number in (0, 1)]
    if all(records):
        before, after = (float(each.facts["accuracy"]["value"]) for each in records if each)
        yield before, after


def differences(numbers: pd.DataFrame) -> pd.DataFrame:
    """Each cell's difference from vanilla, paired by seed; shares, with `low` and `high`.

    A cell with a single pair is left out.
    """
    vanilla = numbers[numbers.weighting == VANILLA].drop(columns=["weighting", "base"])
    keys = ["pupil", "completions", "loss", "seed"]
    pairs = numbers[numbers.weighting != VANILLA].merge(vanilla, on=keys, suffixes=("", "_vanilla"))
    pairs["gain"] = pairs.accuracy - pairs.accuracy_vanilla
    pairs = pairs[pairs.groupby(CELL).seed.transform("size") >= 2]  # fewer have no interval
    cells = pairs.groupby(CELL, sort=False).gain
    return cells.apply(_told).unstack().reset_index()


def _told(gains: pd.Series) -> pd.Series:
    interval = over_seeds(gains.tolist())
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return pd.Series({**values, "seeds": len(gains), "needed": seeds_needed(gains.std(ddof=1))})


def seeds_needed(deviation: float) -> float:
    """Seeds by which a paired t-test finds a difference of a point in 80% of the cases, at 5%."""
    from statsmodels.stats.power import TTestPower

    effect = POINT / deviation if deviation else math.inf
    power = TTestPower().power  # nan where the effect is beyond its numbers: more than enough
    return next((n for n in range(2, 10_000) if not power(effect, n, LEVEL) < POWER), math.inf)


def table(told: pd.DataFrame, numbers: pd.DataFrame) -> str:
    """The cells as Markdown: vanilla's accuracy, and what each weighting adds to it, in points."""
    kinds = _kinds(told)
    head = ["pupil", "completions", "loss", "base", "vanilla", *kinds, "seeds for a point"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (pupil, count, loss), cell in told.groupby(CELL[:3], sort=False):
        own = numbers[(numbers.pupil == pupil) & (numbers.completions == count)]
        mean = own[(own.loss == loss) & (own.weighting == VANILLA)].mean(numeric_only=True)
        shown = [_shown(cell[cell.weighting == kind]) for kind in kinds]
        needed = f"{cell.needed.median():.0f}"
        values = [pupil, str(count), loss.upper(), f"{mean.base:.1%}", f"{mean.accuracy:.1%}"]
        lines.append(f"| {' | '.join([*values, *shown, needed])} |")
    return "\n".join(lines) + "\n"


def _kinds(told: pd.DataFrame) -> list[str]:
    return [kind for kind in WEIGHTINGS if kind in set(told.weighting)]


def _shown(rows: pd.DataFrame) -> str:
    told = (f"{points(row.value)} {point_bounds(row.low, row.high)}" for row in rows.itertuples())
    return next(told, "")


def draw(told: pd.DataFrame) -> Figure:
    """A panel for each pupil and number of completions: differences in points, with intervals."""
    from matplotlib.figure import Figure as Canvas

    pupils, counts = list(dict.fromkeys(told.pupil)), sorted(set(told.completions))
    kinds = _kinds(told)
    figure = Canvas(figsize=(3.2 * len(counts), 1.7 * len(pupils)), layout="constrained")
    panels = figure.subplots(len(pupils), len(counts), sharex=True, sharey=True, squeeze=False)
    for row, pupil in enumerate(pupils):
        for column, count in enumerate(counts):
            cell = told[(told.pupil == pupil) & (told.completions == count)]
            _panel(panels[row][column], cell, kinds)
            panels[row][column].set_title(f"{pupil}, {count} completions", fontsize=9)
    panels[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("points above vanilla (same loss), 95% over seeds", fontsize=9)
    return figure


def _panel(axes: Axes, cell: pd.DataFrame, kinds: list[str]) -> None:
    axes.axvline(0.0, color="#999999", lw=1)
    for index, (loss, rows) in enumerate(cell.groupby("loss")):
        places = [kinds.index(kind) + 0.18 * (1 if index else -1) for kind in rows.weighting]
        values = 100 * rows.value
        axes.errorbar(
            values, places, xerr=[values - 100 * rows.low, 100 * rows.high - values], ls="",
            marker=figures.MARKERS[index], color=figures.COLOURS[index], ms=4, lw=1,
            label=str(loss).upper(),
        )  # fmt: skip
    axes.set_yticks(range(len(kinds)), kinds, fontsize=8)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.tick_params(labelsize=8)


def main() -> None:
    """Read or collect the numbers, and draw them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", choices=STUDIES, default="map", help="which; default: map")
    parser.add_argument("--output", type=Path, help="map for map.png, map.md; default: the study")
    parser.add_argument("--store", help="collect from the runs in this store first")
    parser.add_argument("--numbers", type=Path, help="the CSV file; default: the study's, here")
    arguments = parser.parse_args()
    file = arguments.numbers or HERE / f"{arguments.study}.csv"
    if arguments.store:
        rows = collect(arguments.store, arguments.study)
        rows.to_csv(file, index=False, float_format="%.4f")
    elif not file.is_file():
        parser.error(f"{file} is not there yet; read the runs' scores with --store")
    numbers = pd.read_csv(file)
    told, output = differences(numbers), arguments.output or Path(arguments.study)
    output.with_suffix(".png").write_bytes(figures.png(draw(told)))
    output.with_suffix(".md").write_text(table(told, numbers), encoding="utf-8")
    print(table(told, numbers))


if __name__ == "__main__":
    main()
