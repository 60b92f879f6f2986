"""Sets of real numbers as unions of intervals and points.

What "and" and "or" make of conditions, and union and intersection of sets: one form for one set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from east_core.answers.form import EMPTY, INFINITY, MINUS_INFINITY, UNION, Form, bracketed
from east_core.answers.numeric import approximate


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval; the ends are compared by their doubles, and kept as they were read."""

    low: float
    high: float
    ends: tuple[Form, Form]
    brackets: str

    @property
    def lower(self) -> tuple[float, bool]:
        """Sorts by where the interval begins."""
        return self.low, self.brackets[0] == "("

    @property
    def upper(self) -> tuple[float, bool]:
        """Sorts by where the interval ends."""
        return self.high, self.brackets[1] == "]"

    @property
    def is_point(self) -> bool:
        """Whether one number lies in it."""
        return self.low == self.high and self.brackets == "[]"

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies in it."""
        return self.low > self.high or (self.low == self.high and self.brackets != "[]")


def intersected(regions: Sequence[Form]) -> Form | None:
    """What lies in all regions; None where an end is unknown."""
    known = [_intervals(region) for region in regions]
    if len(known) == 1:
        return regions[0]
    if any(intervals is None for intervals in known):
        return None
    result = known[0] or []
    for intervals in known[1:]:
        result = [_common(a, b) for a in result for b in intervals or []]
        result = [interval for interval in result if not interval.is_empty]
    return _form(_merged(result))


def united(regions: Sequence[Form]) -> Form | None:
    """What lies in one region at least; None where an end is unknown."""
    if len(regions) == 1:
        return regions[0]
    known = [_intervals(region) for region in regions]
    if any(intervals is None for intervals in known):
        return None
    return _form(_merged([interval for intervals in known for interval in intervals or []]))


def _intervals(region: Form) -> list[Interval] | None:
    if region.key == EMPTY.key:
        return []
    pieces = region.items if region.brackets in (UNION, "{}") else (region,)
    intervals = [_interval(piece) for piece in pieces]
    return None if None in intervals else [piece for piece in intervals if piece is not None]


def _interval(piece: Form) -> Interval | None:
    """An interval or point; None for what is neither, as one that is written with nothing in it."""
    if piece.kind in ("number", "expression"):
        at = _position(piece)
        return None if at is None else Interval(at, at, (piece, piece), "[]")
    if piece.kind != "sequence" or piece.brackets not in ("()", "[]", "(]", "[)"):
        return None
    if len(piece.items) != 2:
        return None
    low, high = map(_position, piece.items)
    if low is None or high is None:
        return None
    interval = Interval(low, high, (piece.items[0], piece.items[1]), piece.brackets)
    return None if interval.is_empty else interval


def _position(end: Form) -> float | None:
    infinite = {INFINITY.key: inf, MINUS_INFINITY.key: -inf}
    return infinite[end.key] if end.key in infinite else approximate(end.latex)


def _common(a: Interval, b: Interval) -> Interval:
    low, high = max(a, b, key=lambda i: i.lower), min(a, b, key=lambda i: i.upper)
    brackets = low.brackets[0] + high.brackets[1]
    return Interval(low.low, high.high, (low.ends[0], high.ends[1]), brackets)


def _merged(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for interval in sorted(intervals, key=lambda i: i.lower):
        last = merged[-1] if merged else None
        if last is not None and _touch(last, interval):
            far = max(last, interval, key=lambda i: i.upper)
            brackets = last.brackets[0] + far.brackets[1]
            merged[-1] = Interval(last.low, far.high, (last.ends[0], far.ends[1]), brackets)
        else:
            merged.append(interval)
    return merged


def _touch(a: Interval, b: Interval) -> bool:
    """Whether nothing lies between a and the later b."""
    return b.low < a.high or (b.low == a.high and b.brackets[0] + a.brackets[1] != "(" + ")")


def _form(intervals: list[Interval]) -> Form:
    if not intervals:
        return EMPTY
    pieces = [_piece(interval) for interval in intervals]
    if all(interval.is_point for interval in intervals):
        return bracketed("{}", pieces, ",".join(piece.latex for piece in pieces))
    return bracketed(UNION, pieces, r"\cup".join(piece.latex for piece in pieces))


def _piece(interval: Interval) -> Form:
    if interval.is_point:
        return interval.ends[0]
    ends = ",".join(end.latex for end in interval.ends)
    latex = f"{interval.brackets[0]}{ends}{interval.brackets[1]}"
    return bracketed(interval.brackets, interval.ends, latex)
