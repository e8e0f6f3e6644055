"""Signals that ask a run to stop: those of a person, and those that clusters send before they kill."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from rankprobe.errors import RunInterrupted
from rankprobe.sweeps import pack, sweep
from rankprobe.training.interrupt import ASKED_TWICE, FROM_CLUSTERS, StopRequest, stopping_now

EVERY = [*ASKED_TWICE, *FROM_CLUSTERS]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers():
    """Each test leaves the handlers as it found them."""
    before = {number: signal.getsignal(number) for number in EVERY}
    yield
    assert {number: signal.getsignal(number) for number in EVERY} == before


@pytest.mark.parametrize("number", EVERY)
def test_each_signal_asks_to_stop(number):
    with StopRequest() as stop:
        assert not stop.requested
        send(number)
        assert stop.requested


def test_the_second_ctrl_c_acts_as_usual():
    with StopRequest() as stop:
        send(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_signal_of_a_cluster_may_come_twice_and_before_sigterm():
    with StopRequest() as stop:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            send(number)
        assert stop.requested


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            send(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_a_handler_of_the_program_is_left_alone():
    seen = []
    signal.signal(signal.SIGUSR1, lambda *_: seen.append("own"))
    try:
        with StopRequest() as stop:
            send(signal.SIGUSR1)
            assert (seen, stop.requested) == (["own"], False)
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_other_threads_set_no_handlers():
    before, found = signal.getsignal(signal.SIGTERM), []

    def run():
        with StopRequest() as stop:
            found.append((signal.getsignal(signal.SIGTERM), stop.requested))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(before, False)]


@pytest.mark.parametrize("number", EVERY)
def test_between_the_runs_of_a_sweep_too(tmp_path, number):
    def engine(cohorts, runs_dir, cut):
        send(number)
        yield from ()

    with pytest.raises(RunInterrupted, match="stopped with 0 of 0 runs finished; the same command goes on"):
        sweep(pack([]), runs_dir=tmp_path, engine=engine)


def test_a_stop_at_the_end_of_one_run_stops_the_sweep():
    with pytest.raises(KeyboardInterrupt), stopping_now(), StopRequest():
        send(signal.SIGTERM)
