import json
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import LlamaConfig, TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from east_core.config import Resources, SftRecipe
from east_core.engines.devices import require_means
from east_core.engines.trl.deepspeed import deepspeed_config
from east_core.engines.trl.job import rank_job
from east_core.errors import ConfigError
from east_core.protocols import ModelSource, TrainingJob

pytestmark = pytest.mark.filterwarnings("ignore")
ZERO2 = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": False},
    "zero_optimization": {
        "stage": 2,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_scatter": True,
        "reduce_bucket_size": "auto",
        "allgather_partitions": True,
    },
    "zero_allow_untested_optimizer": True,
    "steps_per_print": 2147483647,
    "wall_clock_breakdown": False,
}
ZERO3_OFFLOAD_ALL = {
    "stage": 3,
    "overlap_comm": True,
    "contiguous_gradients": True,
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto",
    "stage3_gather_16bit_weights_on_model_save": True,
    "offload_optimizer": {"device": "cpu", "pin_memory": True},
    "offload_param": {"device": "cpu", "pin_memory": True},
}
LAYOUTS = [
    (1, "none"), (1, "optimizer"), (2, "none"), (2, "optimizer"),
    (3, "none"), (3, "optimizer"), (3, "all"),
]  # fmt: skip


class SmallModel:
    config = LlamaConfig(hidden_size=64, num_hidden_layers=1)


def filled(plain, tmp_path):
    """The configuration with every "auto" filled in, as the trainer does it."""
    from deepspeed.runtime.config import DeepSpeedConfig

    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=2, max_grad_norm=0.5
    )
    config = HfTrainerDeepSpeedConfig(plain)
    config.trainer_config_process(arguments)
    config.trainer_config_finalize(arguments, SmallModel, 10)
    return DeepSpeedConfig(config.config)


def own_file(tmp_path: Path, **changes):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3}, **changes}))
    return Resources(zero_stage=3, deepspeed_config=str(path))


def test_the_configuration_key_by_key():
    assert deepspeed_config(Resources(zero_stage=2)) == ZERO2
    zero1 = {**ZERO2["zero_optimization"], "stage": 1, "overlap_comm": False}
    assert deepspeed_config(Resources(zero_stage=1)) == {**ZERO2, "zero_optimization": zero1}
    assert deepspeed_config(Resources(zero_stage=3, offload="all")) == {
        **ZERO2,
        "zero_optimization": ZERO3_OFFLOAD_ALL,
        "zero_force_ds_cpu_optimizer": False,
    }


@pytest.mark.parametrize(("stage", "offload"), LAYOUTS)
def test_deepspeed_accepts_it_and_it_is_what_the_resources_say(stage, offload, tmp_path):
    config = filled(deepspeed_config(Resources(zero_stage=stage, offload=offload)), tmp_path)
    zero = config.zero_config
    assert int(zero.stage) == stage
    assert (zero.offload_optimizer is not None) == (offload != "none")
    assert (zero.offload_param is not None) == (offload == "all")
    assert config.train_micro_batch_size_per_gpu == 2
    assert config.gradient_clipping == 0.5


def test_a_file_of_ones_own_is_taken_and_sizes_still_follow_from_the_run(tmp_path):
    zero = {"stage": 3, "stage3_max_live_parameters": 1000}
    told = deepspeed_config(own_file(tmp_path, zero_optimization=zero))
    config = filled(told, tmp_path)
    assert config.zero_config.max_live_parameters == 1000
    assert (config.train_micro_batch_size_per_gpu, config.gradient_clipping) == (2, 0.5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gradient_clipping": 1.0}, "sets gradient_clipping, which follows from the run"),
        ({"bf16": {"enabled": True}}, "sets bf16, which follows"),
        ({"optimizer": {"type": "AdamW"}}, r"sets optimizer, .* use \[training\]"),
        ({"zero_optimization": {"stage": 2}}, "has ZeRO stage 2; set resources.zero_stage"),
        ({"zero_optimization": {}}, "has ZeRO stage 0"),
    ],
)
def test_a_file_that_would_change_what_is_learned_is_refused_before_anything_starts(
    changes, told, tmp_path
):
    resources = own_file(tmp_path, **changes).model_copy(update={"device": "cpu"})
    with pytest.raises(ConfigError, match=told):
        require_means(resources)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_file_that_cant_be_read_is_told(text, tmp_path):
    resources = own_file(tmp_path)
    path = Path(resources.deepspeed_config)
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ConfigError, match=r"resources.deepspeed_config .*own.json is no JSON"):
        deepspeed_config(resources)


def test_ddp_has_no_deepspeed_file():
    with pytest.raises(ValueError, match="deepspeed_config needs zero_stage"):
        Resources(zero_stage=0, deepspeed_config="own.json")


def test_training_never_resumes_under_another_file_than_it_began_with(tmp_path):
    (tmp_path / "examples").write_bytes(b"rows")
    job = TrainingJob(
        model=ModelSource(tmp_path, "model"),
        reference=None,
        examples=[tmp_path / "examples"],
        recipe=SftRecipe(),
        system_prompt=None,
        seed=1,
        resources=own_file(tmp_path),
        scratch=tmp_path,
    )
    one = rank_job(job, tmp_path, "cpu").identity
    own_file(tmp_path, communication_data_type="fp32")
    other = rank_job(job, tmp_path, "cpu").identity
    ours = rank_job(replace(job, resources=Resources(zero_stage=3)), tmp_path, "cpu").identity
    assert len({one, other, ours}) == 3
