"""One figure of a plan, and how people read it."""

import math
from dataclasses import dataclass
from typing import Literal

GIB = 2**30
FP32, BF16 = 4, 2
ADAM_STATES = 2

Kind = Literal["bytes", "number", "tokens", "seconds", "share"]


@dataclass(frozen=True)
class Estimate:
    """One figure of a plan, in the base unit of its kind, with the formula that made it."""

    section: str
    name: str
    value: float
    kind: Kind
    formula: str


def human(value: float, kind: Kind) -> str:
    """A value as people read it: 3.2 GiB, 1.4 h, 191 M."""
    if kind == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))
    if kind == "seconds":
        return _duration(value)
    if kind == "share":
        return f"{value:.0%}"
    return _scaled(value, 1000, ("", "K", "M", "B", "T"))


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    power = 0
    if abs(value) >= 1:
        power = min(int(math.log(abs(value), base)), len(units) - 1)
    scaled = value / base**power
    digits = 0 if power == 0 or abs(scaled) >= 100 else 1
    return f"{scaled:,.{digits}f} {units[power]}".rstrip()


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"
