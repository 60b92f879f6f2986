"""Are the weights exact? Final parameters compared over losses, layouts and implementations.

    make exactness                                             all rows, and docs/exactness.md
    pytest -m exactness tests/integration/test_exactness.py -k sft

Every run is a real one: torchrun, TRL, DeepSpeed, fp32, SGD without clipping (AdamW and clipping
hide a wrongly scaled gradient), weights 0, 0.1, 1 and 10 before their mean is brought to 1.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from east_core.config import LoraRecipe
from east_core.engines.processes import run_child
from east_core.engines.trl.job import JOB_FILE, rank_job, write_job
from east_core.errors import EngineError
from east_core.protocols import TrainingJob
from east_core.testing.small_jobs import ONE_RANK, RECIPES, small_job, tiny_model
from tests.integration.loop import train_by_hand
from tests.integration.training_runs import (
    kill_a_rank,
    max_difference,
    on_ranks,
    train_quietly,
    trainer,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "exactness.md"
BOUND, SAME, BF16_BOUND = 1e-6, 0.0, 1e-3
TWO_RANKS = {"processes": 2, "micro_batch_size": 2}
Parameters = dict[str, torch.Tensor]
# Other jobs than the plain one: examples (21 are two full batches of 8 and one of 5), or settings.
EXAMPLES = {"ragged last batch": 21}
SETTINGS: dict[str, dict[str, Any]] = {
    "example-normalised": {"normalisation": "example"},
    "ipo": {"variant": "ipo", "beta": 0.5, "learning_rate": 0.01},
    "side weights 1.5 and 0.5": {"desirable_weight": 1.5, "undesirable_weight": 0.5},
    "LoRA, merged": {"lora": LoraRecipe(rank=4, alpha=8)},
}


class Bench:
    """Runs jobs of one loss in a scratch folder, each in its own processes."""

    def __init__(self, loss: str, work: Path) -> None:
        self.recipe, self.work = RECIPES[loss], work
        self.model = tiny_model(work / "model")
        self.jobs: dict[str, tuple[TrainingJob, Parameters]] = {}
        self._folders = 0

    def folder(self) -> Path:
        self._folders += 1
        folder = self.work / str(self._folders)
        folder.mkdir()
        return folder

    def job(self, **options: Any) -> TrainingJob:
        recipe = options.pop("recipe", self.recipe)
        return small_job(self.folder(), recipe, model=self.model, **options)

    def train(self, job: TrainingJob) -> Parameters:
        return train_quietly(job, self.folder())

    def trained(self, name: str) -> tuple[TrainingJob, Parameters]:
        """A job by its name, on one rank in micro-batches of 4 x 2, and what it trains."""
        if name not in self.jobs:
            recipe = self.recipe.model_copy(update=SETTINGS.get(name, {}))
            job = self.job(recipe=recipe, examples=EXAMPLES.get(name, 24))
            self.jobs[name] = job, self.train(job)
        return self.jobs[name]


Measure = Callable[[Bench], float]


@dataclass(frozen=True)
class Row:
    """One comparison: how the largest difference of a parameter is found, and what it may be."""

    loss: str
    compared: str
    measure: Measure
    bound: float = BOUND


def stock(bench: Bench) -> float:
    """TRL's own trainer, all weights 1. One micro-batch a step: with accumulation TRL's DPO and
    KTO divide in another order.
    """
    changes = {"kl": "trl"} if bench.recipe.loss == "kto" else {}
    job = bench.job(
        recipe=bench.recipe.model_copy(update=changes),
        weighted=False,
        resources=ONE_RANK.model_copy(update={"micro_batch_size": 8}),
    )
    out = bench.folder()
    whole = rank_job(replace(job, scratch=bench.folder()), out, "cpu")
    whole.work.mkdir(parents=True)
    write_job(whole, whole.work / JOB_FILE)
    program = ["-m", "torch.distributed.run", "--standalone", "-m"]
    program += ["east_core.testing.stock_trainers", str(whole.work / JOB_FILE)]
    run_child([sys.executable, *program], env={"OMP_NUM_THREADS": "1"}, on_line=lambda _: None)
    return max_difference(bench.train(job), load_file(out / "model.safetensors"))


def loop(name: str = "") -> Measure:
    """The hand-written loop, which has the tied head's parameter twice."""

    def measure(bench: Bench) -> float:
        job, trained = bench.trained(name)
        by_hand = train_by_hand(job, bench.folder())
        return max_difference(trained, {key: by_hand[key] for key in trained})

    return measure


