"""Make the file: template, style, script, and a Content-Security-Policy that allows only these."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rankprobe.pages.tables import data_table
from rankprobe.text import plain_lines

GENERATOR = '<meta name="generator" content="rankprobe report">'
"""The line by which a file is recognised as a report."""


def render_page(**content: Any) -> str:
    """The HTML text of a report.

    All text is escaped, and invisible characters are shown as Python escapes. Only the figures are markup;
    `plots.svg` escapes their text.

    Args:
        content: as the template `page.html.jinja` names it.
    """
    style, script = _asset("page.css"), _asset("page.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page = _environment().get_template("page.html.jinja")
    return page.render(
        **content, policy=policy, style=Markup(style), script=Markup(script), generator=Markup(GENERATOR)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rankprobe.pages", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["lines"] = plain_lines
    environment.filters["markup"] = Markup
    environment.globals["data_table"] = data_table
    return environment


def _visible(value: Any) -> Any:
    """Replace invisible characters of a text by their escapes; line breaks stay."""
    return plain_lines(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _asset(name: str) -> str:
    return files("rankprobe.pages").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """The hash of an inline style or script, as a Content-Security-Policy lists it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
