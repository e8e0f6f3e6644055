"""Plans: one config becomes many, and many become few passes."""

from __future__ import annotations

import pytest
from conftest import QUICK, quick

from rankprobe.errors import RankprobeError
from rankprobe.sweeps import grid, pack, run_all


def test_grid():
    configs = grid({"method": "dpt", **QUICK}, {"bottleneck": [2, 4], "seed": [1, 2, 3]})
    assert [(c.method.model_dump()["bottleneck"], c.seed) for c in configs] == [
        (2, 1), (2, 2), (2, 3), (4, 1), (4, 2), (4, 3),
    ]  # fmt: skip
    with pytest.raises(RankprobeError, match="did you mean 'seed'"):
        grid({}, {"sed": [1]})


def test_pack_puts_together_what_can_share_a_pass():
    configs = [quick(seed=1), quick(prompt_length=4), quick(method="dpt"), quick(seed=2, learning_rate=1)]
    packed = pack(configs)
    assert packed == [[configs[0], configs[2], configs[3]], [configs[1]]]


def test_run_all_skips_what_is_finished(tmp_path):
    configs = [quick(steps=2, seed=1), quick(steps=2, prompt_length=4)]
    runs = run_all(configs, runs_dir=tmp_path)
    stamps = [run.manifest["updated"] for run in runs]
    seen = []
    again = run_all(
        [*configs, quick(steps=2, seed=5)], runs_dir=tmp_path, hooks=[lambda r: seen.append(r.run_id)]
    )
    assert [run.status for run in again] == 3 * ["finished"]
    assert [run.manifest["updated"] for run in runs] == stamps
    assert set(seen) == {quick(steps=2, seed=5).run_id}
