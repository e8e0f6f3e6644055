"""The archived gallery stays valid when settings change: its runs load, draw the same, are not retrained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import rankprobe
from rankprobe.config.folders import run_folder
from rankprobe.config.run import RunConfig
from rankprobe.runs import Run

ROOT = Path(__file__).parent.parent.parent
FIGURES = ROOT / "figures" / "gallery"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """The archived runs of the gallery."""
    folder = tmp_path_factory.mktemp("kept")
    with tarfile.open(ROOT / "figures" / "gallery.tar.xz") as kept:
        kept.extractall(folder, filter="data")
    return folder / "gallery"


@pytest.fixture(scope="module")
def with_a_new_setting(tmp_path_factory):
    """An environment in which rankprobe has one more training setting."""
    root = tmp_path_factory.mktemp("newer")
    package = Path(rankprobe.__file__).parent
    shutil.copytree(package, root / "rankprobe", ignore=shutil.ignore_patterns("__pycache__"))
    config = root / "rankprobe" / "config" / "sections.py"
    text = config.read_text()
    after = "    batching: Literal"
    new = '    label_smoothing: NonNegativeFloat = Field(default=0.0, description="Of the loss")\n'
    assert text.count(after) == 1
    config.write_text(text.replace(after, new + after))
    return {**os.environ, "PYTHONPATH": str(root)}


def rankprobe_with(environment, *arguments) -> str:
    command = [sys.executable, "-m", "rankprobe", *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, cwd=environment["PYTHONPATH"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_setting_leaves_the_kept_runs_finished(gallery, with_a_new_setting):
    specs = sorted((ROOT / "experiments").glob("*.toml"))
    assert "label-smoothing" in rankprobe_with({**with_a_new_setting, "COLUMNS": "200"}, "train", "--help")
    table = rankprobe_with(with_a_new_setting, "sweep", *specs, "--runs-dir", gallery, "--dry-run")
    rows = [line.split() for line in table.splitlines()[1:]]
    assert len(rows) == len(specs)
    assert {row[0] for row in rows} == {path.stem for path in specs}
    for name, count, finished, *others in rows:
        assert (finished, others) == (count, ["0"] * 4), name


def test_a_new_setting_leaves_the_pictures_byte_for_byte(gallery, with_a_new_setting, tmp_path):
    rankprobe_with(with_a_new_setting, "plot", "fig3", "used", "--runs-dir", gallery, "--output", tmp_path)
    for name in ("fig3.png", "fig3.svg", "fig3.json", "used.png", "used.svg", "used.json"):
        assert (tmp_path / name).read_bytes() == (FIGURES / name).read_bytes(), name
    table = tmp_path / "table1.md"
    rankprobe_with(
        with_a_new_setting,
        "table",
        "table1",
        "--runs-dir",
        gallery,
        "--format",
        "markdown",
        "--output",
        table,
    )
    assert table.read_bytes() == (FIGURES / "table1.md").read_bytes()


def test_a_run_of_an_earlier_version_is_found_by_its_settings(gallery):
    ids = sorted(path.name for path in gallery.glob("cb-*"))[::20]
    for run_id in ids:
        asked = RunConfig.parse(Run(gallery / run_id).manifest["config"])
        assert asked.run_id != run_id
        assert run_folder(asked, gallery) == gallery / run_id
        other = asked.model_copy(update={"seed": 77})
        assert run_folder(other, gallery).name == other.run_id
