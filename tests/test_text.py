"""Names are shown as they are: what a terminal, a figure, Markdown or LaTeX would act on is written out."""

from __future__ import annotations

import pytest

from rankprobe.text import latex, markdown, plain, plain_lines


@pytest.mark.parametrize(
    ("name", "shown"),
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
def test_plain_text_has_no_character_without_a_sign(name, shown):
    assert plain(name) == shown
    plain(name).encode()


def test_lines_of_a_table_stay_lines():
    assert plain_lines("a\nb\x07") == "a\nb\\x07"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("t5_x-base (v1.1)", "t5_x-base (v1.1)"),
        ("a|b", "a\\|b"),
        ("a\\|b", "a\\\\\\|b"),
        ("**b** `c` <i> [l](u)", "\\*\\*b\\*\\* \\`c\\` \\<i\\> \\[l\\](u)"),
        ("_x_ a__b $y$ ~~z~~ &amp;", "\\_x\\_ a\\_\\_b \\$y\\$ \\~\\~z\\~\\~ \\&amp;"),
        ("two\nrows", "two\\\\nrows"),
    ],
)
def test_markdown(name, written):
    assert markdown(name) == written


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("t5_x & 50% #1 {a} $b$", "t5\\_x \\& 50\\% \\#1 \\{a\\} \\$b\\$"),
        ("a\\b~c^d", "a\\textbackslash{}b\\textasciitilde{}c\\^{}d"),
        ("<a> [b] *c*", "\\ensuremath{<}a\\ensuremath{>} {[}b{]} {*}c{*}"),
        ("a--b ''c''", "a-{}-b '{}'c'{}'"),
        ("ΔP, σ, λ", "\\ensuremath{\\Delta}P, \\ensuremath{\\sigma}, \\ensuremath{\\lambda}"),
        ("rankprobe's own - x", "rankprobe's own - x"),
    ],
)
def test_latex(name, written):
    assert latex(name) == written
