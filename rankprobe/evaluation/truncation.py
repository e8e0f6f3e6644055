"""The rank that a prompt uses: its scores with only some of its singular directions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from rankprobe.backbone import PromptInput
from rankprobe.config.folders import config_of
from rankprobe.data.eval_set import EvalSet, build_eval_set, task_of
from rankprobe.data.subsets import rows_by_question
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import Which, answer_limit, backbone_of, check_backbone, load_prompt
from rankprobe.evaluation.scoring import answer, in_passes, score_answers
from rankprobe.evaluation.sensitivity import prompt_gradient
from rankprobe.rank import (
    ORDER_CHOICES,
    bisected_curve,
    log_spaced_ks,
    sensitivities,
    sufficient_bracket,
    truncated,
)
from rankprobe.runs import Run, truncation_file
from rankprobe.runs.checksums import write_checked_json
from rankprobe.tasks import METRICS, Example, load_split, parse_predictions

CURVES = (("P", "top"), ("dP", "top"), ("P", "bottom"), ("P", "random"))
"""Which matrix is truncated, and which of its directions are kept. Truncated ΔP is added to P0 again."""

SHARE = 0.95
"""Share of the gain over the baseline that the functional rank keeps."""

PROFILE = (SHARE, 0.99, 0.9, 0.8, 0.5)
"""Shares of the gain in the profile, in the order in which their brackets are halved."""

GRID, CHECKS, EXTRA = 9, 3, 8
"""Values of k in the coarse grid of each curve, and `checks` and `extra` of `rank.bisected_curve`."""

RESAMPLES = 400


@dataclass(frozen=True)
class Truncation:
    """The scores of a run's prompt at each k.

    Attributes:
        curves: a row per matrix, kind of directions, k and metric: `value`, `baseline`, `n_invalid`, ….
        functional_rank: a row per matrix, for the first k directions in the order: what `functional_rank`
            returns.
        profile: a row per matrix and share of the gain (50, 80, 90, 95 and 99 %): `share`, and as `k`,
            `below`, `low` and `high` what `functional_rank` is for 95 %.
    """

    curves: pd.DataFrame
    functional_rank: pd.DataFrame
    profile: pd.DataFrame


def truncate(
    run: Run,
    *,
    ks: Sequence[int] | None = None,
    which: Which = "final",
    split: str = "validation",
    device: str | None = None,
    seed: int = 0,
    order: str = "singular",
    scoring: str | None = None,
) -> Truncation:
    """Score a run's prompt with k of its singular directions, for several k.

    k = min(n, d) is the whole prompt, with the score of the run. Several truncated prompts share a pass, as
    the members of a cohort do. If the method trains more than P (DePT), the rest stays as trained. A run with
    `report_split = half` is scored on the reported half of dev.

    By default four curves have the same nine k, denser where small. Bisection adds k to the curves of P and
    of P0 plus ΔP, until their functional ranks are exact between two neighbours; see `rank.bisected_curve`.
    For n = 100 these are at most 54 truncated prompts: 36, and up to nine for each of the two curves. Only a
    check that finds a fall below the level adds more.

    Args:
        run: a finished run with a prompt.
        ks: numbers of directions to keep, without bisection; default: as above.
        which: `final`, or `best` (by dev score).
        split: `validation` or `train`.
        device: default: the device of the training.
        seed: of the random directions and of the resampling.
        order: which directions are kept first: those with the largest singular values, or those whose removal
            changes the loss on the training rows most, to first order (`rank.sensitivities`). At a minimum
            of the loss the gradient is zero and this order is arbitrary.
        scoring: `greedy` counts decoded answers, so a prompt also needs directions for the form of an answer;
            `rank` takes the likeliest label. Default: that of the run, and `greedy` if it has both.

    Raises:
        RankprobeError: the run has no prompt or has not finished, a k is outside 0 … min(n, d), the order or
            the scoring is unknown, or the backbone's weights are not those of the training.
    """
    config = config_of(run)
    if scoring not in (None, "greedy", "rank"):
        raise RankprobeError(f"scoring is '{scoring}'; expected greedy or rank")
    if scoring is not None:
        config = config.model_copy(update={"scoring": scoring})
    trained = run.prompt(which)
    P, P0 = (np.asarray(each, dtype=np.float64) for each in (trained, run.prompt("P0")))
    if not P.size:
        raise RankprobeError(f"run '{run.id}' has no prompt to cut ({config.method.name})")
    if order not in ORDER_CHOICES:
        raise RankprobeError(f"order is '{order}'; expected {' or '.join(ORDER_CHOICES)}")
    most = min(P.shape)
    grid = sorted({*(log_spaced_ks(most, GRID) if ks is None else ks), most})
    if outside := [k for k in grid if not 0 <= k <= most]:
        raise RankprobeError(
            f"k is {outside[0]}; this prompt ({P.shape[0]} x {P.shape[1]}) allows 0 to {most}"
        )
    backbone = backbone_of(config, device)
    check_backbone(run, backbone)
    rows = load_split(task_of(config), split, config.data)
    eval_set = build_eval_set(config, rows, backbone, answer_limit(run, backbone))
    prompt_input = load_prompt(run, backbone, which)
    gradient = prompt_gradient(config, backbone, prompt_input) if order == "sensitivity" else None
    part, scored_by = list(eval_set.parts)[-1], eval_set.scoring[0]

    def answers(prompts: NDArray[np.float64]) -> list[list[str]]:
        inputs = [PromptInput(torch.from_numpy(P), prompt_input.shift) for P in prompts.astype(trained.dtype)]
        return [
            texts
            for group in in_passes(inputs)
            for texts in answer(eval_set, backbone, group, config.batch_size, scored_by)
        ]

    def scores(texts: Sequence[str]) -> list[dict[str, Any]]:
        return score_answers(eval_set, texts, part, scored_by)

    floor = eval_set.baseline[part][eval_set.task.metrics[0]]
    named = {"run_id": run.id, "prompt": which, "model": backbone.label, "data": rows.label, "order": order}
    curves, ranks, profile = [], [], []
    for matrix, keep in CURVES:
        whole, start = (P, np.zeros_like(P)) if matrix == "P" else (P - P0, P0)
        importance = None if gradient is None else sensitivities(whole, gradient)
        cut = _Cut(whole, start, keep, seed, importance)
        given: dict[int, list[str]] = {}

        def values(wanted: list[int], cut: _Cut = cut, given: dict[int, list[str]] = given) -> list[float]:
            given.update(zip(wanted, answers(cut(wanted)), strict=True))
            return [scores(given[k])[0]["value"] for k in wanted]

        if keep == "top" and ks is None:
            bisected_curve(values, grid, floor=floor, shares=PROFILE, checks=CHECKS, extra=EXTRA)
        else:
            values(grid)
        given = dict(sorted(given.items()))
        about = named | {"matrix": matrix, "kept": keep}
        curves += [about | {"k": k} | row for k, texts in given.items() for row in scores(texts)]
        if keep == "top":
            samples, floors = _scores_of_resamples(eval_set, part, list(given.values()), seed)
            for share in sorted(PROFILE):
                found = functional_rank(list(given), samples, floors, share)
                k = {"k": found["functional_rank"]} | {name: found[name] for name in ("below", "low", "high")}
                profile.append(about | {"share": share} | k)
                if share == SHARE:
                    ranks.append(about | found)
    return Truncation(pd.DataFrame(curves), pd.DataFrame(ranks), pd.DataFrame(profile))


@dataclass(frozen=True)
class _Cut:
    """Makes truncated prompts from k: `start` plus k directions of `whole`."""

    whole: NDArray[np.float64]
    start: NDArray[np.float64]
    keep: str
    seed: int
    importance: NDArray[np.float64] | None

    def __call__(self, ks: Sequence[int]) -> NDArray[np.float64]:
        return self.start + truncated(self.whole, ks, self.keep, self.seed, self.importance)


def save_truncation(run: Run, truncation: Truncation) -> bool:
    """Write a truncation into the run folder; an earlier one of the same prompt and scoring is replaced.

    Returns:
        False if nothing was written: the earlier functional ranks are exact, and these are not.
    """
    first, usual = truncation.curves.iloc[0], config_of(run).scoring
    is_usual = first["scoring"] == ("greedy" if usual == "both" else usual)
    scoring = None if is_usual else first["scoring"]
    tables = {name: getattr(truncation, name) for name in ("curves", "functional_rank", "profile")}
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    earlier = _widths(_earlier(run, scoring, first["prompt"]))
    if max(_widths(rows), default=1) > 1 and max(earlier, default=np.inf) == 1:
        return False
    write_checked_json(run.path / truncation_file(scoring, first["prompt"]), rows)
    return True


def _earlier(run: Run, scoring: str | None, which: str) -> dict[str, Any]:
    """The stored results of a prompt; empty without a file that can be read."""
    try:
        return run.truncations(scoring).get(which, {})
    except RankprobeError:
        return {}


def _widths(results: dict[str, Any]) -> list[float]:
    """How far each functional rank is above the next smaller k that was measured; 1 if it is exact."""
    ranks = [row for row in results.get("functional_rank", []) if row["functional_rank"] is not None]
    return [row["functional_rank"] - (-np.inf if row.get("below") is None else row["below"]) for row in ranks]


def functional_rank(
    ks: Sequence[int],
    scores: Float[np.ndarray, "samples ks"],
    floor: float | Float[np.ndarray, " samples"],
    share: float = SHARE,
) -> dict[str, Any]:
    """The least measured k from which on a share of the gain over `floor` is kept, with its interval.

    Scores are not monotone in k: a curve may reach the level, fall below it, and reach it again. This is the
    last crossing that was measured, not the first: the rank must be enough whatever else is kept. At the
    first crossing a prompt may be good by chance, as the score of each k is the mean over few examples. A
    fall below the level between two larger k that were not measured is not seen.

    The interval is of 95 %, by bootstrap over examples: the whole measurement is repeated on each resample.
    A resample knows its rank only up to the next smaller measured k, as `below`; the lower limit is that of
    the smallest rank it may have. `studies.coverage` measures how often the interval contains the rank on all
    texts and all k: in 95 % of cases or more with 100 examples or more. With 56 examples it does so in 87 %,
    and is too low otherwise: the last 5 % of the gain are then one or two examples, which a small set may not
    contain.

    Args:
        ks: ascending; the last is the whole prompt.
        scores: row 0 on all examples, the other rows on resamples.
        floor: the score of the baseline, or without training, on the same examples.
        share: of the gain.

    Returns:
        `functional_rank`, and `below`, the next smaller measured k, which does not reach the level (-1 if
        there is none): the result is exact if they are neighbours. The interval `low` to `high`. `defined`,
        the share of resamples in which the prompt gains over the baseline; without a gain the functional rank
        is undefined. `resampled`, the rank in each resample, NaN where it is undefined.
    """
    below, ranks = sufficient_bracket(ks, scores, full=scores[:, -1], floor=floor, share=share)
    defined = ~np.isnan(ranks[1:])
    low, high = np.nan, np.nan
    if defined.any():
        low = np.quantile(below[1:][defined] + 1, 0.025, method="nearest")
        high = np.quantile(ranks[1:][defined], 0.975, method="nearest")
    return {
        "functional_rank": float(ranks[0]),
        "below": float(below[0]),
        "low": float(low),
        "high": float(high),
        "defined": float(defined.mean()),
        "resampled": ranks[1:].tolist(),
    }


def resampled(examples: Sequence[Example], seed: int) -> list[list[int]]:
    """Indices of all examples, then of each bootstrap resample; the answers to one question stay together."""
    units, rng = rows_by_question(examples), np.random.default_rng(seed)
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
