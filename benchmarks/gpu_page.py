"""What `benchmarks.gpu` tells: a line for each measurement, the table, a section of the page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

GIB = 2**30
CONTEXT, SLACK = 2 * GIB, 0.1  # what `east plan` adds to its formulas on a GPU
Result = Mapping[str, Any]
_TITLE = "## Training on one GPU"
_INTRODUCTION = """\
Written by `python -m benchmarks.gpu`, which needs a GPU and no download; gpu.json among the
benchmarks has all of it. A random model of shape {shape}, random ids in GSM8K's lengths, global
batch {batch} in micro-batches of {micro} (of half as many pairs), {steps} steps of which the first
3 warm up, each row a process of its own, on {device_name}; {measured}.

Real tokens a second are the median over the steps, low and high the slowest and the fastest. "to
TRL" is against TRL's own trainer as its manual has it, without DeepSpeed, bf16 by autocast, given
the same batches, optimizer and learning rate, gradient checkpointing off; "same ZeRO" against TRL's
at the row's own ZeRO stage (ours is ZeRO-2 where nothing else is said). Ours runs as `east run`
would and weighs each row; its loss is the weighted one, and without weights it is TRL's (below).
Random ids teach nothing: all unweighted SFT losses stay near 12.2. "allocated" and "reserved" are
PyTorch's peaks, "formulas" what `east plan` makes of a micro-batch as large as the largest, without
its 10% for the allocator and 2 GiB for CUDA. cuDNN's attention was on in all of these;
it plans anew for each length, and ours trains without it since ([training](training.md)).
"""
_LOSSES = ("sft", "dpo", "kto")
_HEAD = (
    "",
    "real tokens/s",
    "low",
    "high",
    "to TRL",
    "same ZeRO",
    "computed / real",
    "allocated GiB",
    "reserved GiB",
    "formulas GiB",
)


def line(result: Result) -> str:
    """What one measurement found, in a line."""
    name = result["name"]
    if "error" in result:
        return f"{name}: FAILED after {result['seconds']} s: {result['error'][-900:]}"
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


def with_section(page: str, results: Path) -> str:
    """The page docs/benchmarks.md with the section of the results in a file, where there is one."""
    before = page.partition(_TITLE)[0].rstrip("\n")
    return f"{before}\n\n{section(results)}" if results.is_file() else f"{before}\n"


def section(results: Path) -> str:
    """What the results in a file tell, as the last section of the page."""
    found = json.loads(results.read_text())
    options, measured = found["options"], found["results"]
    checks = [line(result) for result in measured if "errors" in result]
    names = [result["device_name"] for result in measured if "device_name" in result]
    head = _INTRODUCTION.format(
        **options, device_name=" and ".join(sorted({*names})), measured=found["measured"]
    )
    losses = (f"- {text}" for text in _losses(measured))
    code = ["", "```", *checks, "```"] if checks else []
    return "\n".join([_TITLE, "", head, *_table(measured), "", *losses, *code, ""])


def _errors(found: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {logps:.1e} / {grads:.1e}" for name, (logps, grads) in found.items())


def _gib(result: Result, name: str = "peak_reserved") -> str:
    peak = result.get(name)
    return "-" if peak is None else f"{peak / GIB:.1f}"


def _measured(results: Iterable[Result]) -> dict[str, Result]:
    return {result["name"]: result for result in results if "tokens_per_s" in result}


def _table(results: Sequence[Result]) -> list[str]:
    measured = _measured(results)
    rows = [_HEAD, ("---",) * len(_HEAD)]
    for loss in _LOSSES:
        rows += [_row(one, measured) for one in measured.values() if one["loss"] == loss]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _row(result: Result, measured: Mapping[str, Result]) -> tuple[str, ...]:
    plain = f"{result['loss']}-trl"
    same = plain if result["zero"] == 0 else f"{plain}-zero{result['zero']}"
    formulas = (result["planned"] - CONTEXT) / (1 + SLACK) / GIB
    return (
        f"{result['loss'].upper()}: {result['title']}",
        *(f"{result[name]:,.0f}" for name in ("tokens_per_s", "low", "high")),
        *(_ratio(result, measured.get(name)) for name in (plain, same)),
        f"{result['computed_per_real']:.3f}",
        _gib(result, "peak_allocated"),
        _gib(result),
        f"{formulas:.1f}",
    )


def _ratio(result: Result, baseline: Result | None) -> str:
    if baseline is None or result["precision"] != baseline["precision"]:
        return "-"
    return f"{result['tokens_per_s'] / baseline['tokens_per_s']:.2f}"


_PAIRS = (
    ("sft-varlen", "sft-padded", "bf16, SFT: packed (flash attention) and padded"),
    ("sft-rows", "sft-padded", "bf16, SFT: packed (row after row) and padded"),
    ("sft-mask", "sft-padded", "bf16, SFT: packed (mask over all) and padded"),
    ("dpo-varlen", "dpo-padded", "bf16, DPO: packed (flash attention) and padded"),
    ("kto-varlen", "kto-padded", "bf16, KTO: packed (flash attention) and padded"),
    ("sft-fp32-rows", "sft-fp32-padded", "fp32, SFT: packed (row after row) and padded"),
    ("sft-fp32-mask", "sft-fp32-padded", "fp32, SFT: packed (mask over all) and padded"),
)


def _losses(results: Sequence[Result]) -> list[str]:
    measured = _measured(results)
    return _unweighted(measured) + [
        f"Losses of the same steps, {what}: {_apart(measured[one], measured[other])}"
        for one, other, what in _PAIRS
        if one in measured and other in measured
    ]


def _unweighted(measured: Mapping[str, Result]) -> list[str]:
    """The first step's loss without weights, against TRL's on the same rows."""
    lines = []
    for loss in _LOSSES:
        stock, kinds = measured.get(f"{loss}-trl"), (f"{loss}-varlen", f"{loss}-padded")
        found = [measured[name]["unweighted"][0] for name in kinds if name in measured]
        if stock and len(found) == len(kinds):
            packed, padded = found
            lines.append(
                f"{loss.upper()}, the first step's loss without weights: TRL "
                f"{stock['losses'][0]:.4f}, ours packed {packed:.4f}, padded {padded:.4f}"
            )
    return lines


def _apart(one: Result, other: Result) -> str:
    pairs = list(zip(one["losses"], other["losses"], strict=False))
    first, most = abs(pairs[0][0] - pairs[0][1]), max(abs(a - b) for a, b in pairs)
    return f"{first:.1e} apart at the first step, at most {most:.1e} in {len(pairs)} steps"
