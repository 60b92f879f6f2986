"""`east weigh`: cluster, grade and weigh a file of responses, usable without the rest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.say import say

if TYPE_CHECKING:
    import re

    from east_core.answers.extraction import AnswerPolicy
    from east_core.answers.gradings import Grading
    from east_core.weighting.round_statistics import RoundStatistics
    from east_core.weighting.strategies import LabelFree, Weighting

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SAMPLES",
        help='.jsonl or .parquet with {"id", "gold", "responses": [...]} a line, or "answers" that '
        'were extracted already; "question", "finish_reasons" and "mean_logprobs" (one a response) '
        "are optional.",
    ),
]
Out = Annotated[Path, typer.Option(help="Where to write: .jsonl or .parquet, by the ending.")]
Strategy = Annotated[
    str,
    typer.Option(
        "--weighting",
        help="uniform, entropy, accuracy, rejected, perplexity, variance or difficulty; to compare "
        "with: corrected_entropy, shrunk_entropy, novelty, margin, balanced, shuffled; with "
        "weights whose mean is not 1, as the paper's code had them: entropy_as_released, "
        "uniform_as_released.",
    ),
]
Exponent = Annotated[
    float | None,
    typer.Option(help="a in weight ~ (entropy, ...)^a; above 0 favours the uncertain. Default 1."),
]
MaxWeight = Annotated[
    float | None, typer.Option(help="Cap on the weights; the mean stays 1. Default: none.")
]
MostExamples = Annotated[
    int | None, typer.Option(help="difficulty: examples of a question that is never solved.")
]
KeepUnanimous = Annotated[
    bool, typer.Option("--keep-unanimous", help="Keep questions with one answer only.")
]
LabelFreeMode = Annotated[
    bool, typer.Option("--label-free", help="No gold answers: the majority's answer is the label.")
]
MinMajority = Annotated[
    float | None,
    typer.Option(help="label-free: smallest share that makes a majority. Default 0.5."),
]
Policy = Annotated[
    str,
    typer.Option(
        help="Where a final answer may stand. boxed: \\boxed{} only; hash: '#### 72' only; "
        "lenient: these, 'the answer is 72', or a response that is only an answer."
    ),
]
GradingKind = Annotated[
    str,
    typer.Option(
        "--grading",
        help="How answers are compared: math, choice, text, exact, number, python or code; "
        "settings follow a colon: number:relative=0.01, python:functions=my_grader",
    ),
]
AnswerRegex = Annotated[
    str | None,
    typer.Option(
        help="Regular expression that finds the answer, in place of --policy: its last match, and "
        "of that the first group if it has one."
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code-execution", help="Let --grading code run programs, in a sandbox, here."
    ),
]
Processes = Annotated[int, typer.Option(min=1, help="Worker processes that compare answers.")]

# Behind the docstring in `--help`; \b keeps the lines as they are.
EXAMPLES = """\b
EAST, weight ~ entropy:      east weigh s.jsonl --out w.jsonl
favour the confident:        east weigh s.jsonl --out w.jsonl --exponent -1
vanilla, all weights 1:      ... --weighting uniform
~ 1 - accuracy:              ... --weighting accuracy
~ top wrong answer's share:  ... --weighting rejected
~ perplexity:                ... --weighting perplexity
~ 4 p (1 - p), p accuracy:   ... --weighting variance
hard questions teach often:  ... --weighting difficulty --most-examples 8
entropy less its bias:       ... --weighting corrected_entropy
entropy less its noise:      ... --weighting shrunk_entropy
~ how right texts differ:    ... --weighting novelty
~ right less wrong votes:    ... --weighting margin
solved by about half:        ... --weighting balanced
entropy dealt by chance:     ... --weighting shuffled
H / 6.8, only to compare:    ... --weighting entropy_as_released
no weight above 3:           ... --max-weight 3
without gold answers:        ... --label-free --min-majority 0.6
multiple choice:             ... --grading choice
your own functions:          ... --grading python:functions=my_grader
programs and their tests:    ... --grading code --allow-code-execution
"ANSWER: 72" at the end:     ... --answer-regex 'ANSWER: (.+)'
as Parquet:                  east weigh s.parquet --out w.parquet

