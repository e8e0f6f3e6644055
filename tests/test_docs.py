"""The documentation site is complete and its links hold. None of this needs Sphinx; `make docs` builds the site."""

from __future__ import annotations

import importlib
import posixpath
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import typer

import rankprobe as rp
from docs._ext.api import ROOMS, entries, literal_marks, page_names
from docs._ext.pages import DOCS, GENERATED, PROJECT, site_links, write_pages, written_pages
from docs._ext.settings import source_text, type_text
from rankprobe.cli.app import app
from rankprobe.config import RunConfig, all_settings
from rankprobe.prompts import METHODS

WRITTEN = written_pages()
COMMITTED = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
    if "_build" not in path.parts and path != DOCS / "README.md"
}
COMMITTED = {place: text for place, text in COMMITTED.items() if place not in WRITTEN}
SITE = {place: site_links(text, f"docs/{place}", place) for place, text in COMMITTED.items()} | WRITTEN
TUTORIALS = [place for place in SITE if place.startswith("tutorials/") and not place.endswith("index.md")]


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """Anchors of the headings of a page, as MyST makes them: those of GitHub."""
    headings = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def section(page, heading):
    """The text below a heading, up to the next one of any level."""
    return re.split(r"^#+ ", page.split(f"\n{heading}\n")[1], flags=re.MULTILINE)[0]


def every_command(group, prefix=""):
    for name, command in group.commands.items():
        yield f"{prefix}{name}", command
        yield from every_command(command, f"{prefix}{name} ") if hasattr(command, "commands") else ()


COMMANDS = dict(every_command(typer.main.get_command(app)))


def test_every_name_of_the_package_is_on_its_page():
    pages = {entry.name: entry for entry in entries("rankprobe")}
    assert set(pages) == set(rp.__all__)
    for name, entry in pages.items():
        if entry.kind == "module":
            assert f"rankprobe.{name}" in page_names(), name
        else:
            assert entry.text, name
            assert re.search(rf"^\.\. auto\w+:: {name}$", WRITTEN["reference/rankprobe.rst"], re.MULTILINE), (
                name
            )


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_room_is_documented(room):
    found = entries(f"rankprobe.{room}")
    above = {
        name
        for name in rp.__all__
        if getattr(rp, name) in vars(importlib.import_module(f"rankprobe.{room}")).values()
    }
    assert {entry.name for entry in found} | above >= set(
        importlib.import_module(f"rankprobe.{room}").__all__
    )
    page = WRITTEN[f"reference/{room}.rst"]
    for entry in found:
        assert entry.text.strip(), entry.name
        assert re.search(rf"^\.\. (?:auto|py:)\w+:: {entry.name}$", page, re.MULTILINE), entry.name
        if entry.kind == "data":
            assert literal_marks(entry.text.splitlines()[0]) in page


def test_every_command_is_documented_with_every_option():
    page = WRITTEN["reference/commands.md"]
    assert len(COMMANDS) > 20
    assert re.findall(r"^### rankprobe (.+)$", page, re.MULTILINE) == list(COMMANDS)
    for name, command in COMMANDS.items():
        text = section(page, f"### rankprobe {name}")
        assert command.help.split()[0] in text, name
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
            assert re.search(rf"`\[?{shown}(?![\w-])", text), (name, shown)


def test_every_setting_is_documented():
    page = WRITTEN["reference/settings.md"]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert list(rows) == list(all_settings())
    own = {name for config, _ in METHODS.values() for name in config.model_fields} - {"name"}
    assert set(rows) == own | set(RunConfig.model_fields)
    for name, (_, field) in all_settings().items():
        kind, default, meaning, source = re.split(r" \| ", rows[name])
        assert kind == type_text(field), name
        value = str(field.default).lower() if isinstance(field.default, bool) else field.default
        assert default.split(";")[0] == ("unset" if value is None else f"`{value}`"), name
        assert re.search(r"\w+", meaning)[0] == re.search(r"\w+", field.description)[0], name
        assert source.strip() == source_text(field), name


@pytest.mark.parametrize(
    ("setting", "kind", "source"),
    [
        ("learning_rate", "number > 0", "paper 4.2"),
        ("weight_decay", "number ≥ 0", "authors' code"),
        ("shots", "whole number > 0", "paper 5.2: 8, 16, 32"),
        ("dropout", "true or false", "authors' code: on"),
        ("model_seed", "whole number ≥ 0, < 2⁶⁴", ""),
        ("sigma_init", "`ones`, `uniform`, `half-normal`", "ours"),
        ("factor_init", "`normal`, `uniform`, `svd`", "paper 4.2"),
        ("batching", "`length`, `random`", ""),  # the authors' code has the other one
        ("report_split", "`all`, `half`", "paper"),
        ("device", "text", ""),
    ],
)
def test_type_and_source_of_a_setting(setting, kind, source):
    field = all_settings()[setting][1]
    assert (type_text(field), source_text(field)) == (kind, source)


