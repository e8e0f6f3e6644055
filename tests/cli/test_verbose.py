"""--verbose: log lines on standard error; without it, and in Python, nothing is printed."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.logger import log

FLAGS = "--model random:tiny --prompt-length 4 --steps 2 --batch-size 4".split()
LINE = r"\d\d:\d\d:\d\d (INFO|DEBUG) "


def lines_of(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("place", [0, 1, 99])
def test_log_lines_go_to_standard_error(tmp_path, capsys, place):
    words = ["probe", *FLAGS, "--name", "one", "--runs-dir", str(tmp_path)]
    words.insert(place, "--verbose")
    lines = lines_of(words, capsys)
    assert all(re.match(LINE, line) for line in lines)
    text = "\n".join(lines)
    for expected in (
        "one pass for 1 run: one",
        "read 250 train rows of CB from",
        "loaded random:tiny on cpu, fingerprint",
    ):
        assert expected in text
    assert "DEBUG" not in text
    assert lines_of(["runs", "--runs-dir", str(tmp_path)], capsys) == []
    assert [type(handler) for handler in log.handlers] == [logging.NullHandler]
    assert log.level == logging.NOTSET


def test_twice_shows_checkpoints_and_resuming_says_where_it_starts(tmp_path, capsys):
    words = ["probe", *FLAGS, "--name", "one", "--runs-dir", str(tmp_path), "--verbose", "--verbose"]
    assert any(line.endswith("DEBUG checkpoint of run one at step 2") for line in lines_of(words, capsys))
    run = rp.find_run("one", tmp_path)
    run.update({"status": "interrupted"})
    lines = lines_of(["resume", str(run.path), "--verbose"], capsys)
    assert any(line.endswith("INFO run one goes on from step 2") for line in lines)


def test_a_name_cannot_write_to_the_terminal(capsys):
    from rankprobe.cli.verbose import log_to_stderr

    with log_to_stderr(1):
        log.info("read %s", "a\x1b[31m\nb")
    assert "\x1b" not in capsys.readouterr().err


def test_in_python_the_logger_is_silent_until_it_is_configured(tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO, "rankprobe"):
        rp.train(quick(), runs_dir=tmp_path, name="one")
    assert "loaded random:tiny on cpu" in caplog.text
    assert {record.name for record in caplog.records} == {"rankprobe"}
    rp.train(quick(), runs_dir=tmp_path, name="two")
    assert capfd.readouterr().err == ""


def test_importing_rankprobe_needs_no_logging():
    code = "import sys, rankprobe; sys.exit('rankprobe.logger' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
