r"""What each weighting of the map weighs: the training sets of its runs, described.

    python examples/weighting_map/what_is_weighted.py .east/store [map or sound]

Prints a Markdown table, means over seeds of the SFT runs: how entropy goes with difficulty among
the questions trained on (Spearman's correlation of H with the share that is right), and how much
of the whole weight lies on questions that the model mostly gets right already, on those that it
rarely gets right (at most a quarter), and on answers right by luck: by other steps than the
question's, or by none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pandas as pd
from draw_map import studies
from sound import SOLUTIONS

from east_core.runs.addresses import RunAddresses
from east_core.store import Store

MOSTLY, RARELY = 0.5, 0.25
COLUMNS = {
    "pupil": "pupil",
    "completions": "completions",
    "weighting": "weighting",
    "questions": "questions trained on",
    "with_accuracy": "H with share right",
    "mostly": "weight on mostly right",
    "rarely": "weight on rarely right",
    "luck": "weight on right by luck",
}


def described(store: str, name: str = "map") -> Iterator[dict[str, object]]:
    """A row for each SFT run whose training set is there."""
    for count, study in studies(store, name):
        with Store(study.runs_store) as opened:
            for arm in (each for each in study.arms() if each.loss == "sft"):
                cell = {"pupil": study.name.rpartition("-")[2], "completions": count}
                for run in (RunAddresses(arm.run_name(seed)) for seed in study.seeds):
                    if opened.record(run.examples(1)):
                        told = description(
                            *(_read(opened, at(1)) for at in (run.examples, run.weights))
                        )
                        yield {**cell, "weighting": arm.weighting, **told}


def _read(store: Store, address: str) -> pd.DataFrame:
    folder = store.fetch(store.require(address))
    return pd.concat(map(pd.read_parquet, sorted(folder.rglob("*.parquet"))))


def description(examples: pd.DataFrame, weights: pd.DataFrame) -> dict[str, float]:
    """Shares of the whole weight, and the correlation, of one training set."""
    rows = examples.merge(weights[["question_id", "entropy_bits", "accuracy"]], on="question_id")
    share = rows.weight / rows.weight.sum()
    return {
        "questions": float(rows.question_id.nunique()),
        "with_accuracy": rows.entropy_bits.corr(rows.accuracy, method="spearman"),
        "mostly": share[rows.accuracy > MOSTLY].sum(),
        "rarely": share[rows.accuracy <= RARELY].sum(),
        "luck": share[rows.completion.str.strip() != rows.question_id.map(SOLUTIONS)].sum(),
    }


def main() -> None:
    """Print the table."""
    rows = pd.DataFrame(described(*sys.argv[1:]))
    means = rows.groupby(["pupil", "completions", "weighting"], sort=False).mean().reset_index()
    lines = [f"| {' | '.join(COLUMNS.values())} |", "|---" * len(COLUMNS) + "|"]
    for each in means.itertuples(index=False):
        shares = f"{each.mostly:.0%} | {each.rarely:.0%} | {each.luck:.0%}"
        head = f"{each.pupil} | {each.completions} | {each.weighting} | {each.questions:.0f}"
        lines.append(f"| {head} | {each.with_accuracy:+.2f} | {shares} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
