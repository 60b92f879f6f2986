"""Names of files and modules in texts and strings exist: found here, not by luck.

Looked at are the pages, infra/, Makefile, pyproject.toml, the workflows, and the strings and
comments of all Python: `-m east_core...`, entry points, globs, "see docs/...". Left out are the
paragraphs that name a commit, which tell of the past, and the changes of docs/adding.md.
"""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOPS = "east_core|tasks|flows|infra|tests|benchmarks|docs|examples|requirements"
PACKAGES = ("east_core", "tasks", "flows", "benchmarks", "tests")
PATH = re.compile(rf"(?<![\w./:@-])(?>(?:{TOPS}|\.github)/[\w./*{{}}-]*)(?!\$)")
# "benchmarks.gsm8k" is a table of a config: benchmarks' modules are those that -m runs
MODULE = re.compile(r"(?<![\w./@-])(?:east_core|tasks|flows|tests)(?:\.[A-Za-z_]\w*)+(?![\w/(-])")
RUN = re.compile(rf"-m\b[\s\",]*((?:{'|'.join(PACKAGES)})(?:\.\w+)+)")
RUN_LINE = re.compile(r"-m\",.*")
FILE = re.compile(r"(?<![\w./*-])[a-z_]\w*\.py\b(?![\w:])")
COMMIT = re.compile(r"\b(?:commit|at)\s+(?:[\w.+]*\+g)?(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b")
DIFF = re.compile(r"^```diff.*?^```", re.DOTALL | re.MULTILINE)
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+|\{[^}]*\}?")
SUFFIXES = {".py", ".toml", ".json", ".jsonl", ".md", ".yaml", ".yml", ".html", ".txt", ".png"}


def tracked(*patterns: str) -> list[Path]:
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return sorted(p for p in found if p.is_file() and "__pycache__" not in p.parts)


SOURCES = tracked(*(f"{top}/**/*.py" for top in (*PACKAGES, "examples")))
IGNORED = (ROOT / ".gitignore").read_text("utf-8").split()
PYTHON_FILES = {path.name for path in SOURCES}
TEXTS = tracked(
    "README.md", "CONTRIBUTING.md", "docs/*.md", "Makefile", "pyproject.toml", "mkdocs.yml",
    ".pre-commit-config.yaml", ".github/**/*.md", ".github/**/*.yml", "infra/**/*.*", ".ci/run",
)  # fmt: skip


def paragraphs(path: Path) -> Iterator[str]:
    text = DIFF.sub("", path.read_text("utf-8"))
    parts = _strings_and_comments(text) if path.suffix == ".py" else re.split(r"\n\s*\n", text)
    yield from (part for part in parts if not COMMIT.search(part))
    if path.suffix == ".py":
        yield from RUN_LINE.findall(text)


def _strings_and_comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield from re.split(r"\n\s*\n", token.string)


def missing_paths(text: str, here: Path) -> Iterator[str]:
    for found in PATH.findall(text):
        name = found.rstrip("./-") if "{" in found else found.rstrip("./-}")
        pattern = PLACEHOLDER.sub("*", name)
        is_address = found.startswith("benchmarks/") and "." not in found  # of a run's artifacts
        if is_address or pattern in IGNORED or pattern.isalpha():
            continue
        if not any(any(base.glob(pattern)) for base in (ROOT, here.parent)):
            yield found


def missing_modules(text: str) -> Iterator[str]:
    for found in sorted({*MODULE.findall(text), *RUN.findall(text)}):
        parts = found.split(".")
        if f".{parts[-1]}" in SUFFIXES or any(part.isupper() for part in parts):
            continue
        if not resolves(parts):
            yield found


def resolves(parts: list[str]) -> bool:
    """Whether a.b.c is a module, a package, or a name that one of them defines."""
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if base.is_dir() and not parts[length:]:
            return True
        if module.is_file():
            return not parts[length:] or parts[length] in names_of(module)
    return False


def names_of(module: Path) -> set[str]:
    names: set[str] = set()
    for path in (module, module.with_suffix(".pyi")):
        for node in ast.parse(path.read_text("utf-8")).body if path.is_file() else []:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
            else:
                names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return names


def missing_in(path: Path) -> list[str]:
    texts = list(paragraphs(path))
    missing = [n for text in texts for n in (*missing_paths(text, path), *missing_modules(text))]
    if path.suffix == ".md":
        missing += [n for text in texts for n in FILE.findall(text) if n not in PYTHON_FILES]
    return missing


