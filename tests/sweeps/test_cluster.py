"""The Ray engine on a real cluster of three nodes: lost nodes, killed workers, failures, stop signals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import torch
from conftest import QUICK, quick
from pandas.testing import assert_frame_equal
from safetensors.torch import load_file
from waiting import wait_until

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

from rankprobe.cli import main
from rankprobe.errors import RunInterrupted
from rankprobe.runs import CHECKPOINTS, LOGS, PROMPT, Run
from rankprobe.runs.checkpoint import last_checkpoint
from rankprobe.runs.lock import writing
from rankprobe.sweeps import cluster as engine
from rankprobe.sweeps import is_finished, sweep
from rankprobe.sweeps.cluster import on_ray

STEPS = 60  # at 20 ms or more
LONG = {"steps": STEPS, "checkpoint_every": 2, "eval_every": 30, "spectrum_every": 30}
SMALL = {"object_store_memory": 80 * 2**20, "include_dashboard": False, "include_log_monitor": False}


def member(seed, **settings):
    return quick(seed=seed, **{**LONG, "dtype": "float64", **settings})


def pids_with_open(folder):
    """Other processes that have a file below a folder open."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.readlink().is_relative_to(folder):
                found.add(int(link.parts[2]))
    return found - {os.getpid()}


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def raylet_of(node):
    return node.all_processes["raylet"][0].process.pid


def reached_by(run):
    return last_checkpoint(run.path / CHECKPOINTS)


def pids_training(run):
    return pids_with_open(run.path) if run.path.exists() and reached_by(run) else set()


def wait_for_trainer(runs):
    """The process that trains these runs, once all of them have a checkpoint after step 0."""
    wait_until(lambda: all(pids_training(run) for run in runs))
    (found,) = set.union(*map(pids_with_open, (run.path for run in runs)))
    return found


@pytest.fixture(scope="module")
def ray_folder():
    """A short path, because Ray creates sockets below it. At the end no process may use it."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        wait_until(lambda: not pids_with_open(folder), seconds=20)


@pytest.fixture(scope="module")
def ray_cluster(ray_folder):
    """A head that trains nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", str(ray_folder))
        patch.setenv("RAY_worker_niceness", "0")  # else workers wait for all that runs beside these tests
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
        yield cluster
        cluster.shutdown()


@pytest.fixture
def two_nodes(ray_cluster):
    """Two more nodes, each large enough for one cohort; one that a test has lost is replaced."""
    while len(ray_cluster.worker_nodes) < 2:
        ray_cluster.add_node(num_cpus=1, wait=False, **SMALL)
    ray_cluster.wait_for_nodes()
    return ray_cluster


@pytest.fixture
def background():
    """Call a function in another thread while a sweep runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Runs 1 and 2, 3 and 4, trained by the local engine with as many threads as Ray gives a cohort."""
    root, threads = tmp_path_factory.mktemp("local"), torch.get_num_threads()
    torch.set_num_threads(1)
    outcome = sweep([[member(1), member(2)], [member(3), member(4)]], runs_dir=root)
    torch.set_num_threads(threads)
    assert len(outcome.finished) == 4
    return root


