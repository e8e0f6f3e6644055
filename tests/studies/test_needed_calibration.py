"""The calibration of the needed rank, with students whose agreement with the teacher depends on their rank."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rankprobe.errors import RankprobeError
from rankprobe.studies import needed_calibration as room
from rankprobe.studies import needed_search
from rankprobe.studies.distillation import Teacher

N, D, PIECES = 6, 128, 4


@pytest.fixture
def planted(monkeypatch):
    """Prompts of rank `least` or more give the teacher's answers, others always the same; nothing is trained."""

    def install(least: int, one_answer: bool = False) -> None:
        def label_log_probabilities(backbone, prompts, data):
            n = len(data)
            right = torch.arange(n) % (1 if one_answer else 2)
            ranks = [int(torch.linalg.matrix_rank(P.double(), rtol=1e-5)) for P in prompts]
            given = [right if rank >= least else torch.zeros(n, dtype=torch.long) for rank in ranks]
            return torch.stack([torch.eye(PIECES)[each] for each in given]).mul(0.9).add(0.02).log()

        def teacher_of(session, P, P0):
            whole = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
            dev = label_log_probabilities(None, [whole], session.eval_set.data)[0].exp()
            return Teacher(P, P0, torch.full((len(session.train), PIECES), 1 / PIECES), dev)

        def train_students(session, configs, soft):
            found = []
            for config in configs:
                P = np.random.default_rng(config.seed).standard_normal((N, D)).astype(np.float32)
                if config.method.name == "dpt":
                    if config.method.init == "saved":
                        P = np.load(config.method.init_from)
                    P = room.truncated(P, [config.method.bottleneck], "top")[0].astype(np.float32)
                found.append((torch.from_numpy(P), torch.zeros(N, D)))
            return found

        bound = needed_search.lower_bound
        many = lambda x: bound(np.tile(x, (1, 20)))  # noqa: E731 - few dev rows count as many
        for name, stub in (
            ("teacher_of", teacher_of),
            ("train_students", train_students),
            ("lower_bound", many),
        ):
            monkeypatch.setattr(room, name, stub)
        monkeypatch.setattr(room, "label_log_probabilities", label_log_probabilities)
        monkeypatch.setattr("rankprobe.studies.distillation.label_log_probabilities", label_log_probabilities)
        monkeypatch.setattr(needed_search, "lower_bound", many)

    return install


QUICK = {
    "task": "cb",
    "data": "bundled",
    "model": "random:tiny",
    "dtype": "float32",
    "prompt_length": N,
    "steps": 1,
}


def test_the_planted_rank_is_found_and_told_apart_from_the_teachers(tmp_path, planted):
    planted(2)
    frame = room.calibrate_needed(ranks=(1, 4), seeds=(0,), runs_dir=tmp_path, **QUICK)
    assert frame[["rank", "seed"]].to_numpy().tolist() == [[1, 0], [4, 0]]
    for column in ("needed", "healed", "scratch", "used"):
        assert frame[column].tolist() == [2, 2], column
    # A teacher of rank 1 cannot be enough here; one of rank 4 is, from its first two directions on.
    assert frame["cut"].isna().tolist() == [True, False]
    assert frame["cut"].iloc[1] == 2
    assert frame["tested"].str.startswith("1: -").all()
    assert "refused" not in frame


def test_a_teacher_of_one_answer_is_refused(tmp_path, planted):
    planted(1, one_answer=True)
    frame = room.calibrate_needed(ranks=(1,), seeds=(0,), runs_dir=tmp_path, **QUICK)
    assert frame["refused"].tolist() == ["the teacher gives one answer to 100% of the texts"]


def test_students_without_a_gain_are_refused(tmp_path, planted, monkeypatch):
    planted(7)
    dev = torch.eye(PIECES)[torch.arange(56) % 2].mul(0.9).add(0.02)
    train = torch.full((250, PIECES), 1 / PIECES)
    monkeypatch.setattr(room, "teacher_of", lambda session, P, P0: Teacher(P, P0, train, dev))
    frame = room.calibrate_needed(ranks=(1,), seeds=(0,), runs_dir=tmp_path, **QUICK)
    assert frame["refused"].str.startswith("vanilla has no certain gain over the baseline (").all()


def test_ranks_that_cannot_be_planted_are_refused(tmp_path):
    with pytest.raises(RankprobeError, match=r"ranks of teachers \[7\]; expected one or more, at most 6"):
        room.calibrate_needed(ranks=(7,), runs_dir=tmp_path, **QUICK)
    assert not list(tmp_path.iterdir())