def layout(name: str = "", **resources: Any) -> Measure:
    """The same job in other micro-batches or on other ranks."""

    def measure(bench: Bench) -> float:
        job, trained = bench.trained(name)
        return max_difference(trained, bench.train(on_ranks(job, bench.folder(), **resources)))

    return measure


def packed_loop(bench: Bench) -> float:
    """The hand-written loop against joined rows."""
    job, _ = bench.trained("")
    trained = bench.train(on_ranks(job, bench.folder(), packing="on"))
    by_hand = train_by_hand(job, bench.folder())
    return max_difference(trained, {key: by_hand[key] for key in trained})


def interrupted(begun: str = "off", resumed: str = "off") -> Measure:
    """One rank killed in mid-training, the job run again: as if nothing had happened.

    Its packing before and after, and after for the undisturbed run.
    """

    def measure(bench: Bench) -> float:
        job = on_ranks(bench.trained("")[0], bench.folder(), **TWO_RANKS, zero_stage=2)
        whole = bench.train(on_ranks(job, bench.folder(), packing=resumed))
        job, out = on_ranks(job, bench.folder(), checkpoint_every_steps=2), bench.folder()
        first, second = (on_ranks(job, job.scratch, packing=each) for each in (begun, resumed))
        with pytest.raises(EngineError):
            trainer(on_step=kill_a_rank(at_step=3)).train(first, out)
        return max_difference(whole, train_quietly(second, out))

    return measure


def first_loss(bench: Bench) -> float:
    """In bf16 under ZeRO-2 DPO's first loss is log 2 (w = 1): policy and reference agree.

    Up to bf16's rounding in batches of other shapes; reference log-probabilities cast to bf16 are
    off by 0.01.
    """
    recipe = bench.recipe.model_copy(update={"precision": "bf16", "epochs": 1.0})
    resources = ONE_RANK.model_copy(update={**TWO_RANKS, "zero_stage": 2})
    job = bench.job(recipe=recipe, weighted=False, resources=resources)
    return abs(trainer().train(job, bench.folder()).first_loss - math.log(2))


def rows(loss: str, setting: str) -> list[Row]:
    """All comparisons of one loss, with the one setting that only it has."""
    zero2, zero3 = {**TWO_RANKS, "zero_stage": 2}, {**TWO_RANKS, "zero_stage": 3}
    ragged, lora = "ragged last batch", "LoRA, merged"
    return [
        Row(loss, "w = 1: the stock TRL trainer", stock, SAME),
        Row(loss, "weighted: hand-written loop", loop()),
        Row(loss, "micro-batches of 8 x 1", layout(micro_batch_size=8)),
        Row(loss, "micro-batches of 1 x 8", layout(micro_batch_size=1)),
        Row(loss, "2 ranks, DDP", layout(**TWO_RANKS, zero_stage=0)),
        Row(loss, "2 ranks, ZeRO-1", layout(**TWO_RANKS, zero_stage=1)),
        Row(loss, "2 ranks, ZeRO-2", layout(**zero2)),
        Row(loss, "2 ranks, ZeRO-3", layout(**zero3)),
        Row(loss, "micro-batches grouped by length", layout(group_by_length=True)),
        Row(loss, "gradient checkpointing", layout(gradient_checkpointing=True)),
        Row(loss, f"{ragged}: hand-written loop", loop(ragged)),
        Row(loss, f"{ragged}: 2 ranks, ZeRO-2", layout(ragged, **zero2)),
        Row(loss, "kill -9 of a rank, then resumed: 2 ranks, ZeRO-2", interrupted(), SAME),
        Row(loss, f"{setting}: hand-written loop", loop(setting)),
        Row(loss, f"{setting}: 2 ranks, ZeRO-3", layout(setting, **zero3)),
        Row(loss, f"{lora}: 2 ranks, ZeRO-3", layout(lora, **zero3)),
        *packed_rows(loss, setting),
    ]


