"""Text of unknown origin inside a Markdown page: shown as it is, and nothing but text."""

import re

from east_core.text import visible

# ASCII punctuation that means something in CommonMark (section 2.4: a backslash makes it plain).
_MEANINGFUL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@$^=/])")


def escape_markdown(text: str) -> str:
    """`text` on one line with no tag, link, image or emphasis in it, whatever it holds."""
    entities = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(_MEANINGFUL.sub(r"\\\1", entities).split())
