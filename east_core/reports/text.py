"""How numbers are written for people: in the terminal, in Markdown and in HTML alike."""

from east_core.evaluation.estimates import Estimate


def percent(share: float) -> str:
    """A share in percent: 0.508 is "50.8%"."""
    return f"{share:.1%}"


def bounds(share: Estimate) -> str:
    """The interval of a share, in percent: "[46.4, 55.2]"."""
    return f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"


def with_interval(share: Estimate) -> str:
    """A share in percent with its interval: "50.8% [46.4, 55.2]"."""
    return f"{percent(share.value)} {bounds(share)}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, signed: "+1.7"."""
    return f"{100 * difference:+.1f}"


def point_bounds(low: float, high: float) -> str:
    """The interval of a difference, in percentage points: "[-0.3, +3.7]"."""
    return f"[{points(low)}, {points(high)}]"


def chance(p_value: float) -> str:
    """A p-value as people write it: "p = 0.031", "p < 0.001"."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def number(value: float | None, form: str = "") -> str:
    """A number in a format of Python's; nothing for what is not known (yet)."""
    return "" if value is None else format(value, form)
