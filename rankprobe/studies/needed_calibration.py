"""Calibration of the needed rank: does it find the rank of a teacher prompt that students imitate?

`python -m rankprobe.studies needed RUNS_DIR DATA` prints the table; see `calibrate_needed`. For the table in
the docs, `python -m experiments.miniature.write DATA 2000` made DATA.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from rankprobe.config import RunConfig
from rankprobe.data.subsets import dev_parts
from rankprobe.errors import RankprobeError
from rankprobe.prompts.config import DPTConfig, VanillaConfig
from rankprobe.rank import log_spaced_ks, lower_bound, truncated
from rankprobe.studies.distillation import (
    ONE_ANSWER,
    RANKS,
    Teacher,
    label_log_probabilities,
    readings,
    teacher_of,
    train_students,
)
from rankprobe.studies.needed_search import Reference, Search, Try, checked_gain, decide, search
from rankprobe.training.api import train_cohort
from rankprobe.training.session import Session, open_session


def calibrate_needed(
    *,
    ranks: Sequence[int] = RANKS,
    seeds: Sequence[int] = (0, 1, 2),
    students: int = 1,
    restarts: int = 3,
    rates: Sequence[float] = (0.1, 0.3),
    task: str = "rte",
    data: str = "bundled-500",
    model: str = "tiny",
    dtype: str = "bfloat16",
    prompt_length: int = 20,
    steps: int = 150,
    batch_size: int = 16,
    runs_dir: str | Path = "runs",
) -> pd.DataFrame:
    """The needed rank of imitating a teacher of rank r, next to the used rank of the students.

    A teacher is a DPT run with bottleneck r, on true labels. The task of the students is its distribution
    over the vocabulary at the first label position of the training texts, as in
    `distillation.calibrate_model`. The reference are vanilla students; tries of rank k are these cut to k,
    healed, and DPT(k) from scratch. The score of a dev row is 1 where a prompt gives the teacher's most
    likely piece, and the baseline gives the most frequent one. Choice, bound and search are those of
    `taskrank`.

    A prompt of rank r exists that has all the gain: the teacher. So a needed rank above r is an error. One
    below r is none by itself: the teacher may do with fewer directions than it has.

    Args:
        ranks: of the teachers, r.
        seeds: each trains its own teachers.
        students: vanilla students per teacher; tries are compared with their mean.
        restarts: random starts of DPT(k), per student and rate.
        rates: peak learning rates of healed and scratch students; vanilla students have 0.3.
        task: of the teachers; this and the following are settings of runs.
        data: its validation rows are the dev texts.
        model: the frozen backbone.
        dtype: of its weights.
        prompt_length: n.
        steps: optimizer updates.
        batch_size: texts per update.
        runs_dir: the folder for the runs of the teachers; finished ones are reused.

    Returns:
        A row per teacher: `rank`, `seed`, `gain` of the vanilla students in percent points, `needed`, and the
        least certified k of the tested ones with healed (`healed`) or scratch tries only (`scratch`); NaN if
        none is. `tested`, the k that were tested. `used`, the functional rank of the students by agreement on
        all dev texts (mean). `cut`, the least k at which the teacher itself, cut to k, is certified. A
        teacher that gives one answer to 95 % of the dev texts, or whose students do not gain, has NaN and the
        reason in `refused`.

    Raises:
        RankprobeError: a rank beyond min(n, d), or as `train`.
    """
    common: dict[str, Any] = {
        "task": task,
        "data": data,
        "model": model,
        "dtype": dtype,
        "steps": steps,
        "batch_size": batch_size,
        "twin": "none",
        "eval_every": steps,
    }
    session = open_session([RunConfig(method=VanillaConfig(prompt_length=prompt_length), **common)])
    most = min(prompt_length, session.backbone.d_model)
    if not ranks or max(ranks) > most:
        raise RankprobeError(f"ranks of teachers {list(ranks)}; expected one or more, at most {most}")
    rows = []
    for seed in seeds:
        methods = [DPTConfig(bottleneck=r, prompt_length=prompt_length) for r in ranks]
        configs = [RunConfig(seed=seed, method=method, **common) for method in methods]
        for r, run in zip(ranks, train_cohort(configs, runs_dir=runs_dir, if_exists="resume"), strict=True):
            teacher = teacher_of(session, *(torch.from_numpy(run.prompt(name)) for name in ("final", "P0")))
            with tempfile.TemporaryDirectory() as folder:
                study = _Imitation(session, teacher, common, students, restarts, tuple(rates), Path(folder))
                rows.append({"rank": r, "seed": seed, **study.measure(r)})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Imitation:
    """The students of one teacher."""

    session: Session
    teacher: Teacher
    common: dict[str, Any]
    students: int
    restarts: int
    rates: tuple[float, ...]
    folder: Path

    def measure(self, r: int) -> dict[str, Any]:
        """The columns of `calibrate_needed` for one teacher of rank r."""
        share = float(self.teacher.commonest.double().mean())
        if share >= ONE_ANSWER:
            return {"refused": f"the teacher gives one answer to {share:.0%} of the texts"}
        n = len(self.teacher.P)
        seeds = tuple(range(1, self.students + 1))
        configs = [RunConfig(seed=s, method=VanillaConfig(prompt_length=n), **self.common) for s in seeds]
        trained = train_students(self.session, configs, self.teacher.train)
        vanilla = [P for P, _ in trained]
        for seed, P in zip(seeds, vanilla, strict=True):
            np.save(self._place(seed), P.numpy())
        reference = Reference(
            seeds, self._agreement(vanilla)[1], self._halves(self.teacher.commonest.numpy())[1]
        )
        try:
            gain = checked_gain(reference)
        except RankprobeError as error:
            return {"refused": str(error)}
        tries: dict[int, list[Try]] = {}

        def tries_of(k: int) -> list[Try]:
            tries[k] = self._tries(k, seeds, vanilla)
            return tries[k]

        found = search(tries_of, reference, n)

        def least(kind: str) -> float:
            """With tries of one kind only."""
            own = [one for k in sorted(tries, reverse=True) for one in tries[k] if one.kind == kind]
            at = {k: decide(k, [one for one in own if one.k <= k], reference)[0] for k in tries}
            return min((k for k, row in at.items() if row.certified), default=np.nan)

        return {
            "gain": 100 * gain.mean,
            "needed": found.needed_rank,
            "healed": least("healed"),
            "scratch": least("scratch"),
            "used": self._used(trained),
            "cut": self._least_cut(r, reference),
            "tested": _told(found),
        }

    def _tries(self, k: int, seeds: Sequence[int], vanilla: Sequence[Tensor]) -> list[Try]:
        """Cut, healed and scratch students of rank k."""
        n, about, configs = len(self.teacher.P), [], []
        for seed in seeds:
            saved: dict[str, Any] = {
                "init": "saved",
                "init_from": str(self._place(seed)),
                "factor_init": "svd",
            }
            for rate in self.rates:
                starts: list[tuple[str, int, dict[str, Any]]] = [("healed", seed, saved)]
                starts += [("scratch", seed + 1000 * start, {}) for start in range(self.restarts)]
                for kind, own_seed, start in starts:
                    method = DPTConfig(bottleneck=k, prompt_length=n, **start)
                    configs.append(RunConfig(seed=own_seed, learning_rate=rate, method=method, **self.common))
                    about.append((kind, seed, rate))
        prompts = [P for P, _ in train_students(self.session, configs, self.teacher.train)]
        cut = [torch.from_numpy(truncated(P.numpy(), [k], "top")[0].astype(np.float32)) for P in vanilla]
        about = [*(("cut", seed, None) for seed in seeds), *about]
        selection, report = self._agreement([*cut, *prompts])
        return [
            Try(k, kind, seed, float(chosen.mean()), told, rate)
            for (kind, seed, rate), chosen, told in zip(about, selection, report, strict=True)
        ]

    def _least_cut(self, r: int, reference: Reference) -> float:
        """The least k at which the teacher, cut to k, keeps the gain of the students by the bound."""
        cut = truncated(self.teacher.P.numpy(), range(1, r + 1), "top").astype(np.float32)
        scores = self._agreement([torch.from_numpy(P) for P in cut])[1]
        for k, own in enumerate(scores, start=1):
            if lower_bound(reference.margin(own)[None]).lower >= 0:
                return k
        return np.nan

    def _used(self, trained: Sequence[tuple[Tensor, Tensor]]) -> float:
        """The mean functional rank of P of the vanilla students, by agreement."""
        ks = log_spaced_ks(min(self.teacher.P.shape), 12)
        frames = [readings(self.session, self.teacher, P, P0, ks, 0, ("P",)) for P, P0 in trained]
        rows = pd.concat(frames).query("score == 'agreement' and rule == 'functional'")
        return float(rows["functional_rank"].mean())

    def _agreement(
        self, prompts: Sequence[Tensor]
    ) -> tuple[Float[np.ndarray, "prompts rows"], Float[np.ndarray, "prompts rows"]]:
        """Whether each prompt gives the teacher's answer, on the selection and on the report half."""
        given = label_log_probabilities(self.session.backbone, prompts, self.session.eval_set.data).argmax(-1)
        return self._halves((given == self.teacher.answers).numpy())

    def _halves(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = dev_parts(self.session.eval_set.data.examples, "half")
        selection, report = (rows[..., parts[name]].astype(np.float64) for name in ("selection", "report"))
        return selection, report

    def _place(self, seed: int) -> Path:
        return self.folder / f"student{seed}.npy"


def _told(found: Search) -> str:
    """The tested k, with the lower bound in percent points."""
    return ", ".join(f"{row.k}: {row.lower:+.1f}" for row in found.decisions)
