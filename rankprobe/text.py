"""Escape text that users choose (run ids, labels, file names, task names) so that it is shown literally.

One function per output format: `plain` for terminals and figures, `markdown`, `latex`, `html`.
"""

from __future__ import annotations

import html as html_module
import re
import unicodedata

HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of invisible characters: controls, surrogates, line separators, paragraph separators."""

OVERRIDES = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Bidirectional classes of characters that change the order in which the following text is displayed."""

MARKUP = re.compile(r"[\\`*\[\]<>|~$&{}]|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning in Markdown. An underscore between letters has no meaning and stays as it is."""

LATIN_LOOK = "ALPHA BETA EPSILON ZETA ETA IOTA KAPPA MU NU OMICRON RHO TAU CHI".split()
"""Greek capitals without a LaTeX command, because they look like Latin capitals."""

LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}", "`": r"\textasciigrave{}",
    "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # after the \\ of a table row, LaTeX reads them as its arguments
}  # fmt: skip
"""LaTeX's special characters and their escaped forms."""


def plain(text: object) -> str:
    r"""Return `text` as one line, with each invisible character replaced by its Python escape.

    >>> plain("a\x1b[1mb\nc")
    'a\\x1b[1mb\\nc'
    """
    characters = str(text)
    if characters.isprintable():
        return characters
    return "".join(_escape(c) if _is_hidden(c) else c for c in characters)


def plain_lines(text: object) -> str:
    """Apply `plain` to each line of a text; the line breaks stay."""
    return "\n".join(map(plain, str(text).split("\n")))


def markdown(text: object) -> str:
    r"""Escape `text` for Markdown, including table cells.

    >>> markdown("t5_x, _a_ | *b*")
    't5_x, \\_a\\_ \\| \\*b\\*'
    """
    return MARKUP.sub(lambda match: f"\\{match[0]}", plain(text))


def latex(text: object) -> str:
    r"""Escape `text` for LaTeX, including table cells; Greek letters become math symbols.

    >>> latex("50% of σ_1")
    '50\\% of \\ensuremath{\\sigma}\\_1'
    """
    escaped = "".join(LATEX.get(c) or _greek(c) for c in plain(text))
    return re.sub(r"([-'])(?=\1)", r"\1{}", escaped)  # LaTeX turns -- into a dash and '' into a quote


def html(text: object) -> str:
    """Escape `text` for HTML, including attributes.

    >>> html("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return html_module.escape(plain(text))


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in HIDDEN or unicodedata.bidirectional(character) in OVERRIDES


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _greek(character: str) -> str:
    """The LaTeX command of a Greek letter; any other character, or a letter without a command, unchanged."""
    match = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(character, ""))
    if not match or match[2] == "OMICRON" or (match[1] == "CAPITAL" and match[2] in LATIN_LOOK):
        return character
    name = "lambda" if match[2] == "LAMDA" else match[2].lower()
    return rf"\ensuremath{{\{name if match[1] == 'SMALL' else name.capitalize()}}}"
