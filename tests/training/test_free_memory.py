"""Free memory: what the system has, within the limits of the control groups of a container or a batch job."""

from __future__ import annotations

import os
from types import SimpleNamespace

import psutil
import pytest
import torch

from rankprobe.training import free_memory
from rankprobe.training.free_memory import free_bytes

CPU, GIB = torch.device("cpu"), 2**30
UNLIMITED = 9223372036854771712  # how version 1 says it


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Makes a process whose groups are `lines`, with the given files below the mount; 64 GiB are available."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    monkeypatch.setattr(free_memory, "PROCESS_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(free_memory, "GROUPS", tmp_path / "fs")

    def make(lines, **files):
        if lines is not None:
            (tmp_path / "cgroup").write_text("\n".join(lines) + "\n")
        for folder, group in files.items():
            path = tmp_path / "fs" / folder.replace("__", "/")
            path.mkdir(parents=True, exist_ok=True)
            for name, value in group.items():
                (path / name).write_text(f"{value}\n")
        return free_bytes(CPU)

    return make


def version_2(limit, used, inactive=0):
    stat = f"anon 1\ninactive_file {inactive}\nactive_file 7"
    return {"memory.max": limit, "memory.current": used, "memory.stat": stat}


def version_1(limit, used, inactive=0):
    stat = f"inactive_file 1\ntotal_inactive_file {inactive}"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


def test_without_groups_it_is_what_the_system_has_available(groups, monkeypatch):
    def no_such_name(name):
        raise ValueError(f"unrecognized configuration name {name}")  # as on macOS

    monkeypatch.setattr(os, "sysconf", no_such_name)
    assert groups(None) == 64 * GIB


def test_the_limit_of_a_group_counts_and_its_cached_files_are_free(groups):
    assert groups(["0::/job"], job=version_2(8 * GIB, 5 * GIB, 2 * GIB)) == 5 * GIB


def test_the_limit_of_a_group_above_counts(groups):
    found = groups(
        ["0::/slice/job/step"],
        slice=version_2(20 * GIB, 18 * GIB),
        slice__job=version_2(8 * GIB, GIB),
        slice__job__step=version_2("max", GIB),
    )
    assert found == 2 * GIB


def test_a_limit_above_which_a_group_is_throttled_counts(groups):
    assert groups(["0::/job"], job=version_2("max", GIB) | {"memory.high": 3 * GIB}) == 2 * GIB


def test_a_group_without_a_limit_leaves_what_the_system_has(groups):
    assert groups(["0::/job"], job=version_2("max", GIB)) == 64 * GIB


def test_version_1(groups):
    lines = ["5:cpu,cpuacct:/other", "4:memory:/docker/c0ffee", "0::/"]
    assert groups(lines, memory__docker__c0ffee=version_1(8 * GIB, 6 * GIB, GIB)) == 3 * GIB
    assert groups(lines, memory__docker__c0ffee=version_1(UNLIMITED, 6 * GIB)) == 64 * GIB


def test_in_a_container_the_mount_is_the_group_and_the_hosts_path_is_not_there(groups):
    assert groups(["4:memory:/docker/c0ffee"], memory=version_1(8 * GIB, 6 * GIB)) == 2 * GIB


def test_both_versions_at_once(groups):
    assert groups(["0::/job"], unified__job=version_2(4 * GIB, GIB)) == 3 * GIB


def test_a_group_over_its_limit_has_nothing_left(groups):
    assert groups(["0::/job"], job=version_2(GIB, 2 * GIB)) == 0


def test_files_that_say_nothing_limit_nothing(groups):
    assert groups(["0::/job"], job={"memory.max": "", "memory.current": "?", "memory.stat": "x"}) == 64 * GIB
    assert groups(["0::/job"], job=version_2(8 * GIB, GIB) | {"memory.stat": "torn"}) == 7 * GIB


def test_metal_shares_the_memory_of_the_machine(groups, monkeypatch):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 20 * GIB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 5 * GIB)
    assert free_bytes(torch.device("mps")) == 15 * GIB
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6 * GIB))
    assert free_bytes(torch.device("mps")) == 6 * GIB


def test_what_torch_keeps_unused_on_a_gpu_is_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 30 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 12 * GIB)
    assert free_bytes(torch.device("cuda")) == 28 * GIB
