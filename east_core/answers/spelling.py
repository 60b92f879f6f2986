r"""One spelling for what LaTeX and Unicode spell in many ways: signs, spaces, wrappers, names."""

import re
from collections.abc import Callable, Mapping

from east_core.answers.brackets import closes_at_end, split


def _ordinals(spellings: Mapping[str, str]) -> dict[int, str]:
    return {ord(character): spelling for character, spelling in spellings.items()}


# soft hyphen, zero-width and bidirectional marks, word joiners, the byte-order mark
_INVISIBLE = (0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070))
_SPACES = (0xA0, *range(0x2002, 0x200B), 0x202F, 0x205F, 0x3000)
_CHARACTERS: dict[int, str | None] = {
    **dict.fromkeys((*_INVISIBLE, 0xFEFF)),
    **dict.fromkeys(_SPACES, " "),
    **{ord(c): "-" for c in "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"},
    **{ord(c): "" for c in "€£¥₹₩₽"},
    **{0x0660 + digit: str(digit) for digit in range(10)},
    **{0x06F0 + digit: str(digit) for digit in range(10)},
    **{0xFF10 + digit: str(digit) for digit in range(10)},
    **_ordinals(
        {
            "％": "%", "，": ",", "．": ".", "（": "(", "）": ")", "×": r"\times ",
            "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "⁄": "/", "π": r"\pi ", "∞": r"\infty ",
            "≤": r"\le ", "≥": r"\ge ", "≠": r"\neq ", "±": r"\pm ", "∧": r"\land ",
            "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ", "°": r"^\circ ",
            "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "∨": r"\lor ", "ℝ": r"\mathbb{R}",
            "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "≈": r"\approx ",
            "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ",
            "’": "'", "“": '"', "”": '"', "−": "-", "∑": r"\sum ", "∏": r"\prod ",
        }
    ),
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_FUNCTIONS = (
    "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|exp|log|ln|gcd|lcm|max|min"
)
_WRAPPERS = (
    r"textcolor\s*\{[^{}]*\}|color\s*\{[^{}]*\}|underline|mathsf|textsf|textbf|mathbf|boldsymbol"
    r"|bm|emph|mathit|texttt|mathtt|pmb|colorbox\s*\{[^{}]*\}"
)
_REMARK = (
    r"(?<=\S)\s*(?:\s\(|\\text\s*\{\s*\(|\(\\text\s*\{)\s*[A-Za-z][a-z]{3,}(?:[ ,'-]+[a-z]+)*"
    r"\s*(?:\)\s*\}|\}\s*\)|\))$"
)
_ESTIMATE = r"(?i:about|approximately|around|nearly|exactly|roughly)\b"

Replacement = str | Callable[[re.Match[str]], str]


def _upright(match: re.Match[str]) -> str:
    r"""\mathrm{e} and \mathrm{arctan} are names, \mathrm{cm} is text."""
    name = match[1].strip()
    if re.fullmatch(_FUNCTIONS, name):
        return rf"\{name} "
    return name if name in ("e", "i", "d") else rf"\text{{{match[1]}}}"


_SPELLING: tuple[tuple[re.Pattern[str], Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"√\s*\(", r"\\sqrt("),
        (r"√\s*([0-9]+|[A-Za-z])", r"\\sqrt{\1}"),
        (r"\\\$|\$|\\\(|\\\)|(?<!\\)\\\[|(?<!\\)\\\]|\*\*(?![0-9A-Za-z({\\])|^\*\*", ""),
        (r"\*\*", "^"),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*\.?", ""),
        (r"\\(?:displaystyle|textstyle|limits|nolimits|phantom\{[^{}]*\})(?![A-Za-z])|\\!\s*", ""),
        (r"(?<=[0-9])(?:\\,|\\ |~)(?=[0-9]{3}(?![0-9]))", ""),
        (r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|~|\\hspace\{[^{}]*\}", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\s*(?<!\\)\{\s*,\s*\}\s*", ","),
        (r"^[+-]?[1-9][0-9]{0,2}(?: [0-9]{3})+(?:\.[0-9]+)?$", lambda m: m[0].replace(" ", "")),
        (r"\\%|\s*\b(?:per\s?cent|pct)\b", "%"),
        (r",?\s*(?:\\(?:text|mbox|textrm)\s*\{\s*,?\s*and\s*\}|\band\b|\\wedge\b)", r" \\land "),
        (r",?\s*(?:\\(?:text|mbox|textrm)\s*\{\s*,?\s*or\s*\}|\bor\b|\\vee\b)", r" \\lor "),
        (r"\^\s*\{?\s*\\circ\s*\}?\s*(?:\\text\s*\{)?\s*[CF]\s*\}?$", ""),
        (r"\s*\\degrees?(?![A-Za-z])", r"^\\circ "),
        (r"(?<=[0-9])\s+degrees(?![A-Za-z])", r"^\\circ "),
        (r"\\(?:mathrm|operatorname\*?|rm)\s*\{([A-Za-z]+)\}", _upright),
        (r"\\(?:mathrm|textrm|mbox|textit|textnormal|operatorname\*?|hbox)\s*\{", r"\\text{"),
        (rf"\\(?:{_WRAPPERS})\s*\{{([^{{}}]*(?:\{{[^{{}}]*\}}[^{{}}]*)*)\}}", r"\1"),
        (r"\{\s*\\(?:bf|it|rm|sf|color\s*\{[^{}]*\})\s+([^{}]*)\}", r"\1"),
        (r"\\(?:bf|color\s*\{[^{}]*\})(?![A-Za-z])\s*", ""),
        (_REMARK, ""),
        (r"\\(?:leq|le|leqslant)(?![A-Za-z])|<=", r"\\le "),
        (r"\\(?:geq|ge|geqslant)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\ne(?![A-Za-z])|!=", r"\\neq "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:simeq|thickapprox)(?![A-Za-z])", r"\\approx "),
        (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset "),
        (r"(?<![A-Za-z\\])sqrt\s*(?=[({0-9A-Za-z])", r"\\sqrt"),
        (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}"),
        (rf"(?<![A-Za-z\\])({_FUNCTIONS})(?=\s*[\^_(\\{{0-9]|\s+[A-Za-z](?![A-Za-z]))", r"\\\1 "),
        (r"(?<![A-Za-z\\])pi(?![A-Za-z])", r"\\pi "),
        (r"\\frac\s*([0-9A-Za-z])\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*([0-9A-Za-z])\s*\{", r"\\frac{\1}{"),
        (r"\\frac\s*\{([^{}]*)\}\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\\[A-Za-z]+)\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"(?<![A-Za-z\\])(?:infinity|infty|inf|oo)(?![A-Za-z])", r"\\infty "),
        (rf"^(?:\\approx(?![a-z])|\\sim(?![a-z])|{_ESTIMATE})\s*", ""),
        (r"^0+(?=[0-9]+:[0-9])", ""),
    )
)  # fmt: skip


# every backslash is doubled and begins a command: a text that was escaped once too often
_ESCAPED_TWICE = re.compile(r"[^\\]*(?:\\\\[A-Za-z{}%$!,][^\\]*)+")
_LEAD = re.compile(r"^\$?\\text\s*\{[^{}]*\b(?:is|are|equals)\s*:?\s*\}\s*(?=[^\s}])")


_CURRENCY = re.compile(r"^\$?(?:US|USD|EUR|GBP|Rs\.?|AU|NT)\s*(?:\\?\$)?\s*(?=[0-9.])")


def plain_characters(text: str) -> str:
    r"""Without invisible characters, look-alikes, and a lead such as \text{The answer is }."""
    if _ESCAPED_TWICE.fullmatch(text):
        text = text.replace("\\\\", "\\")
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+", lambda m: f"^{{{m[0].translate(_RAISED)}}}", text)
    text = re.sub("[₀₁₂₃₄₅₆₇₈₉]+", lambda m: f"_{{{m[0].translate(_LOWERED)}}}", text)
    return _CURRENCY.sub("", _LEAD.sub("", text.translate(_CHARACTERS).strip())).strip()


def tidy(text: str) -> str:
    """One spelling of LaTeX commands; spaces may stay."""
    for pattern, replacement in _SPELLING:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(".,;:\\").strip()


_SPACE = re.compile(r"(\\[A-Za-z]+(?=\s+[A-Za-z])|[0-9](?=\s+[0-9]))\s+|\s+")


def squeeze(latex: str) -> str:
    r"""Without spaces, but for one that ends a command ("\pi r") or parts two numbers."""
    joined = _SPACE.sub(lambda match: f"{match[1]} " if match[1] else "", latex)
    return re.sub(r"([_^])\{([0-9A-Za-z])\}(?![0-9])", r"\1\2", joined)


_WRAPPED = re.compile(r"\\(?:text|boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")


def unwrapped(latex: str) -> str:
    r"""The content of a text that is wholly in \text{} or \boxed{}, or in brackets: (5), {5}."""
    match = _WRAPPED.fullmatch(latex.strip())
    latex = (match[1] if match else latex).strip()
    while len(latex) > 2 and latex[0] in "([{" and closes_at_end(latex):
        inner = latex[1:-1].strip()
        if not inner or len(split(inner)) > 1:
            break
        latex = inner
    return latex