def test_defaults_of_single_methods_are_shown():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", WRITTEN["reference/settings.md"], re.MULTILINE))
    assert "`100`; dept: `40`; finetune: `0`" in rows["prompt_length"]
    assert "`0.3`; finetune: `0.0003`" in rows["learning_rate"]


@pytest.mark.parametrize("place", SITE)
def test_every_link_of_the_site_leads_somewhere(place):
    text = without_code(SITE[place])
    links = re.findall(r"\]\(([^)\s]+)\)", text) if place.endswith(".md") else []
    links += [f"{link}.rst" for link in re.findall(r":doc:`[^<]+<([^>]+)>`", text)]
    for link in links:
        file, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = posixpath.normpath(posixpath.join(posixpath.dirname(place), file)) if file else place
        assert target in SITE or (DOCS / target).is_file(), link
        assert not target.startswith("../") or not target.endswith(".md"), f"{link} is no page of the site"
        if anchor:
            assert anchor in anchors(SITE[target]), link


def test_the_tables_of_contents_name_each_page_once():
    named = ["index"]
    for place, text in SITE.items():
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            named += [
                posixpath.normpath(posixpath.join(posixpath.dirname(place), entry)) for entry in entries
            ]
    assert sorted(named) == sorted(place.rpartition(".")[0] for place in SITE)


def test_links_that_leave_a_page_of_the_repository_stay_on_the_site():
    text = (
        "[a](../figures/README.md#x) ![b](../figures/fig3.png) [c](start.md) [d](#here) [e](https://a.b/c.md)"
    )
    assert site_links(text, "docs/python.md", "python.md") == text.replace(
        "../figures/README.md#x", "project/gallery.md#x"
    )
    moved = site_links(
        "[a](docs/start.md) [b](README.md) [c](LICENSE)", "CHANGELOG.md", PROJECT["CHANGELOG.md"]
    )
    assert moved == "[a](../start.md) [b](../index.md) [c](../../LICENSE)"
    assert (
        site_links("```\n[a](README.md)\n```", "CHANGELOG.md", PROJECT["CHANGELOG.md"])
        == "```\n[a](README.md)\n```"
    )


def test_pages_are_written_once_and_old_ones_removed(tmp_path):
    write_pages(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} == set(WRITTEN)
    (tmp_path / GENERATED[0] / "index.md").write_text("committed")
    (tmp_path / GENERATED[0] / "gone.rst").write_text("of a room that is no more")
    settings = tmp_path / "reference" / "settings.md"
    before = settings.stat().st_mtime_ns
    write_pages(tmp_path)
    assert not (tmp_path / GENERATED[0] / "gone.rst").exists()
    assert (tmp_path / GENERATED[0] / "index.md").read_text() == "committed"
    assert settings.stat().st_mtime_ns == before
    settings.write_text("old")
    write_pages(tmp_path)
    assert settings.read_text() == WRITTEN["reference/settings.md"]


def test_the_marks_of_formulas_stay_literal():
    assert (
        literal_marks("|u_iᵀ G v_i| · s_i* and `*args`, `a|b`")
        == r"\|u_iᵀ G v_i\| · s_i\* and `*args`, `a|b`"
    )


@pytest.mark.parametrize("place", TUTORIALS)
def test_a_tutorial_says_what_one_knows_at_the_end_and_cleans_up(place):
    text = SITE[place]
    assert len(TUTORIALS) == 6
    assert re.match(
        r"---\nfile_format: mystnb\n.*?\n---\n\n# [^\n]+\n\n\*\*At the end you know\*\* ", text, re.DOTALL
    )
    assert cells(text)[-1] == "temporary.cleanup()\n"
    assert max(len(line) for cell in cells(text) for line in cell.splitlines()) <= 88  # no line is cut off


def cells(text):
    """The code cells of a notebook."""
    return re.findall(r"^```\{code-cell\} python\n(?::[^\n]*\n)*(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("place", ["tutorials/first-probe.md", "tutorials/adapter.md"])
def test_the_cells_of_a_tutorial_run(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells(SITE[place]):
        exec(compile(cell, place, "exec"), names)
    plt.close("all")
    assert not Path(names["temporary"].name).exists()
    assert not [*tmp_path.iterdir()]  # all its files are in its temporary folder
