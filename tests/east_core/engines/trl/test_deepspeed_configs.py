import json
from pathlib import Path

import pytest
from transformers import LlamaConfig, TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from east_core.engines.trl.job import DEEPSPEED_CONFIGS

pytestmark = pytest.mark.filterwarnings("ignore")


class SmallModel:
    config = LlamaConfig(hidden_size=64, num_hidden_layers=1)


def filled(path, tmp_path):
    """The file with every "auto" filled in, as the trainer does it."""
    from deepspeed.runtime.config import DeepSpeedConfig

    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, per_device_train_batch_size=2, max_grad_norm=0.5
    )
    config = HfTrainerDeepSpeedConfig(str(path))
    config.trainer_config_process(arguments)
    config.trainer_config_finalize(arguments, SmallModel, 10)
    return DeepSpeedConfig(config.config)


@pytest.mark.parametrize("path", sorted(DEEPSPEED_CONFIGS.glob("*.json")), ids=lambda p: p.stem)
def test_deepspeed_accepts_the_file_and_it_is_what_its_name_says(path: Path, tmp_path):
    config = filled(path, tmp_path)
    zero, (stage, *offload) = config.zero_config, path.stem.split("_offload_")
    assert f"zero{int(zero.stage)}" == stage
    assert (zero.offload_optimizer is not None) == bool(offload)
    assert (zero.offload_param is not None) == (offload == ["all"])
    assert config.train_micro_batch_size_per_gpu == 2
    assert config.gradient_clipping == 0.5
    if stage == "zero3":
        assert json.loads(path.read_text())["zero_optimization"][
            "stage3_gather_16bit_weights_on_model_save"
        ]
