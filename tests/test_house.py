"""The rooms: few links between the files of one room, and a door that names them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rankprobe"
TRAINING = sorted((PACKAGE / "training").glob("[a-z]*.py"))
MAPPED = ("config", "data", "evaluation", "training", "studies", "backbone")


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.stem)
def test_a_file_of_training_imports_at_most_four_of_its_neighbours(path):
    assert len(set(re.findall(r"^\s*from rankprobe\.training\.(\w+)", path.read_text(), re.MULTILINE))) <= 4


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_file_has_at_most_400_lines(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("room", MAPPED)
def test_the_door_of_a_room_maps_its_files(room):
    door = (PACKAGE / room / "__init__.py").read_text()
    mapped = set(re.findall(r"^    (\w+)  +\S", door.split('"""')[1], re.MULTILINE))
    files = {path.stem for path in (PACKAGE / room).glob("[a-z]*.py")}
    assert mapped <= files
    if room != "backbone":  # its door names the main files only
        assert mapped == files
