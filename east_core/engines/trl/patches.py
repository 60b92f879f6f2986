"""Where we reach into DeepSpeed, Transformers and TRL: what for, and for which versions.

| what | why | versions |
|---|---|---|
| `use_plain_collectives` | DeepSpeed compiles its CPU collectives for minutes | DeepSpeed 0.19 |
| `import_muon` | DeepSpeed compiles an optimizer that no run has | DeepSpeed 0.19 |
| `TokenizedDatasets._prepare_input` | weights and log-probs would be cast | Transformers 5.19 |
| `TokenizedDatasets._prepare_dataset` | TRL would encode the rows again | TRL 1.16 |
| `TokenizedDatasets._set_signature_columns_if_needed` | TRL would drop the weights | TRL 1.16 |
| `BoundReference._precompute_ref_logps` | TRL takes one reference for another | TRL 1.16 |
| `rows_one_by_one` | TRL's KTO refuses micro-batches of one row | TRL 1.16 |

Each has a test in tests/east_core/engines/test_patches.py that fails once the library does without.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from datasets import Dataset
from torch import Tensor
from transformers import TrainingArguments

OWN_COLUMNS = ("weight", "is_counted")


def use_plain_collectives() -> None:
    """Let DeepSpeed's ranks on CPUs talk over plain gloo, with the same results.

    Its own shared-memory collectives are compiled where its table of operators has them.
    """
    import deepspeed

    deepspeed.ops.__dict__["__compatible_ops__"] = {}


def import_muon() -> None:
    """Import DeepSpeed's Muon optimizer, which its engines ask for by type, without compiling it.

    No run can use it; compiling it imports PyTorch's compiler, 3 to 5 s of CPU in each rank.
    """
    from deepspeed.runtime import compiler

    compiling, compiler.compile = compiler.compile, _leave_plain
    try:
        importlib.import_module("deepspeed.runtime.zero.muon.muon_optimizer")
    finally:
        compiler.compile = compiling


def _leave_plain(**_: Any) -> Callable[[Any], Any]:
    """A decorator that does nothing."""
    return lambda function: function


class TokenizedDatasets:
    """For a trainer whose rows are ids with weights; stands before a TRL trainer in the bases."""

    args: TrainingArguments
    _signature_columns: list[str]

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset  # ids already, see east_core.engines.trl.data

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        self._signature_columns = [*self._signature_columns, *OWN_COLUMNS]

    def _prepare_input(self, data: Any) -> Any:
        """Move to the device and leave the precision alone."""
        if isinstance(data, dict):
            return {name: self._prepare_input(value) for name, value in data.items()}
        return data.to(self.args.device) if isinstance(data, Tensor) else data


class BoundReference:
    """For a trainer that computes a reference model's log-probabilities beforehand.

    They are kept by the reference checkpoint's fingerprint: TRL hashes the model in memory, which
    under ZeRO-3 is an empty shard, and the same for every model.
    """

    _reference_fingerprint: str

    def _precompute_ref_logps(self, *arguments: Any) -> Dataset:
        self._precompute_model_hash = self._reference_fingerprint
        return super()._precompute_ref_logps(*arguments)  # type: ignore[misc]


@contextlib.contextmanager
def rows_one_by_one(arguments: TrainingArguments) -> Iterator[None]:
    """Let TRL's KTO trainer be made for micro-batches of one row.

    It refuses them, since its KL is a micro-batch's; ours is a step's.
    """
    rows = arguments.per_device_train_batch_size
    arguments.per_device_train_batch_size = max(rows, 2)
    yield
    arguments.per_device_train_batch_size = rows
