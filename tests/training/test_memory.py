"""How many runs fit into one pass."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import quick, started
from torch.profiler import ProfilerActivity, profile

import rankprobe as rp
from rankprobe.errors import RunFailed
from rankprobe.sweeps import pack
from rankprobe.training import loop, memory
from rankprobe.training.session import open_session


@pytest.fixture(scope="module")
def session():
    return open_session([quick()])


def test_activations_grow_with_rows_and_tokens(session):
    few, more = (memory.activation_bytes(session, 8, rows) for rows in (4, 8))
    assert 1.8 < more / few < 2.2
    assert memory.activation_bytes(session, 80, 8) > 1.5 * more
    # At the least, the input of each of two layers is kept, for 8 rows of 8 prompt tokens.
    assert more > 2 * 8 * 8 * session.backbone.d_model * 4


def peak_of_the_allocator(work):
    """The most bytes that `work` took at one time, as torch's allocator told its profiler."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as observed:
        work()
    events = sorted(observed.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    changes = [event.nbytes() for event in events if event.name() == "[memory]"]
    return np.cumsum(changes).max()


@pytest.mark.parametrize("mode", [{}, {"dropout": True}, {"gradient_checkpointing": True}], ids=str)
def test_activations_are_what_a_training_pass_takes(tmp_path, mode):
    config = quick(method="vanilla", batch_size=16, prompt_length=40, **mode)
    session = open_session([config])
    one = started(config, tmp_path, session)
    longest = sorted(range(len(session.train)), key=lambda row: session.train.lengths[row])[-16:]
    one.rows = lambda step: longest
    loop.forward_backward(session, 1, [one])  # what is made once
    one.optimization.optimizer.zero_grad()
    taken = peak_of_the_allocator(lambda: loop.forward_backward(session, 1, [one]))
    estimate = memory.activation_bytes(session, 40, 16)
    assert 0.9 < estimate / taken < 1.1
    assert all(parameter.grad is None for parameter in session.backbone.model.parameters())
    assert not any(module.training for module in session.backbone.model.modules())


def test_dropout_takes_more_and_gradient_checkpointing_less(session):
    plain, dropout, recomputing = (
        memory.activation_bytes(open_session([quick(**mode)]), 40, 16)
        for mode in ({}, {"dropout": True}, {"gradient_checkpointing": True})
    )
    assert dropout > 1.5 * plain
    assert recomputing < 0.8 * plain


def test_members_fill_the_share_of_free_memory(session, monkeypatch):
    one = memory.activation_bytes(session, 8, 4)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10 * one)
    assert memory.members_that_fit(session, 8, 4) == int(10 * memory.SHARE)
    monkeypatch.setattr(memory, "free_bytes", lambda device: one)
    assert memory.members_that_fit(session, 8, 4) == 1


def test_free_memory_is_that_of_the_machine():
    assert 10**8 < memory.free_bytes(torch.device("cpu")) < 10**14


def test_cohorts_are_cut_to_size():
    configs = [quick(seed=seed) for seed in range(5)]
    assert [len(each) for each in pack(configs, max_members=2)] == [2, 2, 1]
    assert [len(each) for each in pack(configs)] == [5]


SAYS_SO = {
    "CPU": "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to",
    "CPU of macOS": "[enforce fail at alloc_cpu.cpp:83] err == 0. DefaultCPUAllocator: not enough memory: you",
    "mmap": "unable to mmap 4096 bytes from file <model.safetensors>: Cannot allocate memory (12)",
    "C++": "std::bad_alloc",
    "torch on CUDA": "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB",
    "CUDA": "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API",
    "driver": "CUDA driver error: out of memory",
    "CUDA by its code": "CUDA error: cudaErrorMemoryAllocation",
    "driver by its code": "cuMemCreate failed with CUDA_ERROR_OUT_OF_MEMORY",
    "cuBLAS": "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN": "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN on the host": "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "cuSOLVER": "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "MPS": "MPS backend out of memory (MPS allocated: 17.9 GB, other allocations: 384 KB, max allowed: 18 GB)",
    "Metal": "Invalid buffer size: 24.00 GB",
    "HIP": "HIP out of memory. Tried to allocate 20.00 MiB",
    "HIP by its code": "HIP error: hipErrorOutOfMemory",
    "XPU": "Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
}


@pytest.mark.parametrize("library", SAYS_SO)
def test_texts_of_memory_that_ran_out(library):
    assert memory.is_out_of_memory(RuntimeError(SAYS_SO[library]))
    assert not memory.is_out_of_memory(ValueError(SAYS_SO[library]))


def test_errors_that_are_of_memory_by_their_class():
    assert memory.is_out_of_memory(MemoryError())
    assert memory.is_out_of_memory(torch.OutOfMemoryError("XPU"))
    if hasattr(torch, "AcceleratorError"):
        assert memory.is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory", 2))


