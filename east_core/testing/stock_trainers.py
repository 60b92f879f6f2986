"""TRL's own trainers on the jobs of ours; they leave the weights out.

    python -m torch.distributed.run --standalone -m east_core.testing.stock_trainers JOB

trains with the stock trainer and saves its checkpoint. Model, arguments and tokenised rows are
those of east_core.engines.trl.rank; TRL's trainers are changed in one point only: rows come
tokenised, so their own tokenisation is skipped.
"""

import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from east_core.engines.trl import rank as ours
from east_core.engines.trl.arguments import collator, training_arguments
from east_core.engines.trl.data import TrainingData
from east_core.engines.trl.job import RankJob, read_job
from east_core.engines.trl.output import save_checkpoint
from east_core.engines.trl.trainers import GlobalBatchSampler


class _Tokenised:
    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


class _SFT(_Tokenised, SFTTrainer):
    pass


class _DPO(_Tokenised, DPOTrainer):
    pass


class _KTO(_Tokenised, KTOTrainer):
    pass


def stock_trainer(
    job: RankJob, tokenizer: PreTrainedTokenizerBase, data: TrainingData, **arguments: Any
) -> Any:
    """TRL's trainer of the job's loss; `arguments` replace those that our trainer takes."""
    recipe = job.recipe
    steps = GlobalBatchSampler(data.examples, recipe.global_batch_size, recipe.epochs, 0).steps
    configuration = training_arguments(job, steps)
    for name, value in arguments.items():
        setattr(configuration, name, value)
    rows = Dataset.from_file(str(job.data_file)).select(range(data.examples))
    return {"sft": _SFT, "dpo": _DPO, "kto": _KTO}[recipe.loss](
        model=ours.load_model(job, job.model.folder),
        args=configuration,
        train_dataset=rows.remove_columns(["weight", "is_counted"]),
        processing_class=tokenizer,
        data_collator=collator(job, tokenizer.pad_token_id),
    )


def main() -> None:
    """Train the job with the stock trainer and save it as ours is saved."""
    job = read_job(Path(sys.argv[1]))
    ours.start_process_group(job)
    tokenizer = AutoTokenizer.from_pretrained(job.model.folder)
    trainer = stock_trainer(job, tokenizer, ours.prepared_data(job, tokenizer))
    trainer.train()
    save_checkpoint(trainer, tokenizer, job)


if __name__ == "__main__":
    main()
