"""The table of averages says how far they lie above the line between their ends."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

SCRIPT = Path(__file__).parents[2] / "examples" / "averages" / "averages.py"
SWING = 0.004  # seed 1 below, seed 2 above


def numbers() -> pd.DataFrame:
    rows = [
        {
            "seed": seed,
            "base_share": share,
            "greedy": line
            + 0.1 * seed
            + 0.01 * (share == 0.25),  # what both ends have more is no gain of an average
            "pass_1": line + (0.03 + SWING * (seed - 1.5)) * (share == 0.25),
            "pass_8": line - 0.02 * (share == 0.25),
        }
        for seed in (1, 2)
        for share, line in ((1.0, 0.2), (0.25, 0.5), (0.0, 0.6))
    ]
    return pd.DataFrame(rows)


def test_an_average_is_held_against_its_own_seeds_line(tmp_path: Path) -> None:
    numbers().to_csv(tmp_path / "numbers.csv", index=False)
    order = [sys.executable, str(SCRIPT), "--numbers", str(tmp_path / "numbers.csv")]
    subprocess.run([*order, "--output", str(tmp_path / "told")], check=True, capture_output=True)
    table = (tmp_path / "told.md").read_text(encoding="utf-8")
    half = 100 * 12.706 * SWING / 2  # Student's t of one degree of freedom; sem = SWING / 2
    assert (
        f"| 0.25 | 66.0% | 53.0% | 48.0% | +1.0 [+1.0, +1.0] "
        f"| +3.0 [{3 - half:+.1f}, {3 + half:+.1f}] | -2.0 [-2.0, -2.0] |" in table
    )
    assert "| 1 | 35.0% | 20.0% | 20.0% |  |  |  |" in table
    assert (tmp_path / "told.png").read_bytes().startswith(b"\x89PNG")
