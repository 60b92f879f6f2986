"""One set of templates for pages in HTML and Markdown, with one way to write each kind of value.

In HTML every value is escaped; in Markdown what comes from models and data sets goes through
`markdown` or `block`, which leave nothing but text of it.
"""

import base64
import json
from pathlib import Path
from typing import Any

from east_core.reports import text
from east_core.reports.markdown import code_block, escape_markdown

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """A page of reports/templates; a value that is not given raises."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=text.percent,
        bounds=text.bounds,
        with_interval=text.with_interval,
        points=text.points,
        point_bounds=text.point_bounds,
        chance=text.chance,
        number=text.number,
        json=_pretty,
        markdown=escape_markdown,
        block=code_block,
    )
    page: str = environment.get_template(template).render(**values)
    return page


def pictures_in(folder: Path) -> dict[str, str]:
    """The PNG images of a folder as data URIs by title, in the order of their names."""
    return {path.stem: data_uri(path.read_bytes(), "png") for path in sorted(folder.glob("*.png"))}


def data_uri(image: bytes, kind: str) -> str:
    """An image inside a page, which then needs no other file: `kind` is "png" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
