"""What the README shows works."""

from __future__ import annotations

import json
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

import rankprobe as rp
from rankprobe.config.run import RunConfig
from rankprobe.tasks import get_task, load_split

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FIGURES = ROOT / "figures"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rp.probe(prompt_length=8, steps=3)
    pandas, library = blocks("python")
    exec(compile(pandas, "README", "exec"), {})
    assert "kept_beyond_noise" in capsys.readouterr().out
    exec(compile(library, "README", "exec"), {})
    assert "numerical_rank" in capsys.readouterr().out
    assert "largest_entry" in rp.load_runs("runs").steps


def test_the_config_file_is_valid():
    file, _ = blocks("toml")
    config = RunConfig.parse(tomllib.loads(file))
    assert config.method.name == "dpt"


def test_the_task_file_describes_a_task(tmp_path):
    _, file = blocks("toml")
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
    table = README.split("| column | meaning |")[1].split("\n\n")[0]
    for name in re.findall(r"`(\w+)`", table):
        assert name in steps, name
    for prefix in ("dP_", "gaussian_", "haar_", "flip_example_", "flip_block_"):
        assert any(column.startswith(prefix) for column in steps)


def test_every_flag_in_the_readme_exists(capsys, monkeypatch):
    from rankprobe.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    told = ""
    for command in (
        ["train"],
        ["plot"],
        ["sweep"],
        ["table"],
        ["report"],
        ["resume"],
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
    flags = r"(?<![\w-])--[a-z][a-z-]+"
    ours = re.sub(r"`pip install [^`]+`", "", README)  # pip has flags of its own
    assert set(re.findall(flags, ours)) <= set(re.findall(flags, told))


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "figures/README.md",
        "benchmarks/README.md",
        "tests/README.md",
        "experiments/README.md",
        "docs/atlas.md",
        "docs/related-work.md",
    ],
)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    assert [link for link in links if "://" not in link and not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md", "docs/atlas.md"]
)
def test_files_and_headings_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    for path in re.findall(r"`((?:tests|experiments|benchmarks|rankprobe)/[\w/]+\.(?:py|toml))`", text):
        assert (ROOT / path).exists(), path
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


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