def assert_same_results(root, expected, configs):
    """Bit for bit."""
    for config in configs:
        ours, theirs = Run(root / config.run_id), Run(expected / config.run_id)
        assert ours.log("steps")["step"].tolist() == list(range(STEPS + 1))
        for name in LOGS:
            assert_frame_equal(ours.log(name), theirs.log(name), check_exact=True)
        found, wanted = load_file(ours.path / PROMPT), load_file(theirs.path / PROMPT)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_cohorts_of_a_lost_node_go_on_elsewhere(two_nodes, expected, background, tmp_path, capfd):
    cohorts = [[member(1), member(2), member(5)], [member(3), member(4)], [quick(seed=6)]]
    lost = [Run(tmp_path / config.run_id) for config in cohorts[0][:2]]
    rest = [Run(tmp_path / config.run_id) for cohort in cohorts[1:] for config in cohort]
    done = Run(tmp_path / member(5).run_id)  # a finished run, which its cohort must not touch
    shutil.copytree(expected / member(3).run_id, done.path)
    done.update({"updated": "then"})

    def lose_a_node():
        worker = wait_for_trainer(lost)
        os.kill(worker, signal.SIGSTOP)  # so that it does not end before its node
        before = [(run.status, reached_by(run), run.manifest["process"]) for run in lost]
        (node,) = [node for node in two_nodes.worker_nodes if raylet_of(node) == parent(worker)]
        two_nodes.remove_node(node, allow_graceful=False)
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not pids_with_open(lost[0].path))
        with ExitStack() as locks:  # like a writer that outlives its node
            for run in lost:
                locks.enter_context(writing(run.path))
            wait_until(lambda: all(is_finished(run.path) for run in rest))
            time.sleep(2)  # time for the retry, which has a node for itself now
            assert [run.manifest["resumed"] for run in lost] == [[], []]
        return before

    losing, passes = background(lose_a_node), []
    outcome = sweep(
        cohorts,
        runs_dir=tmp_path,
        engine=on_ray(address=two_nodes.address),
        done=lambda cohort, problems: passes.append(problems),
    )
    for run, (status, step, process) in zip(lost, losing.result(), strict=True):
        assert status == "running"
        assert 0 < step < STEPS
        (resumed,) = run.manifest["resumed"]
        assert run.manifest["process"] == process != resumed["process"]
    assert [run.manifest["resumed"] for run in rest] == [[], [], []]
    assert done.manifest["updated"] == "then"
    assert not any(capfd.readouterr())  # Ray prints long messages about a lost node
    assert passes == [{}, {}, {}]
    assert len(outcome.finished) == 6
    assert_same_results(tmp_path, expected, [member(seed) for seed in (1, 2, 3, 4)])


def test_a_worker_that_is_killed_or_asked_to_stop_has_a_successor(two_nodes, expected, background, tmp_path):
    cohort = [member(1), member(2)]
    runs = [Run(tmp_path / config.run_id) for config in cohort]

    def end_two_workers():
        os.kill(first := wait_for_trainer(runs), signal.SIGTERM)
        wait_until(lambda: runs[0].status == "interrupted" or runs[0].manifest["resumed"])
        reached = reached_by(runs[0])
        wait_until(lambda: runs[0].manifest["resumed"] and reached_by(runs[0]) > reached)
        os.kill(second := wait_for_trainer(runs), signal.SIGKILL)
        return first, second

    ending, passes = background(end_two_workers), []
    sweep(
        [cohort],
        runs_dir=tmp_path,
        engine=on_ray(address=two_nodes.address),
        done=lambda cohort, problems: passes.append(problems),
    )
    ending.result()
    assert passes == [{}]
    assert [len(run.manifest["resumed"]) for run in runs] == [2, 2]
    assert_same_results(tmp_path, expected, cohort)


def test_failures_are_those_of_the_local_engine(two_nodes, background, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "RETRIES", 0)
    bad, good = quick(learning_rate=1e30), quick(seed=3)
    none = quick(model=str(tmp_path / "none"))
    deadly, kills = member(7), []

    def kill_them_all():
        run = Run(tmp_path / "ray" / deadly.run_id)
        while not over:
            for worker in pids_with_open(run.path):
                kills.append(worker)
                os.kill(worker, signal.SIGKILL)
                wait_until(lambda worker=worker: worker not in pids_with_open(run.path))
            time.sleep(0.05)

    over, cohorts = [], [[bad, good], [none]]
    killing = background(kill_them_all)
    try:
        ray_engine = on_ray(address=two_nodes.address)
        outcome = sweep([[deadly], *cohorts], runs_dir=tmp_path / "ray", engine=ray_engine)
    finally:
        over.append(True)
    killing.result()
    local = sweep(cohorts, runs_dir=tmp_path / "local")
    assert len(kills) == 2  # one for each attempt of the sweep; Ray does not retry
    assert outcome.problems.pop(deadly.run_id).startswith("The worker died unexpectedly")
    assert {k: why.replace("/ray/", "/local/") for k, why in outcome.problems.items()} == local.problems
    assert local.problems.keys() == {bad.run_id, none.run_id}
    assert [run.id for run in outcome.finished] == [run.id for run in local.finished] == [good.run_id]


