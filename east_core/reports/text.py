"""How numbers are written for people: in the terminal, in Markdown and in HTML alike."""

from collections.abc import Iterator, Mapping
from typing import Any

from east_core.evaluation.estimates import Estimate
from east_core.runs.summary import SetSummary

# Facts of records whose names say too little; the others are told by their names.
LABELS = {
    "accuracy": "accuracy",
    "completions": "completions",
    "distinct_answers": "different answers a question",
    "distinct_solutions_share": "share of the right solutions that differ",
    "dropped": "dropped questions",
    "effective_sample_size": "effective sample size",
    "kept": "kept questions",
    "label_free": "trained without gold answers",
    "mean_entropy_bits": "mean entropy (bits)",
    "majority_at_n": "share of questions whose vote is right",
    "mean_weight": "mean weight, as released",
    "no_answer_share": "share without an answer",
    "pass_at_n": "share of questions answered at least once",
    "questions": "questions",
    "samples": "samples a question that the score is the mean of",
    "truncated_share": "share cut off at max_tokens",
    "unboxed_correct_share": "share that is right outside of a box",
    "unboxed_share": "share answered outside of a box",
    "undecided": "undecided comparisons",
    "weight_quantiles": "weights",
}
# Facts that programs draw with, of no use to a reader; and sets, which have a table of their own.
FOR_PROGRAMS = frozenset({"entropy_histogram", "histogram_bin_bits", "sets"})
SET_COLUMNS = (
    "set",
    "questions",
    "accuracy",
    "kept",
    "mean entropy (bits)",
    "mean weight",
    "sum of weights",
    "examples",
)


def set_row(name: str, of: SetSummary) -> tuple[str, ...]:
    """One set of a mixture, under SET_COLUMNS."""
    return (
        name,
        str(of.questions),
        percent(of.accuracy),
        str(of.kept),
        number(of.mean_entropy_bits, ".3f"),
        number(of.mean_weight, ".3f"),
        number(of.total_weight, ".1f"),
        number(of.examples),
    )


def labelled_facts(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a record states, as label and text, by label; an estimate by its value, lists left out.

    Percentiles are a line each, lowest first: together they are too wide for a table.
    """
    for label, name in sorted((_label(name), name) for name in facts.keys() - FOR_PROGRAMS):
        fact = facts[name]
        value = fact["value"] if isinstance(fact, Mapping) and "value" in fact else fact
        if isinstance(value, Mapping) and name.endswith("_quantiles"):
            for percentile in sorted(value, key=_percentile):
                yield f"{label}, {percentile}", _written(value[percentile])
        elif not isinstance(value, list | tuple):
            yield label, _written(value)


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        inner = sorted(value.items(), key=lambda item: _percentile(item[0]))
        return ", ".join(f"{name.replace('_', ' ')} {_written(part)}" for name, part in inner)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _percentile(name: str) -> tuple[float, str]:
    """Sorts "p5" before "p25" and "p100"; records keep them in the order of their letters."""
    digits = name.removeprefix("p")
    return (float(digits), "") if digits.replace(".", "", 1).isdigit() else (-1.0, name)


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


def duration(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def number(value: float | None, form: str = "") -> str:
    """A number in a format of Python's; nothing for what is not known (yet)."""
    return "" if value is None else format(value, form)
