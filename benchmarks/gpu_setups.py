"""What `benchmarks.gpu` measures, the most important first; ratios are to `LOSS-trl`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Setup:
    """One measurement.

    trainer: TRL's own, or ours; zero: DeepSpeed's stage, 0 for none; rows: how the model sees a
    micro-batch ("varlen" and "mask": joined, by PyTorch's flash attention or a block mask; "auto":
    as `resources.packing = "auto"` chooses without flash attention; "padding_free": TRL's way);
    options are the trainer's.
    """

    loss: Literal["sft", "dpo", "kto"]
    trainer: Literal["trl", "ours"]
    zero: int = 2
    rows: Literal["padded", "padding_free", "varlen", "mask", "auto"] = "padded"
    grouped: bool = True
    precision: Literal["bf16", "fp32"] = "bf16"
    checkpointing: bool = False
    title: str = ""
    share: float = 1.0  # of the steps


SETUPS = {
    "check": Setup("sft", "ours", rows="varlen", title="PyTorch's kernel against a plain mask"),
    "sft-trl": Setup("sft", "trl", zero=0, title="TRL SFT, padded"),
    "sft-varlen": Setup("sft", "ours", rows="varlen", title="ours, packed, flash attention"),
    "sft-padded": Setup("sft", "ours", title="ours, padded, grouped by length"),
    "sft-varlen-zero0": Setup(
        "sft", "ours", zero=0, rows="varlen", title="ours, packed, flash attention, no ZeRO"
    ),
    "sft-mask": Setup("sft", "ours", rows="mask", title="ours, packed, block mask"),
    "sft-trl-free": Setup(
        "sft", "trl", zero=0, rows="padding_free", title="TRL SFT, padding_free (no weights)"
    ),
    "sft-trl-zero2": Setup("sft", "trl", title="TRL SFT, padded, ZeRO-2 as ours"),
    "dpo-trl": Setup("dpo", "trl", zero=0, title="TRL DPO, padded"),
    "dpo-varlen": Setup("dpo", "ours", rows="varlen", title="ours, packed, flash attention"),
    "dpo-padded": Setup("dpo", "ours", title="ours, padded, grouped by length"),
    "sft-trl-manual": Setup(
        "sft",
        "trl",
        zero=0,
        checkpointing=True,
        title="TRL SFT, its defaults (gradient checkpointing)",
    ),
    "sft-fp32-padded": Setup(
        "sft", "ours", precision="fp32", title="ours, fp32, padded", share=0.4
    ),
    "sft-fp32-mask": Setup(
        "sft",
        "ours",
        rows="mask",
        precision="fp32",
        title="ours, fp32, packed, block mask",
        share=0.4,
    ),
    "kto-trl": Setup("kto", "trl", zero=0, title="TRL KTO, padded"),
    "kto-varlen": Setup("kto", "ours", rows="varlen", title="ours, packed, flash attention"),
    "kto-padded": Setup("kto", "ours", title="ours, padded, grouped by length"),
    "sft-auto": Setup("sft", "ours", rows="auto", title="ours, packed where a mask saves work"),
    "dpo-mask": Setup("dpo", "ours", rows="mask", title="ours, packed, block mask"),
}
