"""Text of unknown origin, made safe to show: names in a store, a model's words, a file's cells.

A terminal obeys escape sequences (it can be told to rewrite what it showed), and text that runs
from right to left can hide a file's true name. What acts so is written out instead of sent.
"""

import re

_KEPT = "\n\t"
# C0 and C1 controls, DEL, line and paragraph separators, bidirectional controls (Unicode 15, UAX 9;
# "Trojan Source", CVE-2021-42574), zero-width marks of direction, and lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""`text` with whatever a terminal would obey written out: ESC becomes \x1b.

    Line ends and tabs stay; everything else that is printed stays as it is, in any script.
    """
    return _UNSAFE.sub(lambda found: _written_out(ord(found[0])), text)


def is_plain_name(name: str) -> bool:
    """Whether a name holds nothing that `visible` would write out, and no line end or tab."""
    return not (_UNSAFE.search(name) or set(name) & set(_KEPT))


def _written_out(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
