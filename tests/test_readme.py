"""What the README and the pages of docs/ show works."""

from __future__ import annotations

import json
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

import rankprobe as rp
from rankprobe.config.run import RunConfig
from rankprobe.sweeps import configs_of, load_spec
from rankprobe.tasks import get_task, load_split

ROOT = Path(__file__).parent.parent
SITE = "index.md"  # the start page of the site, which has tests of its own
PAGES = sorted(path for path in ROOT.glob("docs/*.md") if path.name != SITE)
DOCS = ["README.md", *(str(path.relative_to(ROOT)) for path in PAGES)]
TEXTS = {page: (ROOT / page).read_text() for page in DOCS}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FIGURES = ROOT / "figures"


OTHER_PROGRAMS = r"(?:#SBATCH|pip install|tensorboard --|lm_eval)[^`\n]*|`--batch_size 1`"
COMMAND_LINE = r"^(rankprobe [^\n#]+?) *(?:#.*)?$"
FLAG = r"(?<![\w-])--[a-z][a-z-]+"


def blocks(language: str) -> list[str]:
    """Code of all pages, the README's first; that of docs/plugins.md is in `tests/test_plugins.py`."""
    pages = [page for page in DOCS if page != "docs/plugins.md" or language == "console"]
    return [
        code for page in pages for code in re.findall(rf"```{language}\n(.*?)```", TEXTS[page], re.DOTALL)
    ]


def anchors(text: str) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rp.probe(prompt_length=8, steps=3)
    pandas, library = blocks("python")
    exec(compile(pandas, "README", "exec"), {})
    assert "kept_beyond_noise" in capsys.readouterr().out
    exec(compile(library, "README", "exec"), {})
    assert "numerical_rank" in capsys.readouterr().out
    assert "largest_entry" in rp.load_runs("runs").steps


def test_the_spec_has_the_runs_that_the_page_counts(tmp_path):
    *_, file = blocks("toml")
    (tmp_path / "own.toml").write_text(file)
    count = len(configs_of(load_spec(tmp_path / "own.toml")))
    assert f"= {count} runs" in TEXTS["docs/sweeps.md"]


def test_the_config_file_is_valid():
    _, file, _ = blocks("toml")
    config = RunConfig.parse(tomllib.loads(file))
    assert config.method.name == "dpt"


def test_the_task_file_describes_a_task(tmp_path):
    file, *_ = blocks("toml")
    (tmp_path / "reviews.toml").write_text(file)
    (tmp_path / "train.csv").write_text("review,stars\nfine,5\nawful,1\n")
    task = get_task(str(tmp_path / "reviews.toml"))
    examples = load_split(task, "train", "bundled").examples
    assert [(task.source(e.fields), task.target(e, "words")) for e in examples] == [
        ("review: fine", "good"),
        ("review: awful", "bad"),
    ]


def test_documented_columns_are_logged(tmp_path):
    steps = rp.probe(prompt_length=8, steps=2, runs_dir=tmp_path).log("steps")
    (page,) = [text for text in TEXTS.values() if "| column | meaning |" in text]
    table = page.split("| column | meaning |")[1].split("\n\n")[0]
    for name in re.findall(r"`(\w+)`", table):
        assert name in steps, name
    for prefix in ("dP_", "gaussian_", "haar_", "flip_example_", "flip_block_"):
        assert any(column.startswith(prefix) for column in steps)


def test_every_flag_exists(capsys, monkeypatch):
    from rankprobe.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    told = ""
    for command in (
        [],
        ["train"],
        ["plot"],
        ["sweep"],
        ["table"],
        ["report"],
        ["resume"],
        ["track"],
        ["data", "fetch"],
        ["tasks", "show"],
        ["eval"],
        ["export"],
        ["analyze"],
        ["atlas"],
        ["truncate"],
        ["calibrate"],
        ["taskrank"],
        ["replicate"],
    ):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        told += capsys.readouterr().out
    for page, text in TEXTS.items():
        ours = re.sub(OTHER_PROGRAMS, "", text)
        assert set(re.findall(FLAG, ours)) <= set(re.findall(FLAG, told)), page


