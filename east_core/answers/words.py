r"""Answers in words: names, phrases, the letters of choices, dates and times of day."""

import re

from east_core.answers.form import Form

MATH_NAMES = re.compile(
    r"(?<![A-Za-z])(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|sqrt|pi|infinity"
    r"|infty|mod|max|min|gcd|lcm|deg|frac|cdot|times|pm)(?![A-Za-z])"
)
_MATHEMATICS = re.compile(r"[0-9\\]|(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_SHORT_WORDS = frozenset(
    ("yes", "no", "odd", "even", "true", "none", "all", "sum", "one", "two", "six", "ten", "tie",
     "red")
)  # fmt: skip
_PHRASE = re.compile(r"[^\W\d_]+(?:[ '\-]+(?:[^\W\d_]+|[0-9]+))*")
_CHOICE = re.compile(r"\(?([A-J])\)(?:\s+\S.*)?|([A-J])[.:]\s+\S.*|\(?([A-J])\)?", re.DOTALL)
_SECOND_CHOICE = re.compile(r"\S.*[^A-Za-z][A-J](?:\)|[:.]\s)", re.DOTALL)
TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox|textnormal|emph)\s*\{([^{}]*)\}"
)
_ESTIMATE = re.compile(r"(?i:about|approximately|around|nearly|exactly|roughly)\b")
_TIME = re.compile(r"([0-9]{1,2}):([0-5][0-9](?::[0-5][0-9])?)([ap])\.?m\.?", re.IGNORECASE)
_CLOCK = re.compile(r"0?([0-9]{1,2}:0[0-9])")
_DATE = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|[0-3]?[0-9]/[0-3]?[0-9]/(?:19|20)[0-9]{2}"
)


def text_form(text: str) -> Form | None:
    r"""Words, in or out of \text{...}, without case; "(C)", "C." and "C) 12" are the choice C."""
    in_text = TEXT_COMMAND.sub(r"\1", text)
    words = " ".join(in_text.replace("$", "").replace("**", "").strip(" .,!\"'").split())
    choice = _CHOICE.fullmatch(words)
    if choice:
        letter = choice[1] or choice[2] or choice[3]
        if _SECOND_CHOICE.search(words[1:]):
            return _several_choices(words)
        return Form("text", f"text:{letter.lower()}", words)
    bare = words.strip("()[]{} ")
    if not _PHRASE.fullmatch(bare) or (in_text == text and not _are_plain_words(bare)):
        return None
    return word_form(bare)


def word_form(words: str) -> Form:
    """The form of a word or phrase."""
    return Form("text", f"text:{words.casefold()}", words)


def _several_choices(words: str) -> Form | None:
    """ "B) and C)" are two choices; "A: 3, B: 1" is a list of names, and none."""
    if re.search(r"[A-J]:", words):
        return None
    return Form("text", f"text:{' '.join(re.findall('[A-Za-z0-9]+', words.lower()))}", words)


def _are_plain_words(phrase: str) -> bool:
    """Words rather than a product of variables: "no solution", "Tom" and "ATG", but not "xy"."""
    if _ESTIMATE.match(phrase) or MATH_NAMES.search(phrase):
        return False
    return any(_is_word(part) for part in re.split("[ '-]", phrase))


def _is_word(letters: str) -> bool:
    """Lower-case letters in the order of the alphabet are how a product of variables is written."""
    if len(letters) < 2 or letters.lower() in _SHORT_WORDS:
        return len(letters) >= 2
    is_product = letters.islower() and list(letters) == sorted(set(letters)) and len(letters) <= 3
    return not is_product


def date_or_time_form(latex: str) -> Form | None:
    """ "8:34 p.m." is a time of day (without a.m. or p.m. it may be a ratio), 2020-03-05 a date."""
    plain = TEXT_COMMAND.sub(r"\1", latex).replace(" ", "")
    time = _TIME.fullmatch(plain)
    if time:
        return Form("text", f"time:{int(time[1])}:{time[2]}{time[3].lower()}", latex)
    clock = _CLOCK.fullmatch(plain)
    if clock:
        return Form("text", f"time:{clock[1]}", latex)
    if not _DATE.fullmatch(plain):
        return None
    return Form("text", f"date:{re.sub('(?<![0-9])0', '', plain)}", latex)


def has_words(latex: str) -> bool:
    """Whether prose stands between the formulas."""
    words = re.findall(r"(?<![A-Za-z\\])[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", " ", latex))
    return any(len(word) > 3 and not MATH_NAMES.fullmatch(word) for word in words)


def looks_mathematical(latex: str) -> bool:
    """Whether an expression is made of formulas rather than of prose."""
    return bool(_MATHEMATICS.search(latex)) and not has_words(latex)