def test_ctrl_c_leaves_checkpoints_and_the_same_command_goes_on(two_nodes, expected, tmp_path):
    spec = tmp_path / "spec.toml"
    settings = {**QUICK, **LONG, "dtype": "float64", "seed": [1, 2, 3, 4]}
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    spec.write_text("\n".join(["title = 't'", "[settings]", *lines]))
    words = ["sweep", str(spec), "--runs-dir", str(tmp_path), "--cohort", "2", "--engine", "ray"]
    runs = [Run(tmp_path / member(seed).run_id) for seed in (1, 2, 3, 4)]
    with subprocess.Popen(
        [sys.executable, "-m", "rankprobe", *words, "--cpus", "0.5"],  # two at once, on any machine
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as sweeping:
        try:
            trainers = []
            for pair in (runs[:2], runs[2:]):  # stopped, so that they do not end before the interrupt
                trainers.append(wait_for_trainer(pair))
                os.kill(trainers[-1], signal.SIGSTOP)
            os.killpg(sweeping.pid, signal.SIGINT)  # like a terminal: Ray's own processes get it too
            time.sleep(2)  # until the sweep has cancelled its tasks
            for trainer in trainers:
                os.kill(trainer, signal.SIGCONT)
            printed, _ = sweeping.communicate(timeout=60)
        finally:
            sweeping.kill()
    first, *lines = printed.splitlines(keepends=True)
    assert first == "4 runs in 2 cohorts, 0 finished; a line follows each cohort\n"
    assert "".join(lines) == "stopped with 0 of 4 runs finished; the same command continues from here\n"
    assert sweeping.returncode == 130
    steps = [reached_by(run) for run in runs]
    assert all(0 < step < STEPS for step in steps)
    assert [run.status for run in runs] == ["interrupted"] * 4
    # Not only the last regular checkpoint: no finished step is lost.
    assert [int(run.log("steps")["step"].max()) for run in runs] == steps
    with pytest.raises(SystemExit) as ended:
        main([*words, "--address", two_nodes.address])
    assert not ended.value.code
    assert [len(run.manifest["resumed"]) for run in runs] == [1] * 4
    assert_same_results(tmp_path, expected, [member(seed) for seed in (1, 2, 3, 4)])


def test_a_warning_about_resources_and_sigterm_ends_the_wait(two_nodes, background, tmp_path, monkeypatch):
    check, checked = engine._check_resources, threading.Event()

    def check_resources(*args):
        check(*args)
        checked.set()

    def stop():
        assert checked.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(engine, "_check_resources", check_resources)
    stopping = background(stop)
    with (
        pytest.warns(
            UserWarning, match="^no node of the Ray cluster has the 1 CPUs and 3 GPUs that a cohort needs"
        ),
        pytest.raises(RunInterrupted, match="^stopped with 0 of 1 runs finished"),
    ):
        sweep([[quick()]], runs_dir=tmp_path, engine=on_ray(address=two_nodes.address, gpus=3))
    stopping.result()


def error_of(capsys, tmp_path, *words):
    spec = tmp_path / "spec.toml"
    spec.write_text("title = 't'")
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(spec), "--runs-dir", str(tmp_path / "runs"), "--engine", "ray", *words])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_no_ray(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    expected = "error: --engine ray needs Ray; install it with: pip install 'rankprobe[ray]'\n"
    assert error_of(capsys, tmp_path) == expected


def test_no_cluster_there(tmp_path, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        start = time.monotonic()
        message = error_of(capsys, tmp_path, "--address", address)
        assert time.monotonic() - start < engine.CONNECT_TIMEOUT + 3
    assert message.startswith(f"error: no Ray cluster at '{address}' (")
    assert message.count("\n") == 1
    for address in ("nonsense", "ray://127.0.0.1:1", "127.0.0.1:", "http://127.0.0.1:1"):
        message = error_of(capsys, tmp_path, "--address", address)
        assert (
            message == f"error: Ray's address is '{address}'; expected HOST:PORT of its head node, or auto\n"
        )
