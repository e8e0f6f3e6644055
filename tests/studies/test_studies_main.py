"""`python -m rankprobe.studies` prints tables; the studies themselves are tested elsewhere."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO

import pandas as pd
from typer.testing import CliRunner

from rankprobe.studies import grid, needed_calibration, null_size
from rankprobe.studies.__main__ import NEEDED_COLUMNS, app


def printed(*words):
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_it_starts_without_a_warning():
    command = [sys.executable, "-W", "error", "-m", "rankprobe.studies", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert all(name in done.stdout for name in ("grid", "stress", "null-size", "needed"))


def test_a_mistake_is_one_line():
    command = [sys.executable, "-m", "rankprobe.studies", "needed", "runs", "no-such-\x1b-folder"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(r"error: data 'no-such-\x1b-folder' is not a folder")
    assert done.stderr.count("\n") == 1


def test_the_table_of_the_needed_rank_is_csv(tmp_path, monkeypatch):
    def calibrate_needed(*, ranks, seeds, data, runs_dir):
        assert (data, runs_dir) == ("DATA", tmp_path)
        return pd.DataFrame({"seed": seeds, "rank": ranks, "gain": [12.34], "needed": [2], "other": [0]})

    monkeypatch.setattr(needed_calibration, "calibrate_needed", calibrate_needed)
    monkeypatch.setattr("rankprobe.studies.__main__.RANKS", (1, 5))
    table = pd.read_csv(StringIO(printed("needed", str(tmp_path), "DATA", "--seed", "3", "--seed", "4")))
    assert list(table) == NEEDED_COLUMNS
    assert table[["seed", "rank"]].values.tolist() == [[3, 1], [3, 5], [4, 1], [4, 5]]
    assert set(table["gain"]) == {12.3}


def test_the_tables_of_the_grid(monkeypatch):
    """With fewer steps; the settings that the docs name stay."""
    calls = []

    def fewer(whole):
        def run(*args, **settings):
            calls.append((args, dict(settings)))
            if args:
                return whole(20, args[1], noises=["iid"], seeds=[0], shape=(8, 10), planted=(2,))
            small = {"planted": (0, 2), "noises": ["iid"], "null_seeds": 1, "seeds": [0], "shape": (8, 10)}
            return whole(**{**settings, **small, "steps": 20})

        return run

    for name in ("calibrate_grid", "stress"):
        monkeypatch.setattr(grid, name, fewer(getattr(grid, name)))
    header, names, *rows = printed("grid").splitlines()
    assert header.split() == ["planted", "0", "2"]
    assert names.split() == ["noise", "snr"]
    assert {row.split()[-1] for row in rows} <= {"0/1", "1/1"}
    assert [line for line in printed("stress").splitlines() if "rate" in line] == [
        "learning rate 0.3, 1000 steps",
        "learning rate 0.03, 3000 steps",
    ]
    ((_, settings), *rates) = calls
    assert settings["seeds"] == range(10)
    assert [args for args, _ in rates] == [(1000, 0.3), (3000, 0.03)]


def test_the_tables_of_the_size_name_all_kinds_of_noise(monkeypatch):
    whole, asked = null_size.null_runs, []

    def fewer(kinds):
        asked.extend(kinds)
        return whole(["iid"], seeds=range(8))

    monkeypatch.setattr(null_size, "null_runs", fewer)
    text = printed("null-size")
    assert asked == [*null_size.KINDS, "noisy AR(0.9)", *null_size.PULLS]
    assert "false verdicts, 5 seeds, %" in text
    assert "false verdicts, 8 seeds, %" in text
