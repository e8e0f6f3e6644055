"""Sweeps: no run is trained twice or lost, and no run prevents another from being trained."""

from __future__ import annotations

import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import quick

from rankprobe.errors import RunInterrupted
from rankprobe.runs import Run, list_runs
from rankprobe.runs.lock import writing
from rankprobe.sweeps import pack, sweep
from rankprobe.sweeps.engine import ELSEWHERE, train_here
from rankprobe.training import api, cohort
from rankprobe.training.run_state import RunState


def stamps(configs, root):
    return {c.run_id: Run(root / c.run_id).manifest["updated"] for c in configs}


def test_finished_runs_are_kept_and_new_ones_trained(tmp_path):
    configs = [quick(steps=2, seed=1), quick(steps=2, prompt_length=4)]
    assert len(sweep(pack(configs), runs_dir=tmp_path).finished) == 2
    for config in configs:  # the clock of manifests has a resolution of seconds
        Run(tmp_path / config.run_id).update({"updated": "then"})
    more = [*configs, quick(steps=2, seed=5)]
    outcome = sweep(pack(more), runs_dir=tmp_path)
    assert not outcome.problems
    assert {run.id for run in outcome.finished} == {c.run_id for c in more}
    found = stamps(more, tmp_path)
    assert [found[c.run_id] == "then" for c in more] == [True, True, False]


def test_a_failing_run_is_tried_twice_and_the_others_finish(tmp_path):
    bad, good = quick(steps=4, learning_rate=1e30), quick(steps=4, seed=3)
    tries = []
    outcome = sweep(
        pack([bad, good]), runs_dir=tmp_path, done=lambda cohort, problems: tries.append(len(cohort))
    )
    assert tries == [2, 1]
    assert [run.id for run in outcome.finished] == [good.run_id]
    assert list(outcome.failed) == [bad.run_id]
    assert f"run '{bad.run_id}' failed at step" in outcome.failed[bad.run_id]


def test_a_run_that_fails_its_whole_pass_fails_alone_at_the_second_attempt(tmp_path):
    # Out of the range of float32: torch refuses the update of the whole cohort.
    bad, good = quick(steps=4, learning_rate=1e300), quick(steps=4, seed=3)
    outcome = sweep(pack([bad, good]), runs_dir=tmp_path)
    assert [run.id for run in outcome.finished] == [good.run_id]
    assert "without overflow" in outcome.failed[bad.run_id]


def test_a_run_that_fails_once_is_retried(tmp_path, monkeypatch):
    config, update, failures = quick(steps=3), RunState.update, ["disk full"]

    def sometimes(self, step):
        if step == 2 and failures:
            raise OSError(failures.pop())
        return update(self, step)

    monkeypatch.setattr(RunState, "update", sometimes)
    outcome = sweep([[config]], runs_dir=tmp_path)
    assert not failures
    assert not outcome.problems
    assert outcome.finished[0].log("steps")["step"].tolist() == [0, 1, 2, 3]


def test_a_model_that_cannot_be_loaded_does_not_stop_other_runs(tmp_path):
    bad, good = quick(steps=1, model=str(tmp_path / "none")), quick(steps=1)
    outcome = sweep(
        pack([bad, good, quick(steps=1, model=str(tmp_path / "none"), seed=2)]), runs_dir=tmp_path
    )
    assert [run.id for run in outcome.finished] == [good.run_id]
    assert len(outcome.failed) == 2
    assert "none" in outcome.failed[bad.run_id]


def test_runs_of_another_process_are_left_to_it(tmp_path):
    mine, theirs = quick(steps=1, seed=1), quick(steps=1, seed=2)
    sweep([[theirs]], runs_dir=tmp_path)
    Run(tmp_path / theirs.run_id).update({"status": "running"})
    with writing(tmp_path / theirs.run_id):
        outcome = sweep([[mine, theirs]], runs_dir=tmp_path)
        assert outcome.problems == {theirs.run_id: ELSEWHERE}
        assert not outcome.failed
        assert [run.id for run in outcome.finished] == [mine.run_id]
        assert train_here([theirs], tmp_path, lock_timeout=0.1) == {theirs.run_id: ELSEWHERE}


def test_a_run_trained_on_other_data_is_not_a_result(tmp_path):
    config = quick(steps=1)
    sweep([[config]], runs_dir=tmp_path)
    run = Run(tmp_path / config.run_id)
    data = run.manifest["data"]
    run.update({"data": {**data, "fingerprint": {**data["fingerprint"], "train": "other"}}})
    outcome = sweep([[config]], runs_dir=tmp_path)
    assert outcome.failed[run.id].startswith(f"the data of run '{run.id}' has changed since it was trained")
    assert run.status == "finished"


