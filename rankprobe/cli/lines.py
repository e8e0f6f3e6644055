"""Lines on a terminal that are shown as they are, whatever names are in them."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from rankprobe.text import plain


def print_line(console: Console, text: object, style: str = "") -> None:
    """Print one line without markup, emoji codes, highlighting, wrapping, or control characters."""
    console.print(Text(plain(text)), style=style, soft_wrap=True)
