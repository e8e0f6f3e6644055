"""The wheel brings everything: installed apart from the sources, `rankprobe probe` runs without any network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

NO_SOCKETS = """
import socket

def refuse(*_, **__):
    raise OSError("sockets are blocked")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""

PROBE = """
import socket, sys
from pathlib import Path
import rankprobe
assert Path(rankprobe.__file__).is_relative_to(sys.argv[1]), rankprobe.__file__
try:
    socket.create_connection(("huggingface.co", 443))
except OSError as error:
    assert "blocked" in str(error)
else:
    sys.exit("the network is not cut off")
from rankprobe.cli import main
main(["probe", "--steps", "2", "--prompt-length", "4"])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: setuptools would take stale files from build/ beside the original
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "rankprobe", source / "rankprobe", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, source], check=True, timeout=300)
    (made,) = folder.glob("*.whl")
    return made


def test_it_is_small_and_complete(wheel):
    assert wheel.stat().st_size < 20e6
    names = set(zipfile.ZipFile(wheel).namelist())
    bundled = [p for p in (ROOT / "rankprobe" / "bundled").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert {str(p.relative_to(ROOT)) for p in bundled} <= names
    assert {f"rankprobe/pages/page.{ending}" for ending in ("html.jinja", "css", "js")} <= names
    assert not [
        name for name in names if name.split("/")[0] not in ("rankprobe", "rankprobe-0.2.0.dist-info")
    ]


def test_it_works_with_sockets_blocked(wheel, tmp_path):
    target = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        target,
    ]
    subprocess.run([*install, wheel], check=True, timeout=300)
    (target / "sitecustomize.py").write_text(NO_SOCKETS)
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"PYTHONPATH": str(target), "HF_HOME": str(tmp_path / "empty")}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, target],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "finished after 2 steps" in done.stdout
    assert done.stderr == ""