def test_the_given_runs_are_truncated(tmp_path):
    cut, whole = quick(steps=1, seed=1), quick(steps=1, seed=2)
    outcome = sweep([[cut, whole]], runs_dir=tmp_path, to_truncate={cut.run_id})
    assert [run.truncation() is not None for run in outcome.finished] == [True, False]
    path = tmp_path / cut.run_id / "truncation.json"
    path.write_text(json.dumps({"curves": [], "functional_rank": []}))
    sweep([[cut, whole]], runs_dir=tmp_path, to_truncate={cut.run_id})
    assert json.loads(path.read_text())["curves"] == []
    best = {"functional_rank": [{"prompt": "best", "matrix": "P", "functional_rank": 1}]}
    path.write_text(json.dumps(best))
    sweep([[cut, whole]], runs_dir=tmp_path, to_truncate={cut.run_id})
    assert json.loads(path.read_text())["curves"][0]["prompt"] == "final"


def test_a_run_that_cannot_go_on_is_named_with_that_reason_not_with_why_it_stopped(tmp_path):
    config = quick(steps=4, checkpoint_every=1)

    def stop(record):
        if record.step == 2:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        api.train_cohort([config], runs_dir=tmp_path, hooks=[stop])
    run = Run(tmp_path / config.run_id)
    run.update({"error": "stopped", "data": {**run.manifest["data"], "tokens_fingerprint": "other"}})
    outcome = sweep([[config]], runs_dir=tmp_path)
    assert "its tokenizer is not what it was started with" in outcome.failed[run.id]


def test_an_interrupt_ends_the_sweep_and_reports_its_progress(tmp_path, monkeypatch):
    configs = [quick(steps=2, seed=1), quick(steps=2, prompt_length=4)]
    train = api.train_members
    calls = []

    def interrupted(session, members, **options):
        calls.append(members)
        if len(calls) == 2:
            raise KeyboardInterrupt
        train(session, members, **options)

    monkeypatch.setattr(api, "train_members", interrupted)
    with pytest.raises(
        RunInterrupted, match=r"^stopped with 1 of 2 runs finished; the same command continues"
    ):
        sweep(pack(configs), runs_dir=tmp_path)
    assert len(sweep(pack(configs), runs_dir=tmp_path).finished) == 2


@pytest.mark.parametrize("name", ["manifest.json", "checkpoint"])
def test_a_damaged_run_is_named_and_does_not_stop_other_runs(tmp_path, name):
    damaged, good = quick(steps=4, checkpoint_every=2, seed=1), quick(steps=4, checkpoint_every=2, seed=3)

    def stop(record):
        if record.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.train_cohort([damaged, good], runs_dir=tmp_path, hooks=[stop])
    path = tmp_path / damaged.run_id
    for file in [path / name] if name == "manifest.json" else list((path / name).iterdir()):
        file.write_bytes(file.read_bytes()[:-9])
    outcome = sweep(pack([damaged, good]), runs_dir=tmp_path)
    assert [run.id for run in outcome.finished] == [good.run_id]
    assert list(outcome.failed) == [damaged.run_id]
    assert str(path) in outcome.failed[damaged.run_id]
    assert path.exists()


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_that_another_process_starts_meanwhile_is_left_to_it(tmp_path, monkeypatch, finished):
    """Two sweeps start at once: both find no run, and one of them loads the model faster."""
    config = quick(steps=2)
    path, open_session = tmp_path / "runs" / config.run_id, cohort.open_session
    theirs = sweep([[config]], runs_dir=tmp_path / "elsewhere").finished[0].path

    with contextlib.ExitStack() as other:

        def slow(configs):
            if not path.exists():
                shutil.copytree(theirs, path)
                if not finished:
                    other.enter_context(writing(path))
                    Run(path).update({"status": "running"})
            return open_session(configs)

        monkeypatch.setattr(cohort, "open_session", slow)
        outcome = sweep([[config]], runs_dir=tmp_path / "runs")
    assert outcome.problems == ({} if finished else {config.run_id: ELSEWHERE})
    assert Run(path).manifest["started"] == Run(theirs).manifest["started"]
    assert content_of(path, "prompt.safetensors") == content_of(theirs, "prompt.safetensors")
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def content_of(folder, name):
    return (folder / name).stat().st_mtime_ns, (folder / name).read_bytes()


def test_two_sweeps_of_the_same_runs_at_once(tmp_path):
    configs = [quick(steps=2, seed=seed) for seed in (1, 2, 3)]
    with ThreadPoolExecutor(2) as threads:
        outcomes = list(
            threads.map(lambda _: sweep(pack(configs, max_members=1), runs_dir=tmp_path), range(2))
        )
    assert all(not outcome.failed for outcome in outcomes), [outcome.problems for outcome in outcomes]
    assert sorted(run.id for run in list_runs(tmp_path)) == sorted(c.run_id for c in configs)
    assert {run.status for run in list_runs(tmp_path)} == {"finished"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
