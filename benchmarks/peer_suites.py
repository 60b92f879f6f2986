r"""Do the tests of other graders pass here, as they are?

    python -m benchmarks.peer_suites math-verify=PATH nemo-skills=PATH hendrycks=PATH ...

PATH is a checkout of the peer's repository, which is only read: its test files are parsed for the
cases that they hold, and nothing of it is imported or run. A suite of answers compares two answers,
in both directions where the peer does; a suite of responses finds the answer in a text first, under
the policy "lenient". Cases that are not graded as their authors expect are printed, so that a
person can say who is right; docs/answers.md does.
"""

import argparse
import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from east_core.answers.extraction import extract_answer, last_box
from east_core.answers.grading import Grader
from east_core.answers.reading import completion_answer
from east_core.records import Completion


@dataclass(frozen=True, slots=True)
class Case:
    """What a peer expects of one response or answer beside a gold answer."""

    gold: str
    said: str
    equal: bool
    in_text: bool = False


# ---------------------------------------------------------------- reading test files


def parsed(path: Path) -> ast.Module:
    """The syntax of a test file."""
    return ast.parse(path.read_text())


def functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """The test functions and methods of a file."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node


def literal(node: ast.expr) -> object:
    """The value of a literal, of a list or tuple item by item; the source of anything else."""
    if isinstance(node, ast.List | ast.Tuple):
        return [literal(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def parameters(function: ast.FunctionDef) -> Iterator[dict[str, object]]:
    """The cases of `@pytest.mark.parametrize("gold,pred,expected", [...])` by name."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("parametrize"):
            names = [name.strip() for name in str(literal(decorator.args[0])).split(",")]
            rows = literal(decorator.args[1])
            for row in rows if isinstance(rows, list) else []:
                values = row if len(names) > 1 else [row]
                yield dict(zip(names, values, strict=False))


