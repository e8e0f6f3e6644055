"""Terminals that do not know every letter see the others, and no run ends for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMANDS = """
import sys
from rankprobe.cli import main

for words in sys.argv[1:]:
    try:
        main(words.split())
    except SystemExit as done:
        print(done.code or 0)
"""


@pytest.mark.parametrize(
    "encoding",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "iso-8859-1"},
    ],
)
def test_what_cannot_be_shown_is_replaced(tmp_path, encoding):
    without = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            COMMANDS,
            "probe --steps 2 --prompt-length 4",
            "runs",
            "train --help",
            "analyze nóne",
        ],
        capture_output=True,
        cwd=tmp_path,
        env={**without, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **encoding},
    )
    out, err = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    assert done.returncode == 0, err
    assert "?>0 4" in out
    assert "positive entries of ?" in out
    assert "finished after 2 steps" in out
    assert "--learning-rate" in out
    assert [line for line in out.splitlines() if line in ("0", "1", "2")] == ["0", "0", "0", "2"]
    assert err.count("error: ") == 1
    assert "Traceback" not in err
