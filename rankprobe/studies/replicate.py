"""The reproducible rank of a run: in how many directions independent trainings of it agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from rankprobe import rank
from rankprobe.config import RunConfig
from rankprobe.config.folders import config_of
from rankprobe.errors import RankprobeError
from rankprobe.runs import Run
from rankprobe.runs.replication import ReplicationFile, save_replication
from rankprobe.runs.step_record import Hook
from rankprobe.training.api import train_cohort

REPLICATES = "replicates"
"""The folder inside a run folder that holds the run folders of its replicates."""

SAME, DIFFERENT, SHUFFLED = KINDS = ("same start", "different starts", "shuffled labels")
READINGS = ("cv_rank", "replicate_edge")

MIN_PAIRS = 2
"""With one pair there is no interval."""

CAUTION = (
    "A reproducible direction can still be drift: training may move all prompts from one start alike, "
    "whatever the labels say. Only what pairs with true labels share beyond pairs with shuffled labels "
    "depends on the labels."
)


@dataclass(frozen=True)
class Replication:
    """The reproducible rank of ΔP of a run.

    Attributes:
        pairs: a row per kind (`KINDS`) and pair: the run ids `a` and `b`, `agreement` (the cosine of the two
            ΔP, −1 to 1), and `cv_rank` and `replicate_edge`.
        summary: a row per kind and reading: `pairs`, `mean`, and `low` to `high`, Student's interval of 95 %
            over pairs, within 0 to min(n, d).
        verdict: the `cv_rank` of the same start against that of shuffled labels, in the words of
            `rank.verdict`.
        runs: all replicates.
    """

    pairs: pd.DataFrame
    summary: pd.DataFrame
    verdict: str
    runs: list[Run]


def replicate(run: Run, *, pairs: int = 3, disjoint: bool = False, hooks: Sequence[Hook] = ()) -> Replication:
    """Train replicates of a finished run, and count the directions of ΔP in which they agree.

    - `same start`: the runs of a pair have the same P0, and different batches.
    - `different starts`: one run from each of two neighbouring pairs with the same start.
    - `shuffled labels`: as `same start`, with the same starts and batches, but each run has its own shuffle
      of the labels. So the labels give these runs nothing in common.

    Replicates have the settings of the run, without twins. They are ordinary run folders in the folder
    `replicates` of the run, trained in two cohorts. Finished replicates are kept, and stopped ones continue.
    The outcome is also written to `replication.json` in the run folder.

    Args:
        run: a finished run with a prompt.
        pairs: number of pairs of each kind, at least 2; 4 · `pairs` runs are trained.
        disjoint: the two runs of a pair train on disjoint halves of the training rows, for twice the epochs.
        hooks: as in `train`.

    Raises:
        RankprobeError: the run has not finished or has no prompt, fewer than two pairs, or backbone or data
            are not those of the run. Also as `train`.
    """
    check_run(run, pairs)
    folder = run.path / REPLICATES
    found: list[list[Run]] = []
    for control in (None, "shuffle-labels"):
        configs = replicate_configs(config_of(run), pairs, disjoint, control)
        found.append(train_cohort(configs, runs_dir=folder, if_exists="resume", hooks=hooks))
    true, shuffled = found
    for each in (*true, *shuffled):
        _check_same_subject(run, each)
    first, second = true[::2], true[1::2]
    members = {
        SAME: list(zip(first, second, strict=True)),
        DIFFERENT: list(zip(first, [*second[1:], second[0]], strict=True)),
        SHUFFLED: list(zip(shuffled[::2], shuffled[1::2], strict=True)),
    }
    table = pd.DataFrame(
        [
            {"kind": kind, "pair": i, "a": a.id, "b": b.id} | pair_readings(a, b)
            for kind, of_kind in members.items()
            for i, (a, b) in enumerate(of_kind)
        ]
    )
    own, null = (table.loc[table["kind"] == kind, "cv_rank"].tolist() for kind in (SAME, SHUFFLED))
    words = rank.verdict(own, {SHUFFLED: null}).words.replace("seeds", "pairs")
    outcome = Replication(table, summary_of(table, min(run.prompt().shape)), words, [*true, *shuffled])
    save_replication(run, _plain(outcome, disjoint))
    return outcome


def check_run(run: Run, pairs: int) -> None:
    """Check that a run can be replicated.

    Raises:
        RankprobeError: it cannot.
    """
    if pairs < MIN_PAIRS:
        raise RankprobeError(f"pairs is {pairs}; expected at least {MIN_PAIRS}, as one has no interval")
    if run.status != "finished":
        raise RankprobeError(f"run '{run.id}' is {run.status}; finish it first: rankprobe resume {run.id}")
    config = config_of(run)
    if not run.prompt().size:
        raise RankprobeError(f"run '{run.id}' has no prompt to replicate ({config.method.name})")
    if config.train_half != "all":
        raise RankprobeError(f"run '{run.id}' trained on one half of the rows; replicate a run on all rows")
    if config.control != "none":
        raise RankprobeError(
            f"run '{run.id}' is a control ({config.control}); replicate a run with true labels"
        )


def replicate_configs(config: RunConfig, pairs: int, disjoint: bool, control: str | None) -> list[RunConfig]:
    """The configs of the pairs with the same start: 2 · `pairs`, pair after pair.

    All seeds differ. The start of the first pair is that of the run itself.
    """
    settings: dict[str, Any] = config.flat() | {"twin": "none"}
    if control:
        settings["control"] = control
    if disjoint and config.steps is None:  # half of the rows, so that the number of updates stays
        settings["epochs"] = 2 * config.epochs
        settings["stop_after"] = config.stop_after and 2 * config.stop_after
    members = []
    for pair in range(pairs):
        for half, seed in zip(("first", "second"), (2 * pair, 2 * pair + 1), strict=True):
            own = {"seed": config.seed + seed, "init_seed": config.start_seed + pair}
            own |= {"init_seed": None} if own["seed"] == own["init_seed"] else {}
            own |= {"train_half": half} if disjoint else {}
            members.append(RunConfig.parse(settings | own))
    return members


def pair_readings(a: Run, b: Run) -> dict[str, float]:
    """Agreement and reproducible ranks of ΔP of two runs; 0 if a run did not move."""
    dP = [np.asarray(run.prompt() - run.prompt("P0"), dtype=np.float64) for run in (a, b)]
    size = float(np.linalg.norm(dP[0]) * np.linalg.norm(dP[1]))
    return {
        "agreement": float((dP[0] * dP[1]).sum()) / size if size else 0.0,
        "cv_rank": float(rank.cv_rank(dP)),
        "replicate_edge": float(rank.replicate_edge(dP)),
    }


def summary_of(pairs: pd.DataFrame, most: int) -> pd.DataFrame:
    """Means over pairs with their intervals; see `Replication`."""
    rows: list[Mapping[str, Any]] = []
    for kind, part in pairs.groupby("kind", sort=False):
        for reading in READINGS:
            values = part[reading].to_numpy()
            half = scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
            mean = float(values.mean())
            limits = {"low": max(0.0, mean - half), "high": min(float(most), mean + half)}
            rows.append({"kind": kind, "reading": reading, "pairs": len(values), "mean": mean} | limits)
    return pd.DataFrame(rows)


def _plain(found: Replication, disjoint: bool) -> ReplicationFile:
    """The outcome as it is written to the run folder."""
    agreement = found.pairs.groupby("kind")["agreement"].mean()
    of = {(row["kind"], row["reading"]): row for row in found.summary.to_dict("records")}
    rows = [
        {
            "kind": kind,
            "pairs": of[kind, "cv_rank"]["pairs"],
            "cv_rank": of[kind, "cv_rank"]["mean"],
            "low": of[kind, "cv_rank"]["low"],
            "high": of[kind, "cv_rank"]["high"],
            "replicate_edge": of[kind, "replicate_edge"]["mean"],
            "agreement": float(agreement[kind]),
        }
        for kind in KINDS
    ]
    return ReplicationFile.parse({"disjoint": disjoint, "kinds": rows, "verdict": found.verdict})


def _check_same_subject(run: Run, replica: Run) -> None:
    for what in ("backbone", "data"):
        then, now = (each.manifest[what]["fingerprint"] for each in (run, replica))
        if then != now:
            raise RankprobeError(
                f"the {what} of '{replica.id}' is not that of run '{run.id}'; restore it and remove "
                f"{replica.path.parent}"
            )