def packed_rows(loss: str, setting: str) -> list[Row]:
    """Joined rows against padded ones."""
    on = {"packing": "on"}
    zero2, zero3 = {**TWO_RANKS, "zero_stage": 2}, {**TWO_RANKS, "zero_stage": 3}
    ragged, lora = "ragged last batch", "LoRA, merged"
    return [
        Row(loss, "packed", layout(**on)),
        Row(loss, "packed: hand-written loop", packed_loop),
        Row(loss, "packed, micro-batches of 8 x 1", layout(**on, micro_batch_size=8)),
        Row(loss, "packed, gradient checkpointing", layout(**on, gradient_checkpointing=True)),
        Row(loss, "packed, 2 ranks, DDP", layout(**on, **TWO_RANKS, zero_stage=0)),
        Row(
            loss, "packed, 2 ranks, ZeRO-2, by length", layout(**on, **zero2, group_by_length=True)
        ),
        Row(loss, f"packed, {ragged}: 2 ranks, ZeRO-2", layout(ragged, **on, **zero2)),
        Row(loss, f"packed, {setting}: 2 ranks, ZeRO-3", layout(setting, **on, **zero3)),
        Row(loss, f"packed, {lora}: 2 ranks, ZeRO-3", layout(lora, **on, **zero3)),
        Row(loss, "packed: kill -9 of a rank, then resumed", interrupted("on", "on"), SAME),
        Row(loss, "begun padded, kill -9 of a rank, gone on packed", interrupted("off", "on")),
    ]


ROWS = [
    *rows("sft", "example-normalised"),
    *rows("dpo", "ipo"),
    Row("dpo", "bf16: first loss - log 2", first_loss, BF16_BOUND),
    *rows("kto", "side weights 1.5 and 0.5"),
]


@pytest.fixture(scope="session")
def bench_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """The bench of a loss; its rows share what they compare with."""
    return cache(lambda loss: Bench(loss, tmp_path_factory.mktemp(loss)))


@pytest.fixture(scope="session")
def differences(
    pytestconfig: pytest.Config, bench_of: Callable[[str], Bench]
) -> Iterator[dict[Row, float]]:
    """What the rows measured; with --write-pages the page, once it is whole."""
    found: dict[Row, float] = {}
    yield found
    if pytestconfig.getoption("--write-pages") and len(found) == len(ROWS):
        PAGE.write_text(page(found, bench_of("sft")))


@pytest.mark.exactness
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.loss}, {row.compared}")
def test_the_same_parameters(
    row: Row, bench_of: Callable[[str], Bench], differences: dict[Row, float]
) -> None:
    differences[row] = row.measure(bench_of(row.loss))
    assert differences[row] <= row.bound


def page(differences: dict[Row, float], bench: Bench) -> str:
    """docs/exactness.md."""
    before = load_file(bench.model.folder / "model.safetensors")
    size, movement = (
        sum(t.numel() for t in before.values()),
        max_difference(before, bench.trained("")[1]),
    )
    cells = [("loss", "compared with", "largest difference", "bound", ""), ("---",) * 5]
    cells += [
        (row.loss, row.compared, f"{value:.1e}", f"{row.bound:g}",
         "ok" if value <= row.bound else "BROKEN")
        for row, value in differences.items()
    ]  # fmt: skip
    lines = "\n".join("| " + " | ".join(row) + " |" for row in cells)
    return f"""# How exact the weights are

Made by `make exactness`; do not edit. Each row trains the same job twice on a random Llama
({size:,} parameters, which move by up to {movement:.2g}) and compares the final
parameters. fp32, SGD without clipping, global batch 8, two epochs, weights 0, 0.1, 1 and 10 before
rescaling to mean 1. Unless a row says otherwise the job runs on one rank with micro-batches of
4 x 2. The hand-written loop is tests/integration/loop.py. A row fails above its bound: {BOUND:g}, 0
where results must be equal bit for bit, {BF16_BOUND:g} for a loss in bf16.

{lines}
"""


def test_the_page_has_every_row_in_order() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][2:]
    told = [tuple(line.strip("| ").split(" | ")[:2]) for line in lines]
    assert told == [(row.loss, row.compared) for row in ROWS]
