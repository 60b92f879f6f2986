"""Progress of long work as log lines: throttled, so that hours of sampling stay readable."""

import time
from dataclasses import dataclass

from prefect.logging import get_run_logger

from east_core.artifacts import ArtifactRecord
from east_core.backends.torchrun import TrainingStep
from east_core.sampler import SamplingProgress

SECONDS_BETWEEN_LINES = 5.0
BAR_WIDTH = 24


@dataclass
class _Throttle:
    """Lets one line pass every SECONDS_BETWEEN_LINES."""

    last: float = 0.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES:
            return False
        self.last = now
        return True


_throttle = _Throttle()


def bar(share: float) -> str:
    """A text progress bar: bar(0.5) is half full."""
    full = round(min(1.0, max(0.0, share)) * BAR_WIDTH)
    return "━" * full + "─" * (BAR_WIDTH - full) + f" {share:4.0%}"


def report_sampling(progress: SamplingProgress) -> None:
    """Log how far sampling has come, with tokens a second."""
    if _throttle.is_due() or progress.questions == progress.total:
        get_run_logger().info(
            "%s %d of %d questions, %.0f tokens/s",
            bar(progress.questions / max(1, progress.total)),
            progress.questions,
            progress.total,
            progress.tokens_per_second,
        )


def report_training(step: TrainingStep) -> None:
    """Log how far training has come, with its loss."""
    if _throttle.is_due() or step.step == step.steps:
        get_run_logger().info("%s %s", bar(step.step / step.steps), step)


def report_engine(line: str) -> None:
    """Pass an engine's own log on, for those who look at debug messages."""
    get_run_logger().debug("%s", line)


def log_record(record: ArtifactRecord) -> ArtifactRecord:
    """Log what a stage recorded, where, and how long it took to build; return the record."""
    get_run_logger().info(
        "%s (built in %.1f s): %s", record.address, record.seconds, summary(record)
    )
    return record


def summary(record: ArtifactRecord) -> str:
    """A record's scalar facts on one line."""
    scalars = (
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in record.facts.items()
        if isinstance(value, int | float)
    )
    return ", ".join(scalars) or "recorded"
