"""A fingerprint of the function that a checkpoint computes, which no engine can serve by mistake.

Training ends with the log-probabilities that the new model gives the tokens of a fixed sentence;
they stand beside the checkpoint's training log. An engine that has taken new weights must give the
same ones. Comparing weights would not do: engines keep packed copies of them, which a reload may
forget. Of a model that was not trained here, a freshly started engine tells them.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from east_core.protocols import PROBE_FILE

SENTENCE = "Tom had 12 red marbles and gave 5 of them to Ann. How many are left? Let me think."
# The largest mean difference that rounding explains: fp32 engines differ by 1e-6, bf16 by 1e-2.
TOLERANCE_FP32, TOLERANCE_BF16 = 1e-3, 0.1


@dataclass(frozen=True)
class Probe:
    """Token ids, and the log-probability (nats) of each token but the first, given those before."""

    ids: list[int]
    logprobs: list[float]

    def write(self, checkpoint: Path) -> None:
        """Put the probe beside the checkpoint's training log."""
        path = checkpoint / PROBE_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")

    @classmethod
    def read(cls, checkpoint: Path) -> "Probe | None":
        """The probe of a checkpoint; None for a model that was not trained here."""
        path = checkpoint / PROBE_FILE
        return cls(**json.loads(path.read_text("utf-8"))) if path.is_file() else None

    def drift(self, logprobs: Sequence[float]) -> float:
        """Mean absolute difference (nats a token) to what an engine gives the same tokens."""
        pairs = zip(self.logprobs, logprobs, strict=True)
        return sum(abs(ours - theirs) for ours, theirs in pairs) / len(self.logprobs)