@pytest.mark.parametrize(
    "text",
    [
        "cannot open file '/data/out of memory/rows.jsonl'",
        "cannot open file '/data/out of memory.jsonl'",
        'no weights in "out of memory.safetensors"',
        "No such file: /data/out of memory/model.safetensors",
        "No such file: out of memory.txt",
        "torch.load of /tmp/CUDA_ERROR_OUT_OF_MEMORY.log failed",
        "The size of tensor a (16) must match the size of tensor b (8) at non-singleton dimension 1",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb)`",
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous",
        "Expected is_sm80 to be true, but got false. memory layout",
        "",
    ],
)
def test_other_errors_are_not_of_memory(text):
    assert not memory.is_out_of_memory(RuntimeError(text))


def test_an_estimate_that_runs_out_of_memory_itself(session, monkeypatch):
    def starving(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(memory, "losses", starving)
    assert memory.members_that_fit(session, 8, 4) == 1
    assert memory.rows_that_fit(session, 8) == 0


def test_metal_gives_back_what_torch_keeps(monkeypatch):
    given_back = []
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: given_back.append("mps"))
    memory.release_cached(torch.device("mps"))
    memory.release_cached(torch.device("cpu"))
    assert given_back == ["mps"]


@pytest.mark.parametrize(
    ("fit", "settings", "advice"),
    [
        (
            3,
            {},
            "there is room for about --batch-size 3, or give --gradient-checkpointing, or a smaller --max-",
        ),
        (9, {}, "there is room for about --batch-size 7, or give"),  # 8 were too many
        (0, {}, "there is no room for a smaller batch; give --gradient-checkpointing, or a smaller --max-"),
        (9, {"batch_size": 1}, "there is no room for a smaller batch; give"),
        (
            3,
            {"gradient_checkpointing": True},
            "there is room for about --batch-size 3, or give a smaller --max-",
        ),
    ],
)
def test_advice_to_a_run_that_is_out_of_memory(session, monkeypatch, fit, settings, advice):
    monkeypatch.setattr(memory, "rows_that_fit", lambda session, n: fit)
    one = SimpleNamespace(config=quick(**settings), run=SimpleNamespace(id="run"))
    with pytest.raises(RunFailed, match=rf"^run 'run' is out of memory \(why\); {advice}"):
        memory.MicroBatcher(session, 1)._halve([one], "why")


OUT_OF_MEMORY = {
    "CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    "GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "Python": MemoryError,
}


def crowded(function, most, error):
    """`function`, which takes members last, and has no memory for more than `most` of them."""

    def wrapped(*given):
        found = function(*given)
        if len(given[-1]) > most:
            raise error()
        return found

    return wrapped


@pytest.mark.parametrize("where", OUT_OF_MEMORY)
@pytest.mark.parametrize("name", ["forward_backward", "score"])
def test_a_cohort_that_is_out_of_memory_halves_itself_and_comes_out_the_same(
    tmp_path, monkeypatch, where, name
):
    configs = [quick(seed=seed, dtype="float64", dropout=True) for seed in range(5)]
    whole = rp.train_cohort(configs, runs_dir=tmp_path / "whole")
    monkeypatch.setattr(loop, name, crowded(getattr(loop, name), 3, OUT_OF_MEMORY[where]))
    with pytest.warns(UserWarning, match="out of memory with 5 runs in one pass; going on with 3 at once"):
        halved = rp.train_cohort(configs, runs_dir=tmp_path / "halved")
    for one, other in zip(whole, halved, strict=True):
        pd.testing.assert_frame_equal(one.log("steps"), other.log("steps"), rtol=1e-9)
        assert one.log("evals").equals(other.log("evals"))


def test_a_run_for_which_there_is_no_memory_says_what_would_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "forward_backward", crowded(loop.forward_backward, 0, OUT_OF_MEMORY["GPU"]))
    monkeypatch.setattr(memory, "rows_that_fit", lambda session, n: 3)
    with (
        pytest.warns(UserWarning, match="going on with 1 at once"),
        pytest.raises(
            RunFailed, match=r"is out of memory \(CUDA .*\); there is room for about --batch-size 3"
        ),
    ):
        rp.train_cohort([quick(seed=1), quick(seed=2)], runs_dir=tmp_path)
    assert [run.status for run in rp.list_runs(tmp_path)] == ["failed", "failed"]


def test_memory_that_is_really_gone_is_noticed(tmp_path):
    limits, big = resource.getrlimit(resource.RLIMIT_AS), quick(batch_size=250, prompt_length=100, steps=1)

    def starve(record):
        if record.step == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**20, limits[1]))

    try:
        with pytest.raises(RunFailed, match=r"is out of memory .*can't allocate memory"):
            rp.train(big, runs_dir=tmp_path, name="run", hooks=[starve])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    (run,) = rp.resume(rp.list_runs(tmp_path))
    assert run.status == "finished"


def test_rows_that_fit(session, monkeypatch):
    one = memory.activation_bytes(session, 8, 1)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10 * one)
    assert memory.rows_that_fit(session, 8) == int(10 * memory.SHARE)
