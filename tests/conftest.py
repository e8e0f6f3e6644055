"""Small and offline: a random two-layer T5, the bundled rows, CPU."""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import typer.main
from hypothesis import settings
from shapes import check_shapes

mpl.use("Agg")
typer.main.get_command = cache(typer.main.get_command)  # a call of the command line would build it anew

settings.register_profile("rankprobe", deadline=None)  # a busy machine is no finding
settings.load_profile("rankprobe")
check_shapes()  # before the rooms are imported

from quick import QUICK as QUICK
from quick import quick as quick

from rankprobe.backbone import load_backbone
from rankprobe.config import RunConfig
from rankprobe.interrupt import CLUSTER_SIGNALS, USER_SIGNALS
from rankprobe.training.checkpoints import new_folder, restore
from rankprobe.training.run_state import RunState
from rankprobe.training.session import Session, open_session

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def started(config: RunConfig, folder: Path, session: Session | None = None) -> RunState:
    """A run before its first step, in the folder `run` below `folder`."""
    state = RunState(config, session or open_session([config]), folder / "run")
    with new_folder(state, ["run"]):
        restore(state, None)
    return state


def assert_equal_runs(one, other):
    """Logs and prompts equal, bit for bit."""
    for name in ("steps", "spectra", "evals"):
        pd.testing.assert_frame_equal(one.log(name), other.log(name), check_exact=True)
    ours, theirs = one.tensors(), other.tensors()
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.fixture(scope="session")
def backbone():
    return load_backbone("random:tiny")


@pytest.fixture(scope="session")
def backbone64():
    return load_backbone("random:tiny", dtype="float64")


@pytest.fixture
def superglue():
    if not SHARED.is_dir():
        pytest.skip(f"the official SuperGLUE rows are not at {SHARED}")
    return SHARED / "superglue"


@pytest.fixture
def t5_tokenizer():
    if not SHARED.is_dir():
        pytest.skip(f"the T5 tokenizer is not at {SHARED}")
    return SHARED / "t5-tokenizer"


@pytest.fixture
def usual_signals():
    """Stop signals act as in a fresh process: nohup and `&` ignore some, and Ray in this process handles one."""
    usual = dict.fromkeys((*USER_SIGNALS, *CLUSTER_SIGNALS), signal.SIG_DFL)
    usual[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