def local_values(function: ast.FunctionDef) -> dict[str, object]:
    """The literals that a test assigns to its names."""
    return {
        ast.unparse(node.targets[0]): literal(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
    }


def gold_of(text: str) -> str:
    """The gold answer in a peer's text: its box, what is announced, or the text itself."""
    stripped = text.strip()
    return last_box(stripped) or extract_answer(stripped, "lenient") or stripped


# ---------------------------------------------------------------- the suites


def _texts(path: Path, wanted: Callable[[dict[str, object]], bool]) -> Iterator[Case]:
    for function in functions(parsed(path)):
        for row in parameters(function):
            if {"gold", "pred"} <= row.keys() and wanted(row):
                expected = row.get("expected", row.get("result"))
                yield Case(gold_of(str(row["gold"])), str(row["pred"]), bool(expected), True)


def math_verify(root: Path) -> Iterator[Case]:
    """Math-Verify's own tests of texts; where it can be lenient, as it is by default (strict)."""
    for path in sorted((root / "tests").glob("test_*.py")):
        yield from _texts(path, lambda row: row.get("strict", True) is True)


def lighteval(root: Path) -> Iterator[Case]:
    """lighteval's letters of choices in English."""
    path = root.joinpath("tests", "unit", "metrics", "test_extractive_match.py")
    for function in functions(parsed(path)):
        if function.name == "test_extraction_abc":
            for row in parameters(function):
                yield Case(str(row["gold"]), str(row["pred"]), bool(row["expected"]), True)


def nemo_skills(root: Path) -> Iterator[Case]:
    """NeMo-Skills' pairs of answers, each in both directions."""
    for function in functions(parsed(root.joinpath("tests", "test_math_equal.py"))):
        equal = function.name == "test_correct_examples"
        for row in parameters(function):
            pair = row.get("output_pair")
            if isinstance(pair, list):
                a, b = map(str, pair)
                yield from (Case(a, b, equal), Case(b, a, equal))


def hendrycks(root: Path) -> Iterator[Case]:
    """The tests of MATH's own `is_equiv`."""
    for function in functions(parsed(root / "modeling/math_equivalence_test.py")):
        values = local_values(function)
        equal = "assertTrue" in ast.unparse(function)
        yield Case(str(values["test_in"]), str(values["test_out"]), equal)


_QWEN_DIFFERENT = ("(a+5)(b+2)", "2", "x+2n+1")


def qwen_math(root: Path) -> Iterator[Case]:
    """The pairs in Qwen2.5-Math's test function, most of them in its comments.

    It prints its verdicts and states none: what is equal is stated here.
    """
    source = (root / "evaluation/grader.py").read_text()
    body = source[source.index("def _test_math_equal") : source.index("if __name__")]
    lines = [line.strip().lstrip("# ") for line in body.splitlines()]
    values: dict[str, str] = {}
    for line in lines:
        try:
            tree = ast.parse(line)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "math_equal":
                pair = [literal(argument) for argument in node.args]
                if pair != ["pred", "gt"]:
                    yield Case(str(pair[1]), str(pair[0]), True)
            elif isinstance(node, ast.Assign):
                values[ast.unparse(node.targets[0])] = str(literal(node.value))
        if values.keys() == {"pred", "gt"}:
            yield Case(values["gt"], values["pred"], values["gt"] not in _QWEN_DIFFERENT)
            values = {}


def trl(root: Path) -> Iterator[Case]:
    """TRL's rewards: completions beside solutions, 1 for a right one, 0 or none for another."""
    for function in functions(parsed(root.joinpath("tests", "test_rewards.py"))):
        values = local_values(function)
        texts = values.get("completions", values.get("completion"))
        golds = values.get("solutions", values.get("solution"))
        if "accuracy_reward" not in ast.unparse(function) or not isinstance(golds, list):
            continue
        right = [f"rewards[{place}] == 1.0" for place in range(len(golds))]
        asserted = ast.unparse(function)
        for text, gold, mark in zip(_contents(texts), golds, right, strict=True):
            equal = mark in asserted or "results == [1.0]" in asserted
            yield Case(gold_of(str(gold)), text, equal, True)


def _contents(completions: object) -> Iterator[str]:
    rows = completions if isinstance(completions, list) else []
    for (message,) in rows:
        yield str(message["content"] if isinstance(message, dict) else message)


def open_instruct(root: Path) -> Iterator[Case]:
    """open-instruct's spellings of one string, and its numbers in texts."""
    for name in ("test_math_utils", "test_ground_truth_utils"):
        for function in functions(parsed(root / f"open_instruct/{name}.py")):
            for row in _expanded(function):
                if function.name == "test_latex_normalization":
                    yield Case(str(row[1]), str(row[0]), True)
                elif function.name == "test_signed_number_extraction":
                    yield Case(str(row[2]), str(row[1]), bool(row[3]), True)


def _expanded(function: ast.FunctionDef) -> Iterator[list[object]]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("expand"):
            rows = literal(decorator.args[0])
            yield from (row for row in rows if isinstance(row, list))  # type: ignore[attr-defined]


SUITES: dict[str, Callable[[Path], Iterator[Case]]] = {
    "math-verify": math_verify,
    "nemo-skills": nemo_skills,
    "hendrycks": hendrycks,
    "qwen2.5-math": qwen_math,
    "trl": trl,
    "open-instruct": open_instruct,
    "lighteval": lighteval,
}


# ---------------------------------------------------------------- grading


def found(case: Case) -> str | None:
    """The answer that a case's text names."""
    if not case.in_text:
        return case.said
    return completion_answer(Completion(case.said, "stop"), "lenient")


def disagreements(cases: Sequence[Case], grader: Grader) -> Iterator[tuple[Case, str | None]]:
    """The cases that are graded otherwise than their authors expect, with the answer found."""
    for case in cases:
        answer = found(case)
        if (answer is not None and grader.equal(answer, case.gold)) != case.equal:
            yield case, answer


def main() -> None:
    """Print what differs, and how many of each suite agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suites", nargs="+", metavar="NAME=PATH", help=", ".join(SUITES))
    options = parser.parse_args()
    counts = []
    with Grader(processes=2) as grader:
        for argument in options.suites:
            name, _, path = argument.partition("=")
            cases = list(SUITES[name](Path(path)))
            differing = list(disagreements(cases, grader))
            counts.append(f"{name:14} {len(cases) - len(differing)} of {len(cases)} agree")
            for case, answer in differing:
                wanted = "equal" if case.equal else "different"
                print(f"{name}: wanted {wanted}: {case.gold!r} | {case.said[-160:]!r} | {answer!r}")
    print("\n".join(counts))


if __name__ == "__main__":
    main()
