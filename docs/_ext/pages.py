"""What the site takes from elsewhere in the repository: pages, and the targets of links.

Pages are written for a reader of the repository, so their links are relative to it. On the site they lead to
the same content: a page of the site, or a file to download.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from docs._ext.api import api_page, page_names
from docs._ext.commands import commands_page
from docs._ext.settings import settings_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

PROJECT = {
    "figures/README.md": "project/gallery.md",
    "figures/gallery/table1.md": "project/table1.md",
    "figures/gallery/table2.md": "project/table2.md",
    "figures/gallery/table3.md": "project/table3.md",
    "figures/gallery/table4.md": "project/table4.md",
    "figures/atlas.md": "project/atlas-table.md",
    "experiments/README.md": "project/experiments.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "rankprobe/bundled/MODEL_CARD.md": "project/model-card.md",
    "tests/README.md": "project/tests.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
"""Pages of the repository that are pages of the site: their path, and their place in docs/."""

START = {"README.md": "index.md", "docs/README.md": "index.md"}
"""Pages of the repository whose place the start page takes."""

GENERATED = ("reference", "project")
"""Folders of docs/ that hold written pages, next to an index that is committed."""


def written_pages() -> dict[str, str]:
    """Every page that is not committed: its place in docs/, and its text."""
    pages = {"reference/settings.md": settings_page(), "reference/commands.md": commands_page()}
    pages |= {f"reference/{page}.rst": api_page(module) for module, page in page_names().items()}
    return pages | {place: _project_page(path, place) for path, place in PROJECT.items()}


def write_pages(folder: Path = DOCS) -> None:
    """Write the pages that are not committed below `folder`, and remove those that no longer exist.

    A page that has not changed keeps its time, so that Sphinx does not read it again.
    """
    pages = written_pages()
    for part in GENERATED:
        (folder / part).mkdir(exist_ok=True)
        for path in (folder / part).iterdir():
            if path.name != "index.md" and str(path.relative_to(folder)) not in pages:
                path.unlink()
    for place, text in pages.items():
        path = folder / place
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def site_links(text: str, path: str, place: str) -> str:
    """The Markdown of the page at `path` of the repository, with links as they are from `place` in docs/.

    Code blocks, addresses and links within the page stay as they are.
    """
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\]\(([^)\s]+)\)", lambda found: f"]({_link(found[1], path, place)})", parts[i])
    return "".join(parts)


def _project_page(path: str, place: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if not text.startswith("# "):  # a table: its caption is its first line
        title = {"project/atlas-table.md": "The atlas as a table"}.get(
            place, f"Table {place[-4]} of the gallery"
        )
        text = f"# {title}\n\n{text}"
    return site_links(text, path, place)


def _link(target: str, path: str, place: str) -> str:
    """A link of the page at `path`, as it is from `place`."""
    file, _, anchor = target.partition("#")
    if "://" in target or not file:
        return target
    meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
    moved = (PROJECT | START).get(meant)
    goal = f"docs/{moved}" if moved else meant
    link = posixpath.relpath(goal, posixpath.dirname(f"docs/{place}"))
    return f"{link}#{anchor}" if anchor else link
