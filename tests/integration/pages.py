"""Pages of docs/ that tests write (--write-pages)."""

from pathlib import Path


def markers(name: str) -> tuple[str, str]:
    """What stands in a page before and after what a test writes there."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def write_table(page: Path, name: str, text: str) -> None:
    """Put the text between the page's markers of that name."""
    begin, end = markers(name)
    before, rest = page.read_text("utf-8").split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")