def test_every_command_exists_and_has_the_flags_it_is_shown_with(capsys, monkeypatch):
    from rankprobe.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    shown = {
        command.strip()
        for code in blocks("console")
        for line in re.findall(COMMAND_LINE, code, re.MULTILINE)
        for command in line.split(";")
    }
    assert len(shown) > 30
    helps: dict[tuple[str, ...], str] = {}
    for command in sorted(shown):
        words = command.split()
        assert words[0] == "rankprobe", command
        name = tuple(words[1:3] if words[1:3] in (["tasks", "show"], ["data", "fetch"]) else words[1:2])
        if name not in helps:
            with pytest.raises(SystemExit) as ended:
                main([*name, "--help"])
            assert not ended.value.code, command
            helps[name] = capsys.readouterr().out
        assert set(re.findall(FLAG, command)) <= set(re.findall(FLAG, helps[name])), command


def test_every_target_of_make_exists():
    makefile = (ROOT / "Makefile").read_text()
    for page, text in TEXTS.items():
        for target in re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page, target)


def test_the_readme_is_short_and_the_index_names_all_pages():
    assert len(TEXTS["README.md"].splitlines()) <= 110
    pages = {Path(page).name for page in DOCS if page.startswith("docs/")} - {"README.md"}
    assert pages == set(re.findall(r"^\| \[[^]]+\]\(([\w-]+\.md)\)", TEXTS["docs/README.md"], re.MULTILINE))
    assert {f"docs/{page}" for page in pages} <= set(re.findall(r"\]\(([^)]+)\)", TEXTS["README.md"]))


@pytest.mark.parametrize(
    "page",
    [
        *DOCS,
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "figures/README.md",
        "benchmarks/README.md",
        "tests/README.md",
        "experiments/README.md",
    ],
)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert not path.startswith("/"), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", [*DOCS, "CONTRIBUTING.md", "SECURITY.md", "tests/README.md"])
def test_files_and_headings_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    paths = r"`((?:tests|experiments|benchmarks|rankprobe|docs)/[\w/-]+\.(?:py|toml|md))`"
    for path in re.findall(paths, text):
        assert (ROOT / path).exists(), path
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors(text)


def test_contributing_names_what_exists():
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", CONTRIBUTING):
        assert (ROOT / path).exists() or (ROOT / "rankprobe" / path).exists(), path
    definitions = re.findall(r"`(\w+)`\s+\(`((?:\w+/)+\w+\.py)`\)", CONTRIBUTING)
    assert len(definitions) > 15
    for name, path in definitions:
        source = (ROOT / "rankprobe" / path).read_text()
        assert re.search(rf"^(?:def|class) {name}\b|^{name}\b.*=", source, flags=re.MULTILINE), (name, path)


def test_contributing_has_the_floors_of_the_import_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    expected = {
        room.strip().removeprefix("rankprobe."): floor
        for floor, layer in enumerate(reversed(layers), start=1)
        for room in layer.split("|")
    }
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", CONTRIBUTING, flags=re.MULTILINE)
    written = {name: int(floor) for floor, rooms in rows for name in re.findall(r"`(\w+)(?:/|\.py)`", rooms)}
    assert written == expected


def test_the_gallery_shows_all_its_pictures_tables_and_specs():
    page = (FIGURES / "README.md").read_text()
    for path in [*FIGURES.glob("gallery/*.png"), *FIGURES.glob("gallery/*.md")]:
        assert f"(gallery/{path.name})" in page, path.name
    for path in (ROOT / "experiments").glob("*.toml"):
        assert f"`experiments/{path.name}`" in page, path.name


def test_the_runs_of_every_picture_are_kept():
    with tarfile.open(FIGURES / "gallery.tar.xz") as kept:
        runs = {Path(name).parent.name for name in kept.getnames() if name.endswith("manifest.json")}
    for path in FIGURES.glob("gallery/*.json"):
        drawn = {row["run_id"] for row in json.loads(path.read_text())["runs"]}
        assert drawn, path.name
        assert drawn <= runs, path.name
