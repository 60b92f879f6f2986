"""The manual: every page in the navigation and in the index, and no dead link."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = {
    DOCS / f"{name}.md" for name in ("configuration", "exactness", "reliability", "benchmarks")
}
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def test_the_index_leads_to_every_page_in_the_order_of_the_navigation() -> None:
    linked = LINK.findall((DOCS / "index.md").read_text("utf-8"))
    pages = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    assert sorted(linked) == sorted(pages)
    navigation = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert navigation == ["index.md", *linked]


def test_no_two_pages_say_the_same_thing() -> None:
    """Not one run of ten words stands on two pages; a page links to the one that has it."""
    home: dict[str, str] = {}
    for path in sorted({*DOCS.glob("*.md"), ROOT / "README.md"} - GENERATED):
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        words = re.findall(r"[\w'.%]+", text.lower())
        for start in range(len(words) - 9):
            run = " ".join(words[start : start + 10])
            assert home.setdefault(run, path.name) == path.name, f"{run}: {home[run]}, {path.name}"


def test_the_links_of_readme_and_contributing_are_alive() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        links = LINK.findall(page.read_text("utf-8"))
        assert links
        assert not [link for link in links if not (ROOT / link).exists()]


def test_the_manual_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "architecture" / "index.html").is_file()
