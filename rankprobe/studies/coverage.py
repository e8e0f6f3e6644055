"""Coverage: how often does the interval of a functional rank contain the functional rank on all texts?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64

from rankprobe.config import RunConfig
from rankprobe.data.encoding import encode
from rankprobe.evaluation.truncation import (
    CHECKS,
    EXTRA,
    GRID,
    PROFILE,
    RESAMPLES,
    SHARE,
    functional_rank,
)
from rankprobe.prompts.config import VanillaConfig
from rankprobe.rank import bisected_curve, least_sufficient_k, log_spaced_ks, truncated
from rankprobe.studies.distillation import label_log_probabilities
from rankprobe.training.api import train_cohort
from rankprobe.training.session import open_session

DEV_SIZES = (56, 100, 277)
"""Dev rows of CB, COPA and RTE."""


def planted_answers(
    count: int,
    *,
    seed: int = 0,
    task: str = "rte",
    data: str = "bundled-500",
    model: str = "tiny",
    prompt_length: int = 20,
    steps: int = 300,
    n_seeds: int = 3,
    n_texts: int = 250,
    runs_dir: str | Path = "runs",
) -> Iterator[tuple[Bool[np.ndarray, "ks texts"], Bool[np.ndarray, "answers texts"]]]:
    """Whether truncated planted prompts answer the texts of a task correctly, for each k from 0 to n.

    A prompt is planted in three steps. First, the best approximation of rank r of the P of a trained vanilla
    prompt, r random from 1 to n. Second, plus a random matrix of rank 0 to 4, whose norm is 3 to 100 % of
    that of the first: directions that are large and useless. Third, plus Gaussian noise of 1 to 100 % of that
    norm, which makes the rank n. The rank r is not the truth: a prompt may need fewer directions than r, or
    more after the additions. The truth is what the curve over all k on all texts says.

    An answer is the most likely piece at the first label position, over the whole vocabulary.

    Args:
        count: planted prompts.
        seed: of the planting.
        task: of the trained prompts; this and the next three are settings of runs.
        data: its validation rows are the texts.
        model: the frozen backbone.
        prompt_length: n.
        steps: optimizer updates.
        n_seeds: trained prompts.
        n_texts: the shortest texts of the validation split that are answered; all of them are the truth.
        runs_dir: the folder of the trained runs; finished ones are reused.

    Yields:
        For each prompt, whether each answer is correct, and the same for each constant answer.
    """
    method = VanillaConfig(prompt_length=prompt_length)
    settings: dict[str, Any] = {
        "task": task,
        "data": data,
        "model": model,
        "dtype": "float32",
        "twin": "none",
    }
    settings |= {"learning_rate": 0.3, "steps": steps, "batch_size": 16, "eval_every": steps}
    configs = [RunConfig(seed=seed, method=method, **settings) for seed in range(n_seeds)]
    runs = train_cohort(configs, runs_dir=runs_dir, if_exists="resume")
    session = open_session(configs[:1])
    split = session.splits["validation"]
    shortest = np.argsort(session.eval_set.data.lengths, kind="stable")[:n_texts]
    split = replace(split, examples=[split.examples[i] for i in shortest])
    texts = encode(split, session.backbone, configs[0].targets, configs[0].max_source_length, training=False)
    target = torch.tensor([ids[0] for ids in texts.targets])
    constant = np.stack([(target == piece).numpy() for piece in target.unique()])
    rng = np.random.default_rng(seed)
    for _ in range(count):
        P = planted_prompt(runs[rng.integers(len(runs))].prompt(), rng)
        cut = torch.from_numpy(truncated(P, range(prompt_length + 1), "top").astype(np.float32))
        answers = label_log_probabilities(session.backbone, list(cut), texts).argmax(-1)
        yield (answers == target).numpy(), constant


def planted_prompt(trained: Float[np.ndarray, "n d"], rng: np.random.Generator) -> Float64[np.ndarray, "n d"]:
    """A trained prompt of random rank, plus a random matrix of low rank and noise; see `planted_answers`."""
    n, d = trained.shape
    (P,) = truncated(trained, [int(rng.integers(1, n + 1))], "top")
    rank = int(rng.integers(5))
    added = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d)), rng.standard_normal((n, d))
    sizes = np.linalg.norm(P) * 10.0 ** np.array([rng.uniform(-1.5, 0), rng.uniform(-2, 0)])
    for matrix, size in zip(added, sizes, strict=True):
        P = P + size * matrix / max(float(np.linalg.norm(matrix)), 1e-9)
    return P


def interval_coverage(
    planted: Sequence[tuple[Bool[np.ndarray, "ks texts"], Bool[np.ndarray, "answers texts"]]],
    *,
    dev_sizes: Sequence[int] = DEV_SIZES,
    repeats: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure functional ranks on random dev sets, and compare their intervals with the truth.

    The truth is the functional rank on all texts and all k. A dev set is drawn from the texts with
    replacement, so all texts are its population. On a dev set, `bisected_curve` chooses the k, and the
    interval is that of `rankprobe truncate`. Left out are prompts without gain over the baseline on all texts
    and dev sets without gain: their functional rank is undefined.

    Args:
        planted: of each prompt, as `planted_answers` yields it.
        dev_sizes: rows of the dev sets.
        repeats: dev sets of each size for each prompt.
        seed: of the dev sets and of the bootstrap.

    Returns:
        A row per dev set: `dev`, `prompt`, `truth`, `n_ks` (measured), `functional_rank`, `low`, `high`, and
        `covered`, whether the interval contains the truth.
    """
    rng, rows = np.random.default_rng(seed), []
    for number, (correct, constant) in enumerate(planted):
        everything = correct.mean(1)
        floor = constant.mean(1).max()
        truth = float(
            least_sufficient_k(range(len(correct)), everything, full=everything[-1], floor=floor, share=SHARE)
        )
        if np.isnan(truth):
            continue
        for size in [size for size in dev_sizes for _ in range(repeats)]:
            drawn = rng.integers(correct.shape[1], size=size)
            found = _measured(correct[:, drawn], constant[:, drawn], rng)
            if not np.isnan(found["functional_rank"]):
                covered = found["low"] <= truth <= found["high"]
                rows.append({"dev": size, "prompt": number, "truth": truth} | found | {"covered": covered})
    return pd.DataFrame(rows)


def _measured(
    correct: Bool[np.ndarray, "ks dev"], constant: Bool[np.ndarray, "answers dev"], rng: np.random.Generator
) -> dict[str, Any]:
    """The functional rank on one dev set, its interval, and the number of measured k."""
    curve = bisected_curve(
        lambda ks: correct[ks].mean(1).tolist(),
        log_spaced_ks(len(correct) - 1, GRID),
        floor=constant.mean(1).max(),
        shares=PROFILE,
        checks=CHECKS,
        extra=EXTRA,
    )
    n = correct.shape[1]
    draws = np.vstack([np.arange(n), rng.integers(n, size=(RESAMPLES, n))])
    scores = np.stack([correct[k][draws].mean(1) for k in curve], axis=1)
    floors = np.stack([each[draws].mean(1) for each in constant]).max(0)
    found = functional_rank(list(curve), scores, floors)
    return {"n_ks": len(curve)} | {name: found[name] for name in ("functional_rank", "low", "high")}
