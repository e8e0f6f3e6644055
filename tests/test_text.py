"""Names are shown literally: characters with a meaning in terminals, Markdown or LaTeX are escaped."""

from __future__ import annotations

import pytest

from rankprobe.text import latex, markdown, plain, plain_lines


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cb $x_1$ 50% σ 中 \\n", "cb $x_1$ 50% σ 中 \\n"),
        ("a\x1b[31mred\x1b[0m", "a\\x1b[31mred\\x1b[0m"),
        ("two\nlines\r\tand\x85more\u2028", "two\\nlines\\r\\tand\\x85more\\u2028"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udcff", "\\udcff"),
        ("non\xa0breaking", "non\xa0breaking"),
        ("[bold]x[/] :cat:", "[bold]x[/] :cat:"),
    ],
)
def test_plain_escapes_invisible_characters(name, expected):
    assert plain(name) == expected
    plain(name).encode()


def test_plain_lines_keeps_line_breaks():
    assert plain_lines("a\nb\x07") == "a\nb\\x07"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t5_x-base (v1.1)", "t5_x-base (v1.1)"),
        ("a|b", "a\\|b"),
        ("a\\|b", "a\\\\\\|b"),
        ("**b** `c` <i> [l](u)", "\\*\\*b\\*\\* \\`c\\` \\<i\\> \\[l\\](u)"),
        ("_x_ a__b $y$ ~~z~~ &amp;", "\\_x\\_ a\\_\\_b \\$y\\$ \\~\\~z\\~\\~ \\&amp;"),
        ("two\nrows", "two\\\\nrows"),
    ],
)
def test_markdown(name, expected):
    assert markdown(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t5_x & 50% #1 {a} $b$", "t5\\_x \\& 50\\% \\#1 \\{a\\} \\$b\\$"),
        ("a\\b~c^d", "a\\textbackslash{}b\\textasciitilde{}c\\^{}d"),
        ("<a> [b] *c*", "\\ensuremath{<}a\\ensuremath{>} {[}b{]} {*}c{*}"),
        ("a--b ''c''", "a-{}-b '{}'c'{}'"),
        ("ΔP, σ, λ", "\\ensuremath{\\Delta}P, \\ensuremath{\\sigma}, \\ensuremath{\\lambda}"),
        ("rankprobe's own - x", "rankprobe's own - x"),
    ],
)
def test_latex(name, expected):
    assert latex(name) == expected