Perplexity needs "mean_logprobs", one for each response, in the file. Equations:
docs/weighting.md; what counts as an answer: docs/answers.md.
"""


def weigh(
    samples: Source,
    out: Out,
    weighting: Strategy = "entropy",
    exponent: Exponent = None,
    max_weight: MaxWeight = None,
    most_examples: MostExamples = None,
    keep_unanimous: KeepUnanimous = False,
    label_free: LabelFreeMode = False,
    min_majority: MinMajority = None,
    policy: Policy = "lenient",
    grading: GradingKind = "math",
    answer_regex: AnswerRegex = None,
    allow_code_execution: AllowCode = False,
    processes: Processes = 2,
) -> None:
    """Cluster responses by final answer, grade them, and weigh the questions.

    Each question gets its answer clusters, entropy (bits), accuracy, share of
    the most common wrong answer, and a weight; the weights of the kept questions
    have the mean 1 (but for those "as released"). Questions with no correct
    response, or with one answer only, are dropped: weight 0 and a drop_reason.
    """
    from east_core.weighting.weigh_file import weigh_file

    statistics = weigh_file(
        samples,
        out,
        _weighting(weighting, exponent, max_weight, most_examples, not keep_unanimous),
        _policy(policy),
        _label_free(label_free, min_majority),
        processes,
        _grading(grading, allow_code_execution),
        _pattern(answer_regex),
    )
    say(_summary(statistics, out))


def _policy(given: str) -> "AnswerPolicy":
    from pydantic import TypeAdapter

    from east_core.answers.extraction import AnswerPolicy

    checked: AnswerPolicy = _checked(TypeAdapter(AnswerPolicy), given, "--policy")
    return checked


def _pattern(given: str | None) -> "re.Pattern[str] | None":
    import re

    from east_core.errors import ConfigError

    try:
        return None if given is None else re.compile(given)
    except re.error as error:
        raise ConfigError(f"--answer-regex {given}: {error}; see Python's re") from None


def _grading(given: str, allow_code_execution: bool) -> "Grading":
    """A grading from "number:relative=0.01,absolute=1"."""
    from pydantic import TypeAdapter

    from east_core.answers.gradings import Grading
    from east_core.errors import ConfigError

    kind, _, settings = given.partition(":")
    pairs = (setting.partition("=") for setting in settings.split(",") if setting)
    values = {"kind": kind, **{name.strip(): value for name, _, value in pairs}}
    checked: Grading = _checked(TypeAdapter(Grading), values, f"--grading {given}")
    if checked.kind == "code" and not allow_code_execution:
        raise ConfigError(
            "--grading code runs programs that a model wrote, in a sandbox on this machine; add "
            "--allow-code-execution to have that"
        )
    return checked


def _label_free(is_on: bool, min_majority: float | None) -> "LabelFree | None":
    from pydantic import TypeAdapter

    from east_core.errors import ConfigError
    from east_core.weighting.strategies import LabelFree

    if min_majority is not None and not is_on:
        raise ConfigError("--min-majority is for the label-free mode; add --label-free")
    majority = {} if min_majority is None else {"min_majority": min_majority}
    return _checked(TypeAdapter(LabelFree), majority, "--label-free") if is_on else None


def _weighting(
    kind: str,
    exponent: float | None,
    max_weight: float | None,
    most_examples: int | None,
    drop_unanimous: bool,
) -> "Weighting":
    from pydantic import TypeAdapter

    from east_core.weighting.strategies import Weighting

    settings = {"exponent": exponent, "max_weight": max_weight, "most_examples": most_examples}
    given: dict[str, Any] = {"kind": kind, "drop_unanimous": drop_unanimous}
    given |= {name: value for name, value in settings.items() if value is not None}
    checked: Weighting = _checked(TypeAdapter(Weighting), given, f"--weighting {kind}")
    return checked


def _checked(adapter: Any, value: Any, option: str) -> Any:
    """The validated value of an option, or a ConfigError in one line."""
    from pydantic import ValidationError

    from east_core.errors import ConfigError

    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:] or first["loc"])
        reason = f"{name.replace('_', '-')}: {first['msg']}" if name else first["msg"]
        raise ConfigError(f"{option}: {reason}; see east weigh --help") from None


def _summary(statistics: "RoundStatistics", out: Path) -> str:
    s = statistics
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(s.dropped.items()))
    entropy = "-" if s.mean_entropy_bits is None else f"{s.mean_entropy_bits:.3f} bits"
    measure = "agreement" if s.label_free else "accuracy "
    lines = [
        f"questions   {s.questions} ({s.completions} responses)",
        f"kept        {s.kept}; dropped: {dropped or 'none'}",
        f"{measure}   {s.accuracy:.4f}; pass@n {s.pass_at_n:.4f}",
        f"entropy     {entropy} (mean over the kept)",
        f"no answer   {s.no_answer_share:.2%}; truncated {s.truncated_share:.2%}",
        f"undecided   {s.undecided} comparisons",
    ]
    if s.kept:
        weights = ", ".join(f"{name} {value:.3g}" for name, value in s.weight_quantiles.items())
        lines.append(f"weights     {weights}; effective sample size {s.effective_sample_size:.1f}")
    if s.mean_weight is not None:
        lines.append(f"mean weight {s.mean_weight:.3g}, as released, and not 1: to compare with")
    return "\n".join([*lines, f"written     {out}"])
