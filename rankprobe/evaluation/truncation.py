"""The rank that a prompt uses: its scores with only some of its singular directions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from rankprobe.backbone import PromptInput
from rankprobe.config.folders import config_of
from rankprobe.data.eval_set import EvalSet, build_eval_set, task_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import Which, answer_limit, backbone_of, check_backbone, load_prompt
from rankprobe.evaluation.scoring import answer, score_answers
from rankprobe.rank import least_sufficient_k, log_spaced_ks, truncated
from rankprobe.runs import TRUNCATION, Run
from rankprobe.runs.checksums import write_checked_json
from rankprobe.tasks import METRICS, Example, load_split, parse_predictions

CURVES = (("P", "top"), ("dP", "top"), ("P", "bottom"), ("P", "random"))
"""Which matrix is truncated, and which of its directions are kept. Truncated ΔP is added to P0 again."""

PROMPTS_PER_PASS = 5
"""More prompts in one pass are not faster on a CPU."""

SHARE = 0.95
"""Share of the gain over the baseline that the functional rank keeps."""

RESAMPLES = 400


@dataclass(frozen=True)
class Truncation:
    """The scores of a run's prompt at each k.

    Attributes:
        curves: a row per matrix, kind of directions, k and metric: `value`, `baseline`, `n_invalid`, ….
        functional_rank: a row per matrix, for the best approximations of rank k: `functional_rank`, its 95 %
            interval `low` to `high` over resampled examples, and `defined`, the share of resamples in which
            the prompt gains over the baseline; without a gain the functional rank is undefined.
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
    """Score a run's prompt with k of its singular directions, for several k.

    k = min(n, d) is the whole prompt, with the score of the run. Several truncated prompts share a pass, as
    the members of a cohort do. If the method trains more than P (DePT), the rest stays as trained. A run with
    `report_split = half` is scored on the reported half of dev.

    Args:
        run: a finished run with a prompt.
        ks: numbers of directions to keep; default: about twelve, denser where small.
        which: `final`, or `best` (by dev score).
        split: `validation` or `train`.
        device: default: the device of the training.
        seed: of the random directions and of the resampling.

    Raises:
        RankprobeError: the run has no prompt or has not finished, a k is outside 0 … min(n, d), or the
            backbone's weights are not those of the training.
    """
    config = config_of(run)
    trained = run.prompt(which)
    P, P0 = (np.asarray(each, dtype=np.float64) for each in (trained, run.prompt("P0")))
    if not P.size:
        raise RankprobeError(f"run '{run.id}' has no prompt to cut ({config.method.name})")
    most = min(P.shape)
    kept = sorted({*(log_spaced_ks(most, 12) if ks is None else ks), most})
    if kept[0] < 0 or kept[-1] > most:
        raise RankprobeError(f"k is {kept[0]} to {kept[-1]}; expected 0 to {most} for a prompt {P.shape}")
    backbone = backbone_of(config, device)
    check_backbone(run, backbone)
    rows = load_split(task_of(config), split, config.data)
    eval_set = build_eval_set(config, rows, backbone, answer_limit(run, backbone))
    shift = load_prompt(run, backbone, which).shift
    named = {"run_id": run.id, "prompt": which, "model": backbone.label, "data": rows.label}
    curves, ranks = [], []
    for matrix, keep in CURVES:
        whole, start = (P, np.zeros_like(P)) if matrix == "P" else (P - P0, P0)
        cut = (start + truncated(whole, kept, keep, seed)).astype(trained.dtype)
        prompt_inputs = [PromptInput(torch.from_numpy(each), shift) for each in cut]
        given = [
            texts
            for first in range(0, len(prompt_inputs), PROMPTS_PER_PASS)
            for texts in answer(
                eval_set,
                backbone,
                prompt_inputs[first : first + PROMPTS_PER_PASS],
                config.batch_size,
                eval_set.scoring[0],
            )
        ]
        about = named | {"matrix": matrix, "kept": keep}
        part = list(eval_set.parts)[-1]
        curves += [
            about | {"k": k} | row
            for k, texts in zip(kept, given, strict=True)
            for row in score_answers(eval_set, texts, part, eval_set.scoring[0])
        ]
        if keep == "top":
            scores, floor = _scores_of_resamples(eval_set, part, given, seed)
            ranks.append(about | functional_rank(kept, scores, floor))
    return Truncation(pd.DataFrame(curves), pd.DataFrame(ranks))


def save_truncation(run: Run, truncation: Truncation) -> None:
    """Write a truncation into the run folder; an earlier one is replaced."""
    tables = {"curves": truncation.curves, "functional_rank": truncation.functional_rank}
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    write_checked_json(run.path / TRUNCATION, rows)


def functional_rank(
    ks: Sequence[int], scores: Float[np.ndarray, "samples ks"], floor: float | Float[np.ndarray, " samples"]
) -> dict[str, float]:
    """The least k from which on 95 % of the gain over `floor` is kept, with its bootstrap interval.

    Args:
        ks: ascending; the last is the whole prompt.
        scores: row 0 on all examples, the other rows on resamples.
        floor: the score of the baseline, or without training, on the same examples.
    """
    ranks = least_sufficient_k(ks, scores, full=scores[:, -1], floor=floor, share=SHARE)
    resampled_ranks = ranks[1:][~np.isnan(ranks[1:])]
    low, high = np.nan, np.nan
    if len(resampled_ranks):
        low, high = np.quantile(resampled_ranks, (0.025, 0.975), method="nearest")
    return {
        "functional_rank": float(ranks[0]),
        "low": float(low),
        "high": float(high),
        "defined": len(resampled_ranks) / len(ranks[1:]),
    }


def resampled(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """Indices of all examples, then of each bootstrap resample; the answers to one question stay together."""
    groups: dict[object, list[int]] = {}
    for at, example in enumerate(examples):
        groups.setdefault(example.group or at, []).append(at)
    units, rng = list(groups.values()), np.random.default_rng(seed)
    draws = [rng.integers(len(units), size=len(units)) for _ in range(RESAMPLES)]
    return [list(range(len(examples))), *([at for unit in draw for at in units[unit]] for draw in draws)]


def _scores_of_resamples(
    eval_set: EvalSet, part: str, given: Sequence[Sequence[str]], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores by the first metric of K lists of answers, (1 + resamples, K), and of the baseline.

    The baseline is resampled with the scores: it is the best constant answer in each resample.
    """
    rows, metric = eval_set.parts[part], METRICS[eval_set.task.metrics[0]]
    examples = [eval_set.data.examples[row] for row in rows]
    answered = [[texts[row] for row in rows] for texts in given]
    constant = eval_set.task.constant_baselines(examples, eval_set.targets)
    lists = [
        parse_predictions(eval_set.task, examples, texts, eval_set.targets)
        for texts in (*answered, *constant)
    ]
    draws = resampled(examples, seed)
    scores = np.array([[metric(each.take(draw)) for each in lists] for draw in draws])
    return scores[:, : len(given)], scores[:, len(given) :].max(axis=1)
