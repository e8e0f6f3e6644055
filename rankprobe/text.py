"""Text that users choose (names of runs, labels, files, tasks), written so that it is shown as it is.

One function per place where text is shown: `plain` for terminals and figures, `markdown`, `latex`.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories without a sign of their own: controls, lone surrogates, line and paragraph breaks."""

OVERRIDES = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Unicode directions that change how the text after them is ordered."""

MARKUP = re.compile(r"[\\`*\[\]<>|~$&{}]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would act on. An underscore between letters is none, so that names stay readable."""

LATIN_LOOK = "ALPHA BETA EPSILON ZETA ETA IOTA KAPPA MU NU OMICRON RHO TAU CHI".split()
"""Greek capitals (and small omicron) that LaTeX has no command for."""

LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}", "`": r"\textasciigrave{}",
    "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # the end of a table's row would take them for its arguments
}  # fmt: skip
"""What LaTeX would act on, and how it is written instead."""


def plain(text: object) -> str:
    r"""`text` on one line, each character without a sign of its own as its Python escape.

    >>> plain("a\x1b[1mb\nc")
    'a\\x1b[1mb\\nc'
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(_escaped(each) if _is_hidden(each) else each for each in shown)


def plain_lines(text: object) -> str:
    """The same for a text of several lines, which it keeps."""
    return "\n".join(map(plain, str(text).split("\n")))


def markdown(text: object) -> str:
    r"""`text` for Markdown, also within a cell of a table.

    >>> markdown("t5_x, _a_ | *b*")
    't5_x, \\_a\\_ \\| \\*b\\*'
    """
    return MARKUP.sub(lambda found: f"\\{found[0]}", plain(text))


def latex(text: object) -> str:
    r"""`text` for LaTeX, also within a cell of a table; Greek letters are set in math.

    >>> latex("50% of σ_1")
    '50\\% of \\ensuremath{\\sigma}\\_1'
    """
    found = "".join(LATEX.get(each) or _greek(each) for each in plain(text))
    return re.sub(r"([-'])(?=\1)", r"\1{}", found)  # two of them would be set as a dash or a quotation mark


def _is_hidden(letter: str) -> bool:
    return unicodedata.category(letter) in HIDDEN or unicodedata.bidirectional(letter) in OVERRIDES


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")


def _greek(letter: str) -> str:
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(letter, ""))
    if not found or found[2] == "OMICRON" or (found[1] == "CAPITAL" and found[2] in LATIN_LOOK):
        return letter
    name = "lambda" if found[2] == "LAMDA" else found[2].lower()
    return rf"\ensuremath{{\{name if found[1] == 'SMALL' else name.capitalize()}}}"
