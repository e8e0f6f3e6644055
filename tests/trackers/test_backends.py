"""Each tracker's own files hold the numbers of the run folder, the same ones live and afterwards, and once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import rankprobe as rp

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parent.parent.parent
NEEDS = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "alembic", "sqlalchemy"),
    "trackio": ("trackio",),
}
TRAIN = "train --method probe --model random:tiny --prompt-length 8 --steps 12 --batch-size 8 --eval-every 4 --name one"


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder that keeps the files of all trackers, none of which may use the network."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WANDB_MODE": "offline",
        "TRACKIO_DIR": str(folder / "trackio"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=folder, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done


def rankprobe(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run(["-m", "rankprobe", *line.split()], folder)


def held(name: str, folder: Path) -> dict:
    """What the tracker's own files hold of the run `one`."""
    script = str(Path(__file__).parent / "read_back.py")
    return json.loads(run([script, name, "one", str(folder)], folder).stdout)


@pytest.fixture(scope="module", params=NEEDS)
def reported(request, tmp_path_factory):
    """A tracker, and the folders of one run that was reported live and one that was reported afterwards."""
    missing = [package for package in NEEDS[request.param] if find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    live, later = tmp_path_factory.mktemp("live"), tmp_path_factory.mktemp("later")
    trained = rankprobe(f"{TRAIN} --report-to {request.param}", live)
    assert "Warning" not in trained.stderr
    (later / "runs").mkdir()
    (live / "runs" / "one").rename(later / "runs" / "one")
    if request.param == "tensorboard":  # its files are in the run folder
        (live / "runs" / "one").mkdir()
        (later / "runs" / "one" / "tensorboard").rename(live / "runs" / "one" / "tensorboard")
    rankprobe(f"track one --to {request.param}", later)
    return request.param, live, later


def test_live_values_are_those_that_are_sent_afterwards(reported):
    name, live, later = reported
    values = held(name, live)["values"]
    assert len(values) > 50
    assert values == held(name, later)["values"]


def test_values_are_those_of_the_logs(reported):
    name, live, later = reported
    values = held(name, live)["values"]
    one = rp.find_run("one", later / "runs")
    kept = np.float32 if name == "tensorboard" else np.float64
    expected = {}
    for row in one.log("steps").to_dict("records"):
        for column, value in row.items():
            if column != "step" and np.isfinite(value):
                expected.setdefault(f"steps/{column}", []).append([row["step"], kept(value)])
    for row in one.log("evals").to_dict("records"):
        group = f"evals/{row['split']}"
        expected.setdefault(f"{group}/{row['metric']}", []).append([row["step"], kept(row["value"])])
        expected.setdefault(f"{group}/{row['metric']}_baseline", []).append(
            [row["step"], kept(row["baseline"])]
        )
        if row["metric"] == "accuracy":
            expected.setdefault(f"{group}/n_invalid", []).append([row["step"], row["n_invalid"]])
    assert values == expected
    assert {"steps/n_positive", "steps/gaussian_n_positive", "evals/validation/accuracy"} <= values.keys()


def test_settings_findings_and_report_are_there(reported):
    name, live, _ = reported
    found = held(name, live)
    assert str(found["config"]["prompt_length"]) in ("8", "8.0")
    assert found["config"]["task"] == "cb"
    assert found["config"]["data_label"] == "miniature CB"
    if name == "tensorboard":
        assert found["status"] == "finished"
    else:
        report = "report.html" if name == "mlflow" else "report-one"
        assert report in found["artifacts"]
    if name != "trackio":
        assert found["status"].lower() == "finished"
        assert re.search(r"8 of 8 diagonal entries|\d of 8 diagonal entries", found["findings"])
    if name == "wandb":
        assert found["exit_code"] == 0


def test_a_second_time_adds_nothing(reported):
    name, _, later = reported
    before = held(name, later)
    out = json.loads(rankprobe(f"track one --to {name} --json", later).stdout)
    (row,) = out["tracked"]
    assert (row["run_id"], row["tracker"], row["last_step"], row["error"]) == ("one", name, 12, None)
    after = held(name, later)
    assert after["values"] == before["values"]
    assert after["copies"] == before["copies"] == 1


def test_a_run_that_is_started_over_is_replaced(reported):
    name, _, later = reported
    rankprobe(f"{TRAIN} --learning-rate 0.1 --overwrite --report-to {name}", later)
    found = held(name, later)
    assert found["copies"] == 1
    assert str(found["config"]["learning_rate"]) == "0.1"
    losses = rp.find_run("one", later / "runs").log("steps").set_index("step")["loss"].dropna()
    kept = np.float32 if name == "tensorboard" else np.float64
    assert found["values"]["steps/loss"] == [[step, kept(loss)] for step, loss in losses.items()]
