"""The Jinja environment of all pages, with the formatters that reports and console share.

Everything is escaped, and a name that a template does not get is an error.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from east_core.reports import text

if TYPE_CHECKING:
    from jinja2 import Environment

FILTERS = {
    "percent": text.percent,
    "bounds": text.bounds,
    "points": text.points,
    "chance": text.chance,
    "interval": text.with_interval,
    "number": text.number,
    "duration": text.duration,
}


def page_environment(templates: Path) -> "Environment":
    """For the templates in a folder."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({**FILTERS, "json": _pretty})
    return environment


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
