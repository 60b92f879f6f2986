"""A model's words in a Markdown page stay words."""

import pytest

from east_core.reports.markdown import escape_markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>alert(1)</script>", r"&lt;script&gt;alert\(1\)&lt;\/script&gt;"),
        ("[x](javascript:y)", r"\[x\]\(javascript\:y\)"),
        ("![x](http://y/z)", r"\!\[x\]\(http\:\/\/y\/z\)"),
        ("&lt;img&gt;", "&amp;lt;img&amp;gt;"),
        ("a\n# b\x1b", r"a \# b\\x1b"),
        ("plain words, 数学", "plain words, 数学"),
    ],
)
def test_nothing_but_text_is_left(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped
