"""Students of teacher prompts: they learn what the teacher says, and their ranks are read off right."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import quick

from rankprobe.errors import RankprobeError
from rankprobe.prompts.config import DPTConfig, VanillaConfig
from rankprobe.rank import truncated
from rankprobe.studies import distillation as room
from rankprobe.studies.distillation import (
    Teacher,
    calibrate_model,
    gains,
    label_log_probabilities,
    readings,
    teacher_of,
    train_students,
)
from rankprobe.training.optimization import Optimization, rate_factor
from rankprobe.training.session import open_session

KS = range(9)
CONFIG = quick(method="vanilla", steps=25, learning_rate=0.3)


@pytest.fixture(scope="module")
def session():
    return open_session([CONFIG])


@pytest.fixture(scope="module")
def teacher(session):
    """Two directions, large enough to be heard through random weights."""
    generator = torch.Generator().manual_seed(0)
    P, P0 = torch.randn((2, 8, 128), generator=generator)
    return teacher_of(session, torch.from_numpy(30 * truncated(P, [2], "top")[0]).float(), P0)


@pytest.fixture(scope="module")
def student(session, teacher):
    return train_students(session, [CONFIG], teacher.train)[0]


@pytest.fixture
def by_rank(session, monkeypatch):
    """Makes what a prompt says a function of its numerical rank: right on all dev texts from `least` on."""

    def install(least: int) -> Teacher:
        n, rows = len(session.eval_set.data), torch.eye(2)
        right = rows[torch.arange(n) % 2]

        def stub(backbone, prompts, data):
            ranks = [int(torch.linalg.matrix_rank(P.double(), rtol=1e-5)) for P in prompts]
            wrong = rows[torch.zeros(n, dtype=torch.long)]
            return torch.stack([right if rank >= least else wrong for rank in ranks]).mul(0.9).add(0.05).log()

        monkeypatch.setattr(room, "label_log_probabilities", stub)
        P, pieces = torch.zeros(8, 128), len(session.backbone.embedding)
        return Teacher(P, P, torch.full((len(session.train), pieces), 1 / pieces), right)

    return install


def test_what_is_said_of_a_text_does_not_depend_on_its_batch(session, teacher):
    data, backbone = session.eval_set.data, session.backbone
    spoken = label_log_probabilities(backbone, [teacher.P0, teacher.P], data)
    assert spoken.shape[:2] == (2, len(data))
    for row in (0, 17, len(data) - 1):
        alone = room.first_logits(backbone, [room.PromptInput(teacher.P)], data, [row])[0].log_softmax(-1)
        torch.testing.assert_close(spoken[1, row], alone[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(spoken[1, 0], spoken[0, 0], atol=1e-2)


def test_students_come_nearer_to_their_teacher(session, teacher, student):
    before, after = (
        float(-(teacher.train * each).sum(-1).mean())
        for each in label_log_probabilities(session.backbone, student[::-1], session.train)
    )
    least = float(-torch.special.xlogy(teacher.train, teacher.train).sum(-1).mean())
    assert after - least < (before - least) / 3


def test_students_learn_what_their_own_teacher_says(session, teacher, student):
    other = teacher.train.flip(-1)
    ((stranger, start),) = train_students(session, [CONFIG], other)
    assert torch.equal(start, student[1])
    spoken = label_log_probabilities(session.backbone, [student[0], stranger], session.train)
    for mine, theirs, soft in ((0, 1, teacher.train), (1, 0, other)):
        missed = -(soft * spoken).sum(-1).mean(-1)
        assert missed[mine] < missed[theirs]


def test_every_update_is_that_of_a_run(session, teacher, monkeypatch):
    rates, own = [], Optimization.update

    def spied(self, step):
        row = own(self, step)
        rates.append(row["lr"])
        return row

    monkeypatch.setattr(Optimization, "update", spied)
    short = replace(session, schedule_steps=5, total_steps=5)
    train_students(short, [CONFIG, quick(method="probe", steps=5)], teacher.train)
    peaks = [0.3, 0.3]
    assert rates == [peak * rate_factor(step, 5, 0.1) for step in range(1, 6) for peak in peaks]


def test_a_prompt_of_rank_two_never_reads_more(session, teacher):
    found = readings(session, teacher, teacher.P, teacher.P0, KS, seed=0, matrices=["P"])
    told = found[found["score"] == "cross_entropy"]
    assert len(told) == 2
    assert told["functional_rank"].between(1, 2).all()
    assert told["high"].le(2).all()
    assert set(found["agreement"]) == {1.0}


def test_questions_with_different_numbers_of_answers_are_resampled(session, by_rank):
    teacher, eval_set = by_rank(3), session.eval_set
    grouped = [
        replace(example, group="one question" if row < 5 else "")
        for row, example in enumerate(eval_set.data.examples)
    ]
    asked = replace(session, eval_set=replace(eval_set, data=replace(eval_set.data, examples=grouped)))
    P = torch.randn((8, 128), generator=torch.Generator().manual_seed(1))
    found = readings(asked, teacher, P, torch.zeros(8, 128), KS, seed=0, matrices=["P"])
    assert found["functional_rank"].tolist() == [3] * len(found)


@pytest.mark.parametrize("least", [1, 3])
def test_the_rank_from_which_the_answers_are_right_is_read(session, by_rank, least):
    teacher = by_rank(least)
    P = torch.randn((8, 128), generator=torch.Generator().manual_seed(1))
    found = readings(session, teacher, P, torch.zeros(8, 128), KS, seed=0)
    assert len(found) == 2 * 3 * 2
    for column in ("functional_rank", "low", "high"):
        assert found[column].tolist() == [least] * len(found)


def test_the_frame_says_where_a_student_exceeds_its_teacher(by_rank, monkeypatch, tmp_path):
    by_rank(3)
    monkeypatch.setattr(room, "teacher_of", lambda session, P, P0: by_rank(3))
    frame = calibrate_model(
        ranks=(2, 3),
        students=(VanillaConfig(), DPTConfig(bottleneck=4)),
        seeds=(5,),
        task="cb",
        data="bundled",
        model="random:tiny",
        dtype="float32",
        prompt_length=8,
        steps=2,
        runs_dir=tmp_path,
    )
    students = frame[frame["student"] != "teacher"]
    assert set(students["student"]) == {"vanilla", "dpt bottleneck=4"}
    keys = ["teacher_rank", "student", "seed", "matrix", "score", "rule"]
    assert not frame.duplicated(keys).any()
    # The stub lets the untrained prompts, of full rank, be right: nothing is gained over these.
    in_P = students[(students["matrix"] == "P") & (students["score"] != "cross_entropy")]
    assert in_P.loc[in_P["teacher_rank"] == 2, "exceeds"].all()
    assert not in_P.loc[in_P["teacher_rank"] == 3, "exceeds"].any()
    assert {path.name for path in tmp_path.iterdir()} == set(frame["teacher"])


def test_a_teacher_of_one_answer_has_no_students(session, teacher):
    same = teacher.dev[:1].expand_as(teacher.dev)
    dull = Teacher(teacher.P, teacher.P0, teacher.train, same)
    found = room.readings_of_students(session, dull, [CONFIG], KS)
    assert set(found["student"]) == {"teacher"}
    assert not found["taught"].any()
    assert set(found["teacher_baseline"]) == {1.0}
    assert found.query("score == 'agreement'")["functional_rank"].isna().all()


def test_gains_by_hand():
    dev = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]])
    teacher = Teacher(torch.zeros(0, 0), torch.zeros(0, 0), dev, dev)
    flat = torch.full((3, 3), 1 / 3).log()
    itself = dev.clamp(min=1e-9).log()
    found = gains(torch.stack([flat, itself]), flat, teacher)
    assert found["agreement"].tolist() == [[0, 0, 0], [0, 1, 0]]
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert found["cross_entropy"][:, 0] == pytest.approx([0, math.log(3) - entropy], rel=1e-5)
    constant = -(0.9 * math.log(0.6) + 0.1 * math.log(0.4))
    assert found["information"][1, 0] == pytest.approx(constant - entropy, rel=1e-5)
    assert np.mean(found["information"][1]) > 0 > np.mean(found["information"][0])


def test_what_cannot_be_calibrated_is_refused(tmp_path):
    with pytest.raises(RankprobeError, match="0 teachers and 4 kinds of students; give one or more"):
        calibrate_model(ranks=(), runs_dir=tmp_path)
    with pytest.raises(RankprobeError, match=r"ranks of teachers \[9\]; expected at most 8"):
        calibrate_model(ranks=(9,), model="random:tiny", prompt_length=8, steps=1, runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())
