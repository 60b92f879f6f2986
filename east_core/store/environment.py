"""Numbers that the environment sets for a machine, beside the settings of a run."""

import math
import os

from east_core.errors import StoreError


def number(name: str, default: float) -> float:
    """What the environment says under `name`, at least 0; `default` where it says nothing.

    Raises StoreError, one line, where it says anything else.
    """
    told = os.environ.get(name)
    if not told:
        return default
    try:
        value = float(told)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise StoreError(f"{name} is {told!r}; set a number of at least 0 (default: {default:g})")
    return value
