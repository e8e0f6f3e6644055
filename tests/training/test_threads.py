"""Runs in several threads of one process: each finishes, with the result that it would have alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

from conftest import QUICK, assert_equal_runs, quick
from threadpoolctl import threadpool_info

import rankprobe as rp
from rankprobe.training.threads import one_blas_thread

IN_THREADS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import rankprobe as rp

settings = json.loads(sys.argv[1])
train = lambda seed: rp.probe(**settings, seed=seed, runs_dir=sys.argv[2])
with ThreadPoolExecutor(3) as threads:
    print([run.id for run in threads.map(train, (1, 2, 3))])
"""


def test_runs_in_threads_of_a_fresh_process_equal_runs_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", IN_THREADS, json.dumps(QUICK), str(tmp_path / "threads")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    for seed in (1, 2, 3):
        alone = rp.train(quick(seed=seed), runs_dir=tmp_path / "alone")
        assert_equal_runs(rp.find_run(alone.id, tmp_path / "threads"), alone)


def blas_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_the_limit_of_blas_ends_with_the_last_run():
    before, begun, go_on = blas_threads(), threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            begun.set()
            go_on.wait()

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        begun.wait()
        assert blas_threads() == {1}
    assert blas_threads() == {1}
    go_on.set()
    thread.join()
    assert blas_threads() == before
