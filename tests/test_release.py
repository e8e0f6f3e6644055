"""What belongs to a release: changelog, citation, and the forms for issues."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

import rankprobe

ROOT = Path(__file__).parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert rankprobe.__version__ == VERSION == citation["version"]


def test_the_changelog_is_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[?([\d.]+)\]?(?: - (?:Unreleased|\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert len(versions) == len(re.findall(r"^## ", text, re.MULTILINE))
    assert versions == sorted(versions, key=Version, reverse=True)
    assert VERSION in versions
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert set(kinds) <= CHANGES


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_for_issues_is_one_that_github_reads(path):
    form = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]


def test_the_recipes_of_containers_copy_what_exists_and_install_extras_that_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    docker, apptainer = ((ROOT / "docker" / name).read_text() for name in ("Dockerfile", "rankprobe.def"))
    copied = [word for line in re.findall(r"^COPY (.*) \S+$", docker, re.MULTILINE) for word in line.split()]
    filed = re.findall(r"^    (\S+) /src/\1$", apptainer, re.MULTILINE)
    assert sorted(copied) == sorted(filed)
    assert len(copied) == 6
    assert all((ROOT / name).exists() for name in copied)
    (chosen,) = {each for text in (docker, apptainer) for each in re.findall(r'"\.\[(.*)\]"', text)}
    assert set(chosen.split(",")) <= {*extras}
    assert re.search(r"^torch==[0-9.]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
