"""Numbers that the environment sets for a machine, beside the settings of a run."""

import math
import os

from east_core.errors import StoreError


def number(name: str, default: float) -> float:
    """What the environment says under `name`, at least 0; `default` where it says nothing.

    Raises StoreError, one line, where it says anything else.
    """
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise StoreError(f"{name} is {text!r}; set a number of at least 0 (default: {default:g})")
    return value
