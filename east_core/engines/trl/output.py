"""The trained checkpoint: one folder that vLLM and Transformers load, or adapters that are merged
into one; with its training log and the probe by which an engine's weights are known.
"""

import json
import shutil
from typing import Any

import torch
from torch import Tensor, distributed
from transformers import PreTrainedTokenizerBase

from east_core.engines.probe import SENTENCE, Probe
from east_core.engines.processes import emit
from east_core.engines.trl.job import RankJob
from east_core.engines.trl.lora import dtype_of, merge_lora, misfit, write_adapter
from east_core.engines.trl.messages import StoredWhole
from east_core.inputs.adapters import files_beside_weights, trained_config
from east_core.protocols import TRAINING_LOG
from east_core.store.manifest import LOGS

_GENERATION = "generation_config.json"


def save_checkpoint(trainer: Any, tokenizer: PreTrainedTokenizerBase, job: RankJob) -> None:
    """Write a checkpoint; all ranks take part.

    With LoRA it is the adapter alone, where that can be added to the files of the job's model; else
    a whole model that vLLM and Transformers load.
    """
    probe = _probed(trainer, tokenizer)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if distributed.get_rank() != 0:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if job.recipe.lora is None:
        _save_model(state, model, job)
    elif why := misfit(state, model, job.model.folder):
        emit(StoredWhole(why))
        _save_model(merge_lora(state, model), model.get_base_model(), job)
    else:
        write_adapter(state, model, dtype_of(state), job.out)
    probe.write(job.out)
    log = (json.dumps(entry) + "\n" for entry in trainer.state.log_history)
    (job.out / TRAINING_LOG).write_text("".join(log))
    if job.tensorboard.exists():
        shutil.copytree(job.tensorboard, job.out / LOGS / "tensorboard", dirs_exist_ok=True)


def _save_model(state: dict[str, Tensor], model: Any, job: RankJob) -> None:
    """Write the whole model.

    Its tokenizer's files are copied byte for byte, so that no round changes a prompt's ids. So is
    its config.json, which training changes in passing (pad_token_id, use_cache): an engine can then
    take the new weights in place, and a user finds it as it came.
    """
    untied = {name: t for name, t in state.items() if name not in model.all_tied_weights_keys}
    model.save_pretrained(job.out, state_dict=untied)
    for file in files_beside_weights(job.model.folder):
        shutil.copyfile(file, job.out / file.name)
    config = trained_config(job.model.folder, dtype_of(state))
    (job.out / "config.json").write_bytes(config)
    if not (job.model.folder / _GENERATION).is_file():
        (job.out / _GENERATION).unlink(missing_ok=True)


@torch.no_grad()
def _probed(trainer: Any, tokenizer: PreTrainedTokenizerBase) -> Probe:
    """The log-probabilities of the probe's sentence; every rank computes them (ZeRO-3)."""
    model = trainer.model_wrapped
    model.eval()  # DeepSpeed's engine does not return itself
    ids = torch.tensor([tokenizer(SENTENCE)["input_ids"]], device=trainer.args.device)
    logits = model(input_ids=ids).logits[0, :-1].float()
    chosen = logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return Probe(ids[0].tolist(), [round(value, 6) for value in chosen.tolist()])
