"""What `benchmarks.gpu` tells: a line for each measurement, the table, a section of the page."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GIB = 2**30
Result = Mapping[str, Any]
_HEAD = ("", "real tokens/s", "low", "high", "to TRL", "computed / real", "peak GiB", "plan GiB")


def line(result: Result) -> str:
    """What one measurement found, in a line."""
    name = result["name"]
    if "error" in result:
        return f"{name}: FAILED after {result['seconds']} s: {result['error']}"
    if "errors" in result:
        cells = (f"{kind}: {_errors(found)}" for kind, found in result["errors"].items())
        return f"{name} ({result['seconds']} s)\n  " + "\n  ".join(cells)
    return (
        f"{name}: {result['tokens_per_s']:,.0f} real tokens/s ({result['low']:,.0f} to "
        f"{result['high']:,.0f}), {result['step_s']:.3f} s a step, computed / real "
        f"{result['computed_per_real']:.3f}, {result['attention']}, peak {_gib(result)} GiB "
        f"reserved, plan {result['planned'] / GIB:.1f}, loss {result['losses'][0]:.6f} to "
        f"{result['losses'][-1]:.6f}, before steps {result['prepared_s']:.1f} s, "
        f"{result['seconds']} s in all"
    )


def summary(results: Sequence[Result]) -> str:
    """The table, and how far losses are apart."""
    return "\n".join(["", *_table(results), "", *_losses(results)])


def page(results: Sequence[Result]) -> str:
    """The section of docs/benchmarks.md."""
    return "\n".join([*_table(results), "", *(f"- {text}" for text in _losses(results)), ""])


def _errors(found: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {logps:.1e} / {grads:.1e}" for name, (logps, grads) in found.items())


def _gib(result: Result) -> str:
    peak = result.get("peak_reserved")
    return "-" if peak is None else f"{peak / GIB:.1f}"


def _measured(results: Iterable[Result]) -> dict[str, Result]:
    return {result["name"]: result for result in results if "tokens_per_s" in result}


def _table(results: Sequence[Result]) -> list[str]:
    measured = _measured(results)
    rows = [_HEAD, ("---",) * len(_HEAD)]
    for loss in ("sft", "dpo", "kto"):
        baseline = measured.get(f"{loss}-trl")
        rows += [_row(one, baseline) for one in measured.values() if one["loss"] == loss]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _row(result: Result, baseline: Result | None) -> tuple[str, ...]:
    rate = result["tokens_per_s"]
    ratio = "-" if baseline is None else f"{rate / baseline['tokens_per_s']:.2f}"
    rates = (f"{rate:,.0f}", f"{result['low']:,.0f}", f"{result['high']:,.0f}")
    title = f"{result['loss'].upper()}: {result['title']}"
    memory = (_gib(result), f"{result['planned'] / GIB:.1f}")
    return (title, *rates, ratio, f"{result['computed_per_real']:.3f}", *memory)


_PAIRS = (
    ("sft-varlen", "sft-padded", "bf16, SFT: packed (flash attention) and padded"),
    ("sft-mask", "sft-padded", "bf16, SFT: packed (block mask) and padded"),
    ("dpo-varlen", "dpo-padded", "bf16, DPO: packed (flash attention) and padded"),
    ("kto-varlen", "kto-padded", "bf16, KTO: packed (flash attention) and padded"),
    ("sft-fp32-mask", "sft-fp32-padded", "fp32, SFT: packed (block mask) and padded"),
    ("sft-varlen", "sft-fp32-padded", "SFT: bf16 packed and fp32 padded"),
    ("sft-padded", "sft-fp32-padded", "SFT: bf16 padded and fp32 padded"),
)


def _losses(results: Sequence[Result]) -> list[str]:
    measured = _measured(results)
    return [
        f"Losses of the same steps, {what}: {_apart(measured[one], measured[other])}"
        for one, other, what in _PAIRS
        if one in measured and other in measured
    ]


def _apart(one: Result, other: Result) -> str:
    pairs = list(zip(one["losses"], other["losses"], strict=False))
    first, most = abs(pairs[0][0] - pairs[0][1]), max(abs(a - b) for a, b in pairs)
    return f"{first:.1e} apart at the first step, at most {most:.1e} in {len(pairs)} steps"
