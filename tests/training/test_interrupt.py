"""Stop signals: of a terminal, a closed ssh, a cluster's scheduler."""

from __future__ import annotations

import os
import signal

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.errors import RunInterrupted
from rankprobe.sweeps import pack, sweep
from rankprobe.training import api
from rankprobe.training.interrupt import ASKED_TWICE, FROM_CLUSTERS, StopRequest

ALL = (*ASKED_TWICE, *FROM_CLUSTERS)


def kill(number):
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers(usual_signals):
    before = [signal.getsignal(number) for number in ALL]
    yield
    assert [signal.getsignal(number) for number in ALL] == before


@pytest.mark.parametrize("number", ALL)
def test_a_signal_asks_for_a_stop(number):
    with StopRequest() as stop:
        assert not stop.requested
        kill(number)
        assert stop.requested


@pytest.mark.parametrize("first", FROM_CLUSTERS)
def test_a_signal_of_a_cluster_may_come_again_and_before_a_sigterm(first):
    with StopRequest() as stop:
        for number in (first, first, signal.SIGHUP, signal.SIGTERM):
            kill(number)
        assert stop.requested


@pytest.mark.parametrize("first", ASKED_TWICE)
def test_the_second_ctrl_c_acts_as_usual(first):
    with pytest.raises(KeyboardInterrupt), StopRequest():  # noqa: PT012
        kill(first)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        kill(signal.SIGUSR1)
        kill(signal.SIGINT)


@pytest.mark.parametrize("number", FROM_CLUSTERS)
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_signal_that_would_not_end_the_process_is_left_alone(number, handler):
    """After nohup SIGHUP is ignored; a program that we are a part of may have handlers of its own."""
    before = signal.signal(number, handler)
    try:
        with StopRequest() as stop:
            kill(number)
            assert signal.getsignal(number) == handler
            assert not stop.requested
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("where", ["loading", "the last step", "between"])
def test_a_sweep_stops_in_good_order_wherever_it_is(tmp_path, monkeypatch, where):
    configs = [quick(steps=2, seed=seed) for seed in (1, 2)]
    open_session, update = api.open_session, api.Member.update

    def loading(given):
        if where == "loading" and given[0].seed == 2:
            kill(signal.SIGUSR1)
        return open_session(given)

    def updating(self, step):
        if where == "the last step" and step == 2:
            kill(signal.SIGHUP)
        return update(self, step)

    def done(cohort, problems):
        if where == "between":
            kill(signal.SIGTERM)

    monkeypatch.setattr(api, "open_session", loading)
    monkeypatch.setattr(api.Member, "update", updating)
    with pytest.raises(RunInterrupted, match="^stopped with 1 of 2 runs finished; the same command goes on"):
        sweep(pack(configs, most=1), runs_dir=tmp_path, done=done)
    assert [run.status for run in rp.list_runs(tmp_path)] == ["finished"]
