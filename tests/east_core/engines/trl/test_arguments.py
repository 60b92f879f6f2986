"""TRL's configuration of a job: what we set can't be replaced without a word."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from east_core.config import DpoRecipe, KtoRecipe, Resources, SftRecipe
from east_core.config.passed_on import TRAINER_OPEN, TRAINER_OURS
from east_core.engines.trl import arguments
from east_core.engines.trl.job import RankJob
from east_core.errors import ConfigError
from east_core.protocols import ModelSource

RECIPES = {"SFTConfig": SftRecipe, "DPOConfig": DpoRecipe, "KTOConfig": KtoRecipe}


def job(folder: Path, recipe: Any) -> RankJob:
    return RankJob(
        model=ModelSource(folder, "m"),
        reference=None,
        examples=(),
        recipe=recipe,
        resources=Resources(device="cpu"),
        system_prompt=None,
        seed=1,
        scratch=folder,
        out=folder,
        device="cpu",
        identity="0" * 64,
    )


@pytest.mark.parametrize("config", RECIPES)
def test_what_we_set_is_refused_or_open(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that `training_arguments` sets, and that neither table holds, fails here."""
    monkeypatch.setattr(arguments, config, dict)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # it is set; so it is put back
    told: Any = arguments.training_arguments(job(tmp_path, RECIPES[config]()), steps=1)
    assert set(told) <= {*TRAINER_OURS, *TRAINER_OPEN}


def test_ligers_kernels_that_are_not_installed_are_refused_before_the_model_is_loaded(
    tmp_path: Path,
) -> None:
    if importlib.util.find_spec("liger_kernel"):
        pytest.skip("they are installed")
    recipe = SftRecipe(trainer_options={"use_liger_kernel": True})
    with pytest.raises(ConfigError, match="pip install liger-kernel"):
        arguments.training_arguments(job(tmp_path, recipe), steps=1)


@pytest.mark.parametrize("config", RECIPES)
def test_the_users_optimizer_takes_the_place_of_ours(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    recipe = RECIPES[config](trainer_options={"optim": "adafactor"})
    told = arguments.training_arguments(job(tmp_path, recipe), steps=1)
    assert isinstance(told, TrainingArguments)
    assert told.optim == "adafactor"
