"""What `benchmarks.gpu` measures, the most important first; ratios are to `LOSS-trl`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Setup:
    """One measurement.

    trainer: TRL's own, or ours; zero: DeepSpeed's stage, 0 for none; rows: how the model sees a
    micro-batch ("varlen", "rows" and "mask": joined, attended to by PyTorch's flash attention, row
    after row, or behind a mask over all; "padding_free": TRL's way).
    """

    loss: Literal["sft", "dpo", "kto"]
    trainer: Literal["trl", "ours"]
    zero: int = 2
    rows: Literal["padded", "padding_free", "varlen", "rows", "mask"] = "padded"
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
    "sft-rows": Setup("sft", "ours", rows="rows", title="ours, packed, row after row"),
    "sft-mask": Setup("sft", "ours", rows="mask", title="ours, packed, mask over all"),
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
    "sft-fp32-rows": Setup(
        "sft",
        "ours",
        rows="rows",
        precision="fp32",
        title="ours, fp32, packed, row after row",
        share=0.4,
    ),
    "kto-trl": Setup("kto", "trl", zero=0, title="TRL KTO, padded"),
    "kto-varlen": Setup("kto", "ours", rows="varlen", title="ours, packed, flash attention"),
    "kto-padded": Setup("kto", "ours", title="ours, padded, grouped by length"),
    "sft-fp32-mask": Setup(
        "sft",
        "ours",
        rows="mask",
        precision="fp32",
        title="ours, fp32, packed, mask over all",
        share=0.4,
    ),
    "dpo-mask": Setup("dpo", "ours", rows="mask", title="ours, packed, mask over all"),
}
