"""The rank that is used: scores of a trained prompt when singular directions are taken away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from rankprobe.backbone import Soft
from rankprobe.errors import RankprobeError
from rankprobe.rank import least_enough, parts, steps_to
from rankprobe.runs import TRUNCATION, Run
from rankprobe.runs.files import write_sealed
from rankprobe.tasks import METRICS, Example, judged, load_split
from rankprobe.training.evaluation import answers, scored
from rankprobe.training.exam import Exam, set_exam, task_of
from rankprobe.training.session import backbone_of, config_of
from rankprobe.training.trained import Which, answer_limit, check_backbone, trained_soft

CURVES = (("P", "top"), ("dP", "top"), ("P", "bottom"), ("P", "random"))
"""Which matrix is cut, and which of its directions are kept. `dP` is cut and added to P0 again."""

AT_ONCE = 5
"""Prompts in one pass; more are no faster on CPU."""

SHARE = 0.95
"""Of the gain over majority that the functional rank keeps."""

RESAMPLES = 400


@dataclass(frozen=True)
class Truncation:
    """What is left of a run's score at each k.

    Attributes:
        curves: a row per matrix, directions kept, k and metric: `value`, `majority`, `n_invalid`, ….
        functional_rank: a row per matrix, for the best approximations of rank k: `functional_rank`, its 95 %
            interval `low` to `high` over resampled examples, and `defined`, the share of resamples that have
            one: without a gain over majority there is none.
    """

    curves: pd.DataFrame
    functional_rank: pd.DataFrame


def truncate(
    run: Run,
    *,
    ks: Sequence[int] | None = None,
    which: Which = "final",
    split: str = "validation",
    device: str | None = None,
    seed: int = 0,
) -> Truncation:
    """Score a run's prompt with k of its singular directions, for each k.

    At k = min(n, d) it is the prompt itself, and the score the run's own. All k's go through the backbone
    in batches, as the members of a cohort do. Where a prompt is not all that was trained (DePT) the rest
    stays as it is. A run that held half of dev back is scored on that half.

    Args:
        run: a finished run with a prompt.
        ks: numbers of directions to keep; unset: about twelve, closer together where they are small.
        which: the final prompt, or that of the best dev score.
        split: `validation` or `train`.
        device: where to; unset: where the run was trained.
        seed: of the random directions and of the resampling.

    Raises:
        RankprobeError: no prompt, an unfinished run, a k beyond min(n, d), or other weights than it was
            trained on.
    """
    config = config_of(run)
    trained = run.prompt(which)
    P, P0 = (np.asarray(each, dtype=np.float64) for each in (trained, run.prompt("P0")))
    if not P.size:
        raise RankprobeError(f"run '{run.id}' has no prompt to cut ({config.method.name})")
    most = min(P.shape)
    kept = sorted({*(steps_to(most, 12) if ks is None else ks), most})
    if kept[0] < 0 or kept[-1] > most:
        raise RankprobeError(f"k is {kept[0]} to {kept[-1]}; expected 0 to {most} for a prompt {P.shape}")
    backbone = backbone_of(config, device)
    check_backbone(run, backbone)
    rows = load_split(task_of(config.task), split, config.task.data)
    exam = set_exam(config.task, rows, backbone, answer_limit(run, backbone))
    shift = trained_soft(run, backbone, which).shift
    named = {"run_id": run.id, "prompt": which, "model": backbone.label, "data": rows.label}
    curves, ranks = [], []
    for matrix, keep in CURVES:
        whole, start = (P, np.zeros_like(P)) if matrix == "P" else (P - P0, P0)
        cut = (start + parts(whole, kept, keep, seed)).astype(trained.dtype)
        softs = [Soft(torch.from_numpy(each), shift) for each in cut]
        given = [
            texts
            for first in range(0, len(softs), AT_ONCE)
            for texts in answers(
                exam, backbone, softs[first : first + AT_ONCE], config.training.batch_size, exam.scoring[0]
            )
        ]
        about = named | {"matrix": matrix, "kept": keep}
        part = list(exam.parts)[-1]
        curves += [
            about | {"k": k} | row
            for k, texts in zip(kept, given, strict=True)
            for row in scored(exam, texts, part, exam.scoring[0])
        ]
        if keep == "top":
            scores, floor = _scores_of_resamples(exam, part, given, seed)
            ranks.append(about | functional_rank(kept, scores, floor))
    return Truncation(pd.DataFrame(curves), pd.DataFrame(ranks))


def keep(run: Run, found: Truncation) -> None:
    """Write what `truncate` found into the run folder, in place of what was there."""
    tables = {"curves": found.curves, "functional_rank": found.functional_rank}
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    write_sealed(run.path / TRUNCATION, rows)


def functional_rank(ks: Sequence[int], scores: NDArray[np.float64], floor: ArrayLike) -> dict[str, float]:
    """The least k from which on 95 % of the gain over `floor` is kept, and how sure that is.

    Args:
        ks: ascending; the last is the whole prompt.
        scores: (1 + resamples, len(ks)), of all examples, then of each resample.
        floor: (1 + resamples,), the score without reading the texts, or without training, on the same
            examples; one number if it is the same in every resample.
    """
    found = least_enough(ks, scores, full=scores[:, -1], floor=floor, share=SHARE)
    own, drawn = found[0], found[1:][~np.isnan(found[1:])]
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest") if len(drawn) else (np.nan, np.nan)
    return {
        "functional_rank": float(own),
        "low": float(low),
        "high": float(high),
        "defined": len(drawn) / len(found[1:]),
    }


def resampled(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """Numbers of all examples, then of those in each resample; the answers to one question come together."""
    groups: dict[object, list[int]] = {}
    for at, example in enumerate(examples):
        groups.setdefault(example.group or at, []).append(at)
    units, rng = list(groups.values()), np.random.default_rng(seed)
    draws = [rng.integers(len(units), size=len(units)) for _ in range(RESAMPLES)]
    return [list(range(len(examples))), *([at for unit in draw for at in units[unit]] for draw in draws)]


def _scores_of_resamples(
    exam: Exam, part: str, given: Sequence[Sequence[str]], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores by the first metric: of answers, (1 + resamples, len(given)); without reading, (1 + resamples,).

    The score without reading depends on the examples as the others do: it is that of the best constant answer
    in each resample; see `majority_scores`.
    """
    rows, metric = exam.parts[part], METRICS[exam.task.metrics[0]]
    examples = [exam.data.examples[row] for row in rows]
    answered = [[texts[row] for row in rows] for texts in given]
    constant = exam.task.blind_answers(examples, exam.targets)
    sheets = [judged(exam.task, examples, texts, exam.targets) for texts in (*answered, *constant)]
    draws = resampled(examples, seed)
    scores = np.array([[metric(sheet.take(draw)) for sheet in sheets] for draw in draws])
    return scores[:, : len(given)], scores[:, len(given) :].max(axis=1)