def stale_imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        module = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
        parts = module.split(".") if module else [""]
        if isinstance(node, ast.ImportFrom) and parts[0] in PACKAGES:
            yield from (f"{module}.{n.name}" for n in node.names if not resolves([*parts, n.name]))


def test_files_and_modules_that_are_named_exist() -> None:
    looked_at = [path for path in (*TEXTS, *SOURCES) if path != Path(__file__).resolve()]
    assert len(looked_at) > 200
    found = {str(path.relative_to(ROOT)): missing_in(path) for path in looked_at}
    assert not {path: names for path, names in found.items() if names}


def test_names_that_are_imported_exist() -> None:
    """Slow tests and their programs, too, which no default test and no type checker imports."""
    looked_at = [path for path in SOURCES if path.name != "test_adding.py"]  # which makes modules
    found = {str(path.relative_to(ROOT)): [*stale_imports(path.read_text())] for path in looked_at}
    assert not {path: names for path, names in found.items() if names}
    assert [*stale_imports("from tasks.engines import Engines, no_such_name")]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("see east_core/backends/vllm.py", ["east_core/backends/vllm.py"]),
        ("python -m east_core.engines.nowhere", ["east_core.engines.nowhere"]),
        ("flows.self_training.no_such_flow", ["flows.self_training.no_such_flow"]),
        ("in east_core/errors.py, infra/configs/*.toml and flows.self_training.self_training", []),
    ],
)
def test_a_stale_name_is_found(text: str, missing: list[str]) -> None:
    assert [*missing_paths(text, ROOT / "README.md"), *missing_modules(text)] == missing


def test_package_data_matches_files() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    data = settings["tool"]["setuptools"]["package-data"]
    assert data
    for package, patterns in data.items():
        base = "**" if package == "*" else package.replace(".", "/")
        for pattern in patterns:
            assert any(ROOT.glob(f"{base}/{pattern}")), (package, pattern)


def test_commands_and_entry_points_can_be_imported() -> None:
    import importlib

    import yaml

    deployments = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text("utf-8"))
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    entries = [entry["entrypoint"].rpartition(".") for entry in deployments["deployments"]]
    entries += [text.partition(":") for text in settings["project"]["scripts"].values()]
    assert len(entries) > 4
    for module, _, name in entries:
        assert callable(getattr(importlib.import_module(module), name)), (module, name)


def test_templates_are_those_that_the_code_names() -> None:
    folder = ROOT / "east_core" / "reports" / "templates"
    code = "\n".join(path.read_text("utf-8") for path in SOURCES if "reports" in path.parts)
    templates = "\n".join(path.read_text("utf-8") for path in folder.iterdir())
    for path in folder.iterdir():
        assert f'"{path.name}"' in code + templates, f"{path.name} is not used"


def tree_of(page: str) -> dict[str, set[str]]:
    """The entries of docs/architecture.md's tree, by top-level folder."""
    block = page.split("## The rooms")[1].split("\n\n")[2]
    tree: dict[str, set[str]] = {}
    for line in block.splitlines():
        names = re.findall(r"(?:^|\s{2,})([a-z_]+(?:/|\.py))(?=\s{2,})", line.removeprefix("    "))
        if not line.startswith("     "):
            top = names[0].rstrip("/")
            tree[top], names = set(), names[1:]
        tree[top] |= {name.rstrip("/") for name in names}
    return tree


def test_the_tree_of_the_architecture_is_what_ls_shows() -> None:
    tree = tree_of((ROOT / "docs" / "architecture.md").read_text("utf-8"))
    assert set(tree) == {"east_core", "tasks", "flows"}
    for top, told in tree.items():
        assert told == {
            entry.name
            for entry in (ROOT / top).iterdir()
            if entry.suffix in {"", ".py"} and not entry.name.startswith("__")
        }


def test_the_tree_of_the_readme_exists() -> None:
    block = (ROOT / "README.md").read_text("utf-8").split("## What is where")[1].split("\n\n")[1]
    top = ""
    for line in block.splitlines():
        named = re.match(r"    (  )?((?:[a-z_]+/\s+)+)", line)
        assert named, line
        for name in named[2].split():
            top = top if named[1] else name
            assert (ROOT / (top + name if named[1] else name)).is_dir(), name
