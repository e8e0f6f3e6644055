"""Runs in several threads of one process."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from conftest import assert_equal_runs, quick
from threadpoolctl import threadpool_info, threadpool_limits

import rankprobe as rp
from rankprobe.backbone import load_backbone
from rankprobe.backbone.fingerprint import fingerprint
from rankprobe.threads import one_blas_thread

FIRST_IMPORT = """
import sys
from concurrent.futures import ThreadPoolExecutor

import rankprobe as rp

def probe(seed):
    return rp.probe(model=sys.argv[2], task="cb", steps=2, prompt_length=4, batch_size=8, seed=seed,
                    runs_dir=sys.argv[1], name=f"run{seed}").status

with ThreadPoolExecutor(3) as threads:
    sys.stdout.write(" ".join(threads.map(probe, range(3))))
"""


def test_the_first_runs_of_a_process_in_threads(tmp_path):
    """Nothing is imported yet when they start, and transformers imports its modules on first use."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_IMPORT, str(tmp_path), "tiny"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "finished finished finished"


def test_runs_in_threads_equal_the_same_runs_alone(tmp_path):
    configs = [
        quick(seed=1, model_seed=1, method="probe"),
        quick(seed=2, model_seed=2, method="dpt", bottleneck=2, dropout=True),
        quick(seed=3, model="tiny", method="residual"),
    ]
    alone = [rp.train(config, runs_dir=tmp_path / "alone") for config in configs]
    with ThreadPoolExecutor(len(configs)) as threads:
        together = list(threads.map(lambda config: rp.train(config, runs_dir=tmp_path / "together"), configs))
    for one, other in zip(together, alone, strict=True):
        assert one.manifest["backbone"] == other.manifest["backbone"]
        assert_equal_runs(one, other)


def test_random_backbones_of_threads_depend_only_on_their_seeds():
    def made(seed):
        return fingerprint(load_backbone("random:tiny", seed=seed))

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(made, range(4)))
    assert together == [made(seed) for seed in range(4)]


def blas_threads():
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


def test_blas_has_one_thread_until_the_last_run_ends():
    with threadpool_limits(2, user_api="blas"):
        before, first, second = blas_threads(), one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == before
        assert set(before) == {2}
