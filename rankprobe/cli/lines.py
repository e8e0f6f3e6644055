"""Print lines that may contain names chosen by users."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from rankprobe.text import plain


def print_line(console: Console, text: object, style: str = "") -> None:
    """Print one line without markup, emoji codes, highlighting or wrapping; escape control characters."""
    console.print(Text(plain(text)), style=style, soft_wrap=True)
