"""The bundled rows and tokenizer are what their recipe gives, byte for byte."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_recipe_reproduces_the_bundled_files(tmp_path):
    recipe = runpy.run_path(str(ROOT / "experiments" / "miniature.py"))
    recipe["write"](tmp_path)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    bundled = ROOT / "rankprobe" / "bundled"
    assert made == {p.relative_to(bundled): p.read_bytes() for p in bundled.rglob("*") if p.is_file()}
    assert len(made) == 4
