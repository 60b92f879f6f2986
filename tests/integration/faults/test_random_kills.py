r"""Runs that are killed at random moments: over 200 kills of scripted engines, 10 of real ones.

    make kills                                    all of them, and the table of docs/reliability.md
    EAST_KILLS=20 EAST_REAL_KILLS=0 make kills    fewer
    pytest -m kills tests/integration/faults/test_random_kills.py -k "scripted-7]"    one run

A test is a run with two or three kills, or fewer where it ends before them; its number is the seed
that says whom, when, where the store is and whose the server is. A run that ends early is started
again, and has to finish unless it is killed again. At its end every artifact has the undisturbed
run's content, no record was made twice, nothing lies about, and no process lives.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from east_core.store.provenance import code_version
from tests.integration.faults.bench import Bench
from tests.integration.faults.random_kills import Disturbed, gone, kind_of, left_behind
from tests.integration.faults.scene import Engines, Scene
from tests.integration.faults.table import differing, repeated
from tests.integration.pages import markers, write_table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reliability.md"
BEGIN, END = markers("kills")
PROGRAM = Path(__file__).parents[1] / "scripted_children.py"
GRADER = PAGE.parents[1] / "examples" / "custom_grader"
KILLS_A_RUN: dict[Engines, int] = {"scripted": 3, "real": 2}
FIRST_SEED = 1
COUNTS: dict[Engines, int] = {
    "scripted": int(os.environ.get("EAST_KILLS", "206")),
    "real": int(os.environ.get("EAST_REAL_KILLS", "10")),
}
CASES = [
    (engines, FIRST_SEED + number)
    for engines in ("real", "scripted")
    for number in range(-(-COUNTS[engines] // KILLS_A_RUN[engines]))  # type: ignore[index]
]
# Grading functions of one's own: then there are graders to kill.
GRADING = "".join(
    f'[{table}.grading]\nkind = "python"\nfunctions = "grader"\nfolder = "{GRADER}"\n'
    for table in ("questions", "benchmarks.sums")
)


@dataclass(frozen=True)
class Killed:
    """What became of a run. `slowest`: the seconds that something outlived its run."""

    engines: Engines
    victims: Sequence[str]
    starts: int
    slowest: float
    told: str
    code_version: str


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with Bench(tmp_path_factory.mktemp("kills")) as bench:
        yield bench


@pytest.fixture(scope="session")
def baseline(bench: Bench) -> Callable[[Engines], dict[str, str]]:
    """The content hashes of an undisturbed run with those engines, made when first asked for."""
    made: dict[str, dict[str, str]] = {}

    def contents(engines: Engines) -> dict[str, str]:
        if engines not in made:
            scene = set_up(bench, f"baseline-{engines}", engines)
            ended = scene.run()
            assert ended.status == 0, ended.output[-3000:]
            assert not left_behind(scene), "an undisturbed run leaves nothing either"
            made[engines] = scene.contents()
        return made[engines]

    return contents


@pytest.fixture(scope="session")
def kept(pytestconfig: pytest.Config) -> Iterator[pytest.Cache]:
    """Keeps what became of each run, for later calls; with --write-pages, writes the page."""
    cache = pytestconfig.cache
    assert cache is not None
    yield cache
    if pytestconfig.getoption("--write-pages"):
        found = (cache.get(f"kills/{engines}-{seed}", None) for engines, seed in CASES)
        write_table(PAGE, "kills", table([Killed(**told) for told in found if told]))


def set_up(bench: Bench, name: str, engines: Engines, on_s3: bool = False) -> Scene:
    """A run's folder, with every place where something may be left inside it."""
    scene = Scene(bench, name, engines, on_s3, program=PROGRAM)
    for variable, folder in (("TMPDIR", "tmp"), ("XDG_CACHE_HOME", "home")):
        (scene.folder / folder).mkdir()
        scene.extra[variable] = str(scene.folder / folder)
    if engines == "scripted":
        scene.config.write_text(scene.toml + GRADING)
    return scene


def holds_already(known: Any) -> bool:
    return bool(known) and known["code_version"] == code_version()


@pytest.mark.kills
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("engines", "seed"), CASES)
def test_a_run_killed_at_random_ends_like_an_undisturbed_one(
    engines: Engines, seed: int, bench: Bench, baseline: Any, kept: pytest.Cache,
    pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    name = f"{engines}-{seed}"
    if pytestconfig.getoption("--write-pages") and holds_already(kept.get(f"kills/{name}", None)):
        pytest.skip("it held with this code already; --cache-clear forgets that")
    expected = baseline(engines)
    with bench.row():
        scene = set_up(bench, name, engines, on_s3=engines == "scripted" and seed % 5 == 0)
        run = Disturbed(scene, random.Random(seed), KILLS_A_RUN[engines], own_server=seed % 4 == 0)
        ended = run.carry_out()
        told = f"seed {seed}: " + "; ".join(map(str, run.kills))
        print(told)
        assert ended.status == 0, f"{told}: {ended.output[-3000:]}"
        outlived = gone(scene)
        assert repeated(scene.struck, scene.records()) == [], told
        assert differing(expected, scene.contents()) == [], told
        assert left_behind(scene) == [], told
    slowest = max([outlived, *(kill.seconds for kill in run.kills)])
    victims = [kill.victim for kill in run.kills]
    result = Killed(engines, victims, run.starts, slowest, told, code_version())
    kept.set(f"kills/{name}", asdict(result))


def table(runs: Sequence[Killed]) -> str:
    """The runs as Markdown, one line for scripted engines and one for real ones."""
    cells = [
        "| engines | runs | kills | started again | what outlived its run was gone within |",
        "| --- | --- | --- | --- | --- |",
    ]
    for engines in COUNTS:
        mine = [run for run in runs if run.engines == engines]
        victims = Counter(victim for run in mine for victim in run.victims)
        whom = ", ".join(f"{kind} {count}" for kind, count in victims.most_common())
        again = sum(run.starts - 1 for run in mine)
        slowest = max((run.slowest for run in mine), default=0.0)
        cells.append(
            f"| {engines} | {len(mine)} | {victims.total()} ({whom}) | {again} | {slowest:.1f} s |"
        )
    versions = ", ".join(sorted({run.code_version for run in runs}))
    held = f"{len(runs)} of {len(CASES)} runs have been carried out and held"
    return "\n".join(cells) + f"\n\n{held}, with {versions or 'no version'}."


def test_the_table_counts_kills_by_victim() -> None:
    one = Killed("scripted", ["run", "grader"], 2, 0.2, "", "0.1.0")
    two = Killed("scripted", ["run"], 3, 1.3, "", "0.1.0")
    assert "| scripted | 2 | 3 (run 2, grader 1) | 3 | 1.3 s |" in table([one, two])
    assert "| real | 0 | 0 () | 0 | 0.0 s |" in table([one, two])


def test_what_is_left_behind_is_seen(tmp_path: Path) -> None:
    with Bench(tmp_path) as bench:
        scene = set_up(bench, "left", "scripted")
        assert left_behind(scene) == []
        lying_about = ("store/.scratch/a.lock", "store/faults/round-01/x", "cache/a/.b.partial",
                       "cache/scratch/c", "tmp/east-again-1", "home/east/.n.1.partial")  # fmt: skip
        for name in lying_about:
            (scene.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (scene.folder / name).touch()
        assert left_behind(scene) == sorted(lying_about)
    assert kind_of(psutil.Process()) != "server"
