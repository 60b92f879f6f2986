"""What Prefect logs of our own errors: their one line, without a traceback."""

import logging

from east_core.errors import EastError


def quiet_known_errors() -> None:
    """Keep tracebacks of `EastError` out of Prefect's run logs; defects of ours keep theirs."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if _one_line not in logger.filters:
            logger.addFilter(_one_line)


def _one_line(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], EastError):
        error = record.exc_info[1]
        record.msg, record.args, record.exc_info = "%s", (str(error),), None
    return True
