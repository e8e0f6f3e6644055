"""Errors do not lose data. The table of bad inputs is in tests/faults/test_bad_input_campaign.py."""

from __future__ import annotations

import pytest

from rankprobe.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_existing_run_is_kept(here, capsys):
    quick = ["--prompt-length", "4", "--steps", "2", "--name", "one"]
    with pytest.raises(SystemExit) as stop:
        main(["probe", *quick])
    assert not stop.value.code
    manifest = (here / "runs/one/manifest.json").read_text()
    with pytest.raises(SystemExit) as stop:
        main(["probe", *quick])
    assert stop.value.code == 2
    expected = (
        "error: runs/one exists (finished); continue it with --resume, start over with --overwrite, "
        "or choose another --name (in Python: if_exists, name)\n"
    )
    assert capsys.readouterr().err == expected
    assert (here / "runs/one/manifest.json").read_text() == manifest


def test_a_failed_run_exits_with_one(here, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["probe", "--prompt-length", "4", "--steps", "30", "--factor-scale", "1e30", "--name", "one"])
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.startswith(
        "error: run 'one' failed at step 0: P holds NaN or infinite entries; its logs stay in runs/one"
    )
    assert (here / "runs/one/manifest.json").exists()


def test_debug_shows_the_traceback(here):
    from rankprobe.errors import RankprobeError

    with pytest.raises(RankprobeError, match="unknown task 'cbb'"):
        main(["probe", "--task", "cbb", "--debug"])


def test_an_unwritable_runs_dir(here, capsys):
    (here / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["probe", "--runs-dir", "file/runs", "--prompt-length", "4", "--steps", "2"])
    assert stop.value.code == 1
    assert "Not a directory" in capsys.readouterr().err
