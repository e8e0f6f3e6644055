"""Run folders on disk are never half-written, and read back unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rankprobe.errors import RankprobeError
from rankprobe.runs import Run, create_run, find_run, list_runs, load_runs
from rankprobe.runs.checkpoint import (
    checkpoint_path,
    intact_checkpoints,
    load_checkpoint,
    save_checkpoint,
    write_tensors,
)
from rankprobe.runs.files import write_atomically
from rankprobe.runs.lock import writing
from rankprobe.runs.logs import AppendLog, LogPrefix, check_log, compact, read_log, rewind

MANIFEST = {
    "status": "finished",
    "config": {
        "seed": 1,
        "task": "cb",
        "method": "probe",
        "prompt_length": 4,
        "batch_order": "own",
        "stop_after": None,
        "patience": None,
        "twin_draws": 1,
        "init_seed": None,
        "train_half": "all",
        "orthonormal": False,
    },
    "data": {"label": "miniature CB", "source": "bundled", "n_train": 250, "n_validation": 56},
    "backbone": {"label": "random:tiny (random weights)", "random_weights": True},
    "trainable_parameters": 12,
    "progress": {"step": 2, "total_steps": 2},
    "timings": {"training": 1.5},
}


def make_run(root, name, **changes):
    return create_run(root / name, {**MANIFEST, **changes})


def test_a_log_reads_while_it_is_written_and_the_same_after_compaction(tmp_path):
    log = AppendLog(tmp_path / "steps.jsonl")
    log.write([{"step": 0, "n": 3, "erank": 0.1 + 0.2}, {"step": 1, "n": 2, "erank": 1 / 3, "loss": 1e-300}])
    live = read_log(tmp_path / "steps")
    log.close()
    compact(tmp_path / "steps")
    compact(tmp_path / "steps")
    assert not (tmp_path / "steps.jsonl").exists()
    pd.testing.assert_frame_equal(read_log(tmp_path / "steps"), live, check_exact=True)
    assert live["erank"].tolist() == [0.1 + 0.2, 1 / 3]
    assert live["n"].dtype == np.int64


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(1), np.int64(3), torch.tensor(1)])
def test_a_log_refuses_what_would_read_back_differently(tmp_path, value):
    log = AppendLog(tmp_path / "steps.jsonl")
    with pytest.raises((TypeError, ValueError)):
        log.write([{"step": value}])
    assert not (tmp_path / "steps.jsonl").exists()


def test_a_torn_last_line_is_left_out_with_a_warning(tmp_path):
    (tmp_path / "steps.jsonl").write_text('{"step": 0}\n{"step": 1}\n{"st')
    with pytest.warns(UserWarning, match=r"steps.jsonl: incomplete last line left out"):
        assert read_log(tmp_path / "steps")["step"].tolist() == [0, 1]


def written_log(folder, steps=6) -> tuple[Path, LogPrefix]:
    """Write a log with rows 0 … steps; return its path, and the part that a checkpoint of step 3 relies on."""
    log = AppendLog(folder / "steps.jsonl")
    log.write([row(step) for step in range(4)])
    covered = log.sync()
    log.write([row(step) for step in range(4, steps + 1)])
    log.close()
    return log.path, covered


def row(step):
    """A row as in real logs: no loss at step 0, and different columns at different steps."""
    measured = {"P_erank": step / 3, "n": step} if step % 2 == 0 else {}
    return {"step": step, "n_positive": 8 - step, **({"loss": 1 / step} if step else {}), **measured}


def frame(steps):
    return pd.DataFrame([row(step) for step in range(steps + 1)])


def test_rewinding_drops_what_came_after_a_checkpoint(tmp_path):
    path, covered = written_log(tmp_path)
    check_log(path, covered, 3)
    rewind(path, covered, 3)
    pd.testing.assert_frame_equal(read_log(path.with_suffix("")), frame(3), check_exact=True)
    empty = tmp_path / "evals.jsonl"
    rewind(empty, AppendLog(empty).sync(), 3)
    assert not empty.exists()


def test_a_log_that_goes_on_covers_what_was_there(tmp_path):
    path, covered = written_log(tmp_path)
    rewind(path, covered, 3)
    assert AppendLog(path).sync() == covered
    log = AppendLog(path)
    log.write([row(4)])
    whole = log.sync()
    log.close()
    assert whole == LogPrefix(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_log_is_read_once_however_often_it_is_synced(tmp_path, monkeypatch):
    path, _ = written_log(tmp_path)
    opened, real = [], type(path).open

    def noting(self, mode="r", *given, **settings):
        opened.append(mode)
        return real(self, mode, *given, **settings)

    monkeypatch.setattr(type(path), "open", noting)
    log = AppendLog(path)
    for step in range(7, 20):
        log.write([row(step)])
        log.sync()
    log.close()
    assert sorted(opened) == ["ab", "rb"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path, covered: path.unlink(), "steps.jsonl is missing, and its checkpoint relies on it"),
        (
            lambda path, covered: path.write_bytes(path.read_bytes()[: covered.bytes - 1]),
            "steps.jsonl lost rows that its checkpoint relies on",
        ),
        (
            lambda path, covered: path.write_text(path.read_text().replace("0.5", "0.6", 1)),
            "steps.jsonl has other rows that its checkpoint relies on",
        ),
    ],
)
def test_a_log_that_was_lost_or_changed_is_refused_and_not_touched(tmp_path, damage, message):
    path, covered = written_log(tmp_path)
    damage(path, covered)
    left = path.exists() and path.read_bytes()
    for refuse in (check_log, rewind):
        with pytest.raises(RankprobeError, match=message + ".*restore it from a copy, or start over with"):
            refuse(path, covered, 3)
    assert (path.exists() and path.read_bytes()) == left


@pytest.mark.parametrize("damaged", ["missing", "short", "changed"])
@pytest.mark.parametrize("noted", ["checksum", "length"])
@pytest.mark.parametrize("step", [3, 6])
def test_a_log_is_made_again_from_its_parquet(tmp_path, damaged, noted, step):
    path, covered = written_log(tmp_path)
    jsonl = path.read_bytes()
    compact(path.with_suffix(""))
    if damaged != "missing":
        path.write_bytes(jsonl[:9] if damaged == "short" else jsonl.replace(b"0.5", b"0.6", 1))
    covered = covered if noted == "checksum" else LogPrefix(covered.bytes, None)
    for _ in range(2):  # a kill between a rewind and the next checkpoint
        check_log(path, covered, step)
        rewind(path, covered, step)
        pd.testing.assert_frame_equal(read_log(path.with_suffix("")), frame(step), check_exact=True)
    log = AppendLog(path)
    log.write([row(each) for each in range(step + 1, 9)])
    log.close()
    compact(path.with_suffix(""))
    pd.testing.assert_frame_equal(read_log(path.with_suffix("")), frame(8), check_exact=True)


def test_a_parquet_that_cannot_take_the_place_of_a_lost_log(tmp_path):
    path, covered = written_log(tmp_path)
    compact(path.with_suffix(""))
    with pytest.raises(RankprobeError, match="steps.parquet ends before step 7"):
        check_log(path, covered, 7)
    parquet = path.with_suffix(".parquet")
    parquet.write_bytes(parquet.read_bytes()[:-9])
    with pytest.raises(RankprobeError, match="steps.jsonl is missing or changed and steps.parquet cannot"):
        check_log(path, covered, 3)


def test_what_earlier_versions_noted_of_a_log(tmp_path):
    path, covered = written_log(tmp_path)
    assert LogPrefix.parse(covered.bytes) == LogPrefix(covered.bytes, None)
    rewind(path, LogPrefix.parse(covered.bytes), 3)
    assert AppendLog(path).sync() == covered
    for noted in (None, -1, 1.5, True, "9", {"bytes": 3, "sha256": 4}, {"sha256": "a"}, [3]):
        with pytest.raises(ValueError, match="expected a length in bytes and a checksum"):
            LogPrefix.parse(noted)


def test_a_log_that_is_removed_or_cut_while_it_is_written(tmp_path):
    log = AppendLog(tmp_path / "steps.jsonl")
    log.write([row(0), row(1)])
    for damage in (lambda: os.truncate(log.path, 3), log.path.unlink):
        damage()
        with pytest.raises(
            RankprobeError, match=r"steps.jsonl was removed or changed while the run wrote it"
        ):
            log.sync()
    log.close()


def test_a_disk_that_takes_a_part_of_a_line(tmp_path):
    """Short writes are continued, so that no later row is appended to an incomplete one."""
    log = AppendLog(tmp_path / "steps.jsonl")
    log.write([{"step": 0}])

    class Slow:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:5])

    with log._file as file:
        log._file = Slow(file)
        log.write([{"step": 1}, {"step": 2}])
    assert read_log(tmp_path / "steps")["step"].tolist() == [0, 1, 2]


def test_a_log_compacted_while_it_is_opened(tmp_path, monkeypatch):
    log = AppendLog(tmp_path / "steps.jsonl")
    log.write([{"step": 0}])
    log.close()
    real = type(tmp_path).read_bytes

    def read_bytes(path):
        monkeypatch.undo()
        compact(tmp_path / "steps")
        return real(path)

    monkeypatch.setattr(type(tmp_path), "read_bytes", read_bytes)
    assert read_log(tmp_path / "steps")["step"].tolist() == [0]


def test_a_damaged_log_leaves_the_others(tmp_path):
    for name in ("a", "b"):
        write_log(make_run(tmp_path, name), "steps", [{"step": 0}])
    (tmp_path / "b" / "steps.jsonl").write_text('{"step": 0\n{"step": 1}\n')
    with pytest.warns(UserWarning, match="left out: .*b/steps.jsonl is damaged"):
        assert load_runs(tmp_path).steps["run_id"].tolist() == ["a"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_checkpoints_round_trip_bit_for_bit(tmp_path):
    tensors = {"a": torch.randn(3, 4), "step": torch.tensor(7.0), "shared": torch.arange(4.0)}
    tensors["alias"] = tensors["shared"]
    save_checkpoint(tmp_path / "checkpoint", 3, tensors, {"x": 0.1})
    loaded, facts = load_checkpoint(tmp_path / "checkpoint", 3)
    assert facts == {"x": 0.1}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


def test_the_last_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path):
    for step in (0, 5, 10):
        save_checkpoint(tmp_path, step, {"a": torch.ones(9)}, {"step": step})
    assert intact_checkpoints(tmp_path) == [10, 5]
    flip(checkpoint_path(tmp_path, 10), -1)
    with pytest.warns(UserWarning, match=r"step-10.safetensors is damaged; the run can go on from step 5"):
        assert intact_checkpoints(tmp_path) == [5]
    with pytest.raises(RankprobeError, match=r"checkpoint .*step-10.* is damaged .*--overwrite"):
        load_checkpoint(tmp_path, 10)
    checkpoint_path(tmp_path, 5).write_bytes(b"")
    with pytest.raises(RankprobeError, match=r"checkpoint .*step-10.* is damaged .*--overwrite"):
        intact_checkpoints(tmp_path)


@pytest.mark.parametrize("name", ["manifest.json", "prompt.safetensors", "steps.parquet"])
def test_one_flipped_bit_anywhere_in_a_finished_run_is_noticed(tmp_path, name):
    run = make_run(tmp_path, "a")
    write_tensors(run.path / "prompt.safetensors", {"final": torch.randn(3, 4)})
    log = AppendLog(run.path / "steps.jsonl")
    log.write([{"step": step, "loss": step / 3} for step in range(9)])
    log.close()
    compact(run.path / "steps")
    whole = (run.path / name).read_bytes()
    read = {
        "manifest.json": lambda: {key: run.manifest.get(key) for key in MANIFEST},
        "prompt.safetensors": run.tensors,
        "steps.parquet": lambda: run.log("steps"),
    }[name]
    before = read()
    unnoticed = 0
    for at in range(0, len(whole), 7):
        flip(run.path / name, at)
        with contextlib.suppress(RankprobeError):
            unnoticed += str(read()) != str(before)
        (run.path / name).write_bytes(whole)
    assert unnoticed == 0


def test_a_run_folder_is_born_with_its_manifest_and_only_once(tmp_path):
    run = make_run(tmp_path, "a")
    assert run.manifest == MANIFEST
    with pytest.raises(RankprobeError, match="continue it with --resume, start over with --overwrite"):
        make_run(tmp_path, "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_run_that_nobody_writes_was_killed(tmp_path):
    run = make_run(tmp_path, "a", status="running")
    assert run.status == "killed"
    with writing(run.path):
        assert run.status == "running"
        with (
            pytest.raises(RankprobeError, match="a is being written by another process; wait for it"),
            writing(run.path),
        ):
            pass
    assert run.status == "killed"
    assert make_run(tmp_path, "b").status == "finished"


def test_a_run_that_ends_while_its_status_is_read_was_not_killed(tmp_path, monkeypatch):
    run = make_run(tmp_path, "a", status="running")

    def ends(path):
        run.update({"status": "finished"})
        return False

    monkeypatch.setattr("rankprobe.runs.folder.is_being_written", ends)
    assert run.status == "finished"


def test_finding_runs(tmp_path):
    run = make_run(tmp_path, "cb-probe-1")
    (tmp_path / "no-run").mkdir()
    assert list_runs(tmp_path) == [run]
    assert find_run("cb-probe-1", tmp_path) == run
    assert find_run(str(run.path), "elsewhere") == run
    with pytest.raises(RankprobeError, match="unknown run 'cb-prob-1'; did you mean 'cb-probe-1'?"):
        find_run("cb-prob-1", tmp_path)
    with pytest.raises(RankprobeError, match="there are no runs in"):
        find_run("x", tmp_path / "no-run")


def write_log(run: Run, name: str, rows):
    (run.path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_frames_join_the_config_of_each_run(tmp_path):
    first = make_run(tmp_path, "a")
    method = {"name": "dpt", "bottleneck": 10, "prompt_length": 4}
    config = {"seed": 2, "task": {"name": "cb"}, "method": method}
    second = make_run(tmp_path, "b", status="interrupted", config=config)
    write_log(first, "steps", [{"step": 0, "n_positive": 4}, {"step": 1, "n_positive": 3}])
    write_log(second, "steps", [{"step": 0, "loss": 0.5}])
    frames = load_runs(tmp_path)
    assert frames.runs["status"].tolist() == ["finished", "interrupted"]
    assert frames.steps["run_id"].tolist() == ["a", "a", "b"]
    assert frames.steps["method"].tolist() == ["probe", "probe", "dpt"]
    assert frames.steps["seed"].tolist() == [1, 1, 2]
    assert frames.steps["bottleneck"].tolist()[2] == 10
    assert frames.steps.query("method == 'probe'")["n_positive"].tolist() == [4, 3]
    assert frames.spectra.empty
    assert load_runs(tmp_path, only=["b"]).runs["run_id"].tolist() == ["b"]


def test_an_unreadable_manifest_leaves_the_others(tmp_path):
    make_run(tmp_path, "a")
    (make_run(tmp_path, "b").path / "manifest.json").write_text("{")
    with pytest.warns(UserWarning, match="left out: .*b/manifest.json cannot be read"):
        assert load_runs(tmp_path).runs["run_id"].tolist() == ["a"]


def test_no_runs_at_all(tmp_path):
    assert load_runs(tmp_path).runs.empty
    with pytest.raises(RankprobeError, match="no folder .* train one first: rankprobe probe"):
        load_runs(tmp_path / "nowhere")
    with pytest.raises(RankprobeError, match="unknown run 'x'"):
        load_runs(tmp_path, only=["x"])


def test_prompts_by_name(tmp_path):
    run = make_run(tmp_path, "a")
    with pytest.raises(RankprobeError, match=r"run 'a' \(finished\) has no prompt.safetensors yet"):
        run.prompt()
    from safetensors.numpy import save_file

    save_file({"final": np.ones((2, 3))}, run.path / "prompt.safetensors")
    assert run.prompt().shape == (2, 3)
    with pytest.raises(RankprobeError, match="unknown prompt 'finl'; did you mean 'final'?"):
        run.prompt("finl")


def test_a_log_whose_numbers_no_table_holds_is_damaged(tmp_path):
    run = make_run(tmp_path, "a")
    (run.path / "steps.jsonl").write_text('{"step": -9223372036854775809, "loss": 1.5}\n{"step": 1}\n')
    with pytest.raises(RankprobeError, match=r"steps.jsonl is damaged \(Python int too large"):
        run.table("steps")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"step": 1, "n_positive": []}', "'n_positive' has the type list, not a number"),
        ('{"step": 1, "n_positive": "7"}', "'n_positive' has the type str, not a number"),
        ('{"step": 1, "metric": 7}', "'metric' has the type (int|float), not a text"),
    ],
)
def test_a_log_with_a_value_of_another_type_is_refused(tmp_path, line, problem):
    run = make_run(tmp_path, "a")
    (run.path / "steps.jsonl").write_text(f'{{"step": 0}}\n{line}\n')
    for read in (lambda: run.log("steps"), run.readings):
        with pytest.raises(RankprobeError, match=rf"steps.jsonl .*{problem}"):
            read()


def test_a_truncation_file_of_an_earlier_version_is_read(tmp_path):
    """As written before orders, profiles and the name `baseline` existed."""
    cut = {"run_id": "a", "prompt": "final", "model": "tiny", "data": "CB", "matrix": "P", "kept": "top"}
    curve = {"k": 0, "split": "validation", "scoring": "greedy", "metric": "accuracy", "value": 0.0}
    curve |= {"n_examples": 500, "n_invalid": 498, "majority": 41.0}
    ranks = {"functional_rank": 25.0, "low": 16.0, "high": 100.0, "defined": 1.0}
    tables = {"curves": [cut | curve], "functional_rank": [cut | ranks]}
    (tmp_path / "truncation.json").write_text(json.dumps(tables))
    found = Run(tmp_path).truncation() or {}
    assert found["functional_rank"] == [cut | ranks | {"order": "singular"}]
    del curve["majority"]
    assert found["curves"] == [cut | curve | {"baseline": 41.0, "order": "singular"}]
    assert found["profile"] == []


def test_a_file_of_an_earlier_version_about_the_best_prompt_is_not_taken_for_the_final_one(tmp_path):
    row = {"prompt": "best", "matrix": "P", "functional_rank": 4.0}
    (tmp_path / "truncation.json").write_text(json.dumps({"functional_rank": [row]}))
    assert list(Run(tmp_path).truncations()) == ["best"]
    new = row | {"functional_rank": 5.0}
    (tmp_path / "truncation_best.json").write_text(json.dumps({"functional_rank": [new]}))
    assert (Run(tmp_path).truncation() or {})["functional_rank"] == [new | {"order": "singular"}]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"functional_rank": [{"matrix": "P"}]}, "the key 'functional_rank' is missing"),
        ({"functional_rank": 3}, "functional_rank is 3; expected a list"),
        ({"functional_rank": [3]}, "expected a mapping"),
        ({"curves": [{"matrix": "P", "k": -1}]}, "k is -1; expected greater than or equal to 0"),
        ({"profile": [{"matrix": "P", "share": "x"}]}, "share is 'x'; expected a valid number"),
    ],
)
def test_a_truncation_file_with_other_keys_or_types_is_refused(tmp_path, tables, message):
    (tmp_path / "truncation.json").write_text(json.dumps(tables))
    with pytest.raises(RankprobeError, match=message) as error:
        Run(tmp_path).truncation()
    assert str(error.value).endswith("run rankprobe truncate again")
