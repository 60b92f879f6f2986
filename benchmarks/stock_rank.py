"""One rank of TRL's own trainer on a job's tokenised rows, weights left out: the thing to equal.

    python -m torch.distributed.run --standalone --nproc-per-node N -m benchmarks.stock_rank JOB

Model, arguments and rows are those of east_core.backends.trl_trainer. The only change to TRL's
trainers is that rows come tokenised, so their own tokenisation is skipped.
"""

import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from east_core.backends import trl_trainer as ours
from east_core.backends.training_job import RankJob, read_job
from east_core.backends.weighted_trainers import GlobalBatchSampler


class _Tokenised:
    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


class _SFT(_Tokenised, SFTTrainer):
    pass


class _DPO(_Tokenised, DPOTrainer):
    pass


class _KTO(_Tokenised, KTOTrainer):
    pass


def main() -> None:
    """Train the job with the stock trainer and save it as ours is saved."""
    job = read_job(Path(sys.argv[1]))
    ours.start_process_group(job)
    tokenizer = AutoTokenizer.from_pretrained(job.model.folder)
    data = ours.prepared_data(job, tokenizer)
    recipe = job.recipe
    steps = GlobalBatchSampler(data.examples, recipe.global_batch_size, recipe.epochs, 0).steps
    arguments = ours.training_arguments(job, steps)
    trainer = {"sft": _SFT, "dpo": _DPO, "kto": _KTO}[recipe.loss](
        model=ours.load_model(job, job.model.folder),
        args=arguments,
        train_dataset=_plain_rows(job, data.examples),
        processing_class=tokenizer,
        data_collator=ours.collator(job, tokenizer.pad_token_id),
    )
    trainer.train()
    ours.save_checkpoint(trainer, job)


def _plain_rows(job: RankJob, examples: int) -> Dataset:
    rows = Dataset.from_file(str(job.data_file)).select(range(examples))
    return rows.remove_columns(["weight", "is_counted"])


if __name__ == "__main__":
    main()
