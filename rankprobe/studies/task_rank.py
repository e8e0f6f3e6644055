"""The rank that a task needs: the least k at which some prompt of rank k does what a vanilla prompt does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from rankprobe.backbone import Backbone, PromptInput
from rankprobe.config import RunConfig, override
from rankprobe.config.folders import config_of, run_folder
from rankprobe.config.pins import pinned
from rankprobe.data import EvalSet, build_eval_set, task_of
from rankprobe.data.subsets import rows_by_question
from rankprobe.errors import RankprobeError, RunFailed
from rankprobe.evaluation.load import answer_limit, backbone_of, check_backbone
from rankprobe.evaluation.scoring import answer, in_passes
from rankprobe.evaluation.truncation import save_truncation, truncate
from rankprobe.prompts import StartConfig
from rankprobe.rank import CONFIDENCE, KEPT_SHARE, truncated
from rankprobe.runs import MANIFEST, Run
from rankprobe.runs.step_record import Hook
from rankprobe.runs.task_rank import DecisionRow, FunctionalRow, TaskRankFile, save_task_rank
from rankprobe.studies.needed_search import Reference, Try, checked_gain, search
from rankprobe.tasks import METRICS, Split, load_split, parse_predictions
from rankprobe.tasks.metrics import TEXT_METRICS
from rankprobe.training.api import train_cohort
from rankprobe.training.session import open_session

RATES = (0.03, 0.1, 0.3)
RESTARTS = 5
SEEDS = 3

PER_PASS = 8
"""Runs of one pass; a kill loses the steps of one pass at most."""

START_SEEDS = 1000
"""Start j of seed s is trained with seed s + 1000 · j."""

CHECKPOINT_EVERY = 100

LOGGING = {"twin": "none", "rank_every": 1000, "spectrum_every": 1000}
"""Ranks and twins of these runs are not read."""


def taskrank(
    run: Run | None = None,
    *,
    seeds: Sequence[int] | None = None,
    restarts: int = RESTARTS,
    rates: Sequence[float] = RATES,
    share: float = KEPT_SHARE,
    runs_dir: str | Path = "runs",
    hooks: Sequence[Hook] = (),
    report: Callable[[DecisionRow], None] = lambda row: None,
    **settings: Any,
) -> TaskRankFile:
    """The needed rank of a task: the least rank k of a prompt that keeps a share of vanilla's gain.

    *The reference* is vanilla prompt tuning with the settings of the run or those given, one run per seed.

    *Tries* of rank k, for each seed: the vanilla prompt cut to its k largest singular directions; the same
    *healed*, that is trained on as DPT (`init = saved`, `factor_init = svd`, `bottleneck = k`), at each of
    the rates; and DPT(k) *from scratch*, from `restarts` random starts at each of the rates. A run of another
    method is cut and healed too, for its seed. All tries have the number of steps of the reference.

    *Choice and report* are separate: dev is halved as by `report_split = half`; of all tries of rank k or
    less, the one that scores best on the selection half is scored on the other half. Prompts are those of
    the last step. Scores of rows are 0 or 1 for labels (so the mean is the accuracy, whatever the metric of
    the task), and the first metric of the row for free answers. Rows of one question are averaged first.

    *The bound*: with c, v, b the scores of the chosen try, of the mean over the vanilla prompts and of the
    best constant answer on one question, the mean of c − b − share · (v − b) has a one-sided 95 % lower
    bound over questions (`rank.lower_bound`). k is certified if the bound is at least 0. The search over k is
    by bisection (`rank.least_certified_k`), 1 ≤ k ≤ min(n, d). So the result means "at most k": a prompt of
    rank k keeps this share of the mean gain of these vanilla prompts. A smaller rank may still be enough: it
    was not found in this number of tries. Refuses before any try is trained if the rows are so few that
    nothing could be certified.

    The contrast is that of non-inferiority trials with retention of effect.

    Runs are ordinary run folders, trained in cohorts. A second call with the same arguments trains only what
    is missing. The outcome is written to `taskrank.json` in the folder of the run, or of the first vanilla
    run. Vanilla runs without truncation curves are truncated, for the functional rank.

    Args:
        run: a finished run with a prompt; None: use `settings`.
        seeds: of the vanilla runs; default: that of the run or the settings, and the two after it.
        restarts: random starts of DPT(k) per seed and rate.
        rates: peak learning rates of healed and scratch runs.
        share: of vanilla's gain over the baseline, above 0 and below 1.
        runs_dir: the folder of the runs.
        hooks: called after each step of a run that is trained.
        report: called after each tested k.
        settings: of the runs by flat name, as for `train`; only without `run`.

    Raises:
        RankprobeError: the gain of vanilla over the baseline is not certain (its lower bound is not above
            0), the rows are too few, the run has no prompt or has not finished, or bad input.
        RunFailed: all runs of a pass failed.
    """
    config = _vanilla_config(run, settings)
    own_seeds = tuple(seeds) if seeds else tuple(config.seed + i for i in range(SEEDS))
    _check(own_seeds, restarts, rates, share)
    total = open_session([config]).total_steps
    often = {} if config.patience else {"eval_every": total}
    config = config.model_copy(update={"checkpoint_every": CHECKPOINT_EVERY, **often})
    study = _Study(config, own_seeds, restarts, tuple(rates), Path(runs_dir), tuple(hooks), run)
    vanilla = study.vanilla_runs()
    prompts = [each.prompt("final") for each in vanilla]
    with_scores = study.score(prompts)
    reference = Reference(own_seeds, with_scores.report, with_scores.baseline, share)
    gain = checked_gain(reference)
    max_k = min(prompts[0].shape)
    found = search(lambda k: study.tries(k, vanilla), reference, max_k, report)
    outcome = TaskRankFile.parse(
        {
            "model": with_scores.model,
            "data": with_scores.data,
            "metric": with_scores.metric,
            "seeds": own_seeds,
            "n_rows": with_scores.n_rows,
            "n_questions": reference.vanilla.shape[1],
            "max_k": max_k,
            "share": share,
            "confidence": CONFIDENCE,
            "baseline": 100 * float(reference.baseline.mean()),
            "vanilla": 100 * float(reference.vanilla.mean()),
            "gain": 100 * gain.mean,
            "gain_lower": 100 * gain.lower,
            "needed_rank": found.needed_rank,
            "functional": [_functional(each).model_dump() for each in vanilla],
            "decisions": [row.model_dump() for row in found.decisions],
            "tries": [row.model_dump() for row in found.tries],
        }
    )
    save_task_rank(run or vanilla[0], outcome)
    return outcome


def _vanilla_config(run: Run | None, settings: dict[str, Any]) -> RunConfig:
    """The config of the vanilla runs."""
    if run is None:
        if settings.get("method", "vanilla") != "vanilla":
            raise RankprobeError(
                f"method is '{settings['method']}', but taskrank trains vanilla and dpt; leave it out"
            )
        return pinned(RunConfig.parse({**LOGGING, **settings, "method": "vanilla", "report_split": "half"}))
    if settings:
        raise RankprobeError(
            f"'{next(iter(settings))}' is given, and run '{run.id}' has its own settings; leave one out"
        )
    if run.status != "finished":
        raise RankprobeError(f"run '{run.id}' has not finished ({run.status}); continue it: rankprobe resume")
    config = config_of(run)
    if not run.prompt("final").size or not config.method.prompt_is_all:
        raise RankprobeError(
            f"run '{run.id}' ({config.method.name}) trained more than a prompt; give another run"
        )
    return RunConfig.parse(override(config.flat(), {**LOGGING, "method": "vanilla", "report_split": "half"}))


def _check(seeds: Sequence[int], restarts: int, rates: Sequence[float], share: float) -> None:
    if not 0 < share < 1:
        raise RankprobeError(f"share is {share}; expected a number above 0 and below 1, such as 0.95")
    if restarts < 1:
        raise RankprobeError(f"restarts is {restarts}; expected 1 or more")
    if not rates or min(rates) <= 0 or not np.isfinite(rates).all():
        raise RankprobeError(f"rates is {list(rates)}; expected one or more positive learning rates")
    if len(set(rates)) < len(rates):
        raise RankprobeError(f"rates is {list(rates)}; give each rate once")
    if min(seeds) < 0:
        raise RankprobeError(f"seed is {min(seeds)}; expected greater than or equal to 0")
    starts = [seed + START_SEEDS * start for seed in seeds for start in range(restarts)]
    if len(set(starts)) < len(starts):
        raise RankprobeError(
            f"seeds are {list(seeds)}: start j of a seed is trained with seed + {START_SEEDS} · j, and two "
            "are the same; give seeds nearer to each other"
        )


@dataclass(frozen=True)
class _Scores:
    """Scores of prompts on both halves of dev, means over questions, and what they were scored on."""

    selection: Float[np.ndarray, " prompts"]
    report: Float[np.ndarray, "prompts questions"]
    baseline: Float[np.ndarray, " questions"]
    n_rows: int
    model: str
    data: str
    metric: str


@dataclass(frozen=True)
class _Study:
    """Trains and scores the runs of one needed rank."""

    config: RunConfig
    seeds: tuple[int, ...]
    restarts: int
    rates: tuple[float, ...]
    runs_dir: Path
    hooks: tuple[Hook, ...]
    run: Run | None

    def vanilla_runs(self) -> list[Run]:
        """The vanilla run of each seed; for its own seed the given run, unless the report half stopped it."""
        given = self.run if self.run is not None and _is_reference(config_of(self.run)) else None
        seed = config_of(given).seed if given else None
        trained = self._train([self.config.model_copy(update={"seed": s}) for s in self.seeds if s != seed])
        runs = dict(zip([s for s in self.seeds if s != seed], trained, strict=True))
        for s, each in runs.items():
            if not _is_finished(each):
                raise RunFailed(f"the vanilla run of seed {s} failed; see: {each.path / 'manifest.json'}")
        return [given if given and s == seed else runs[s] for s in self.seeds]

    def tries(self, k: int, vanilla: Sequence[Run]) -> list[Try]:
        """All prompts of rank k: cut, healed, and from scratch."""
        places: list[tuple[int, Run]] = list(zip(self.seeds, vanilla, strict=True))
        if self.run is not None and self.run.path not in [each.path for each in vanilla]:
            own = config_of(self.run).seed
            places += [(own, self.run)] if own in self.seeds else []
        recipes: list[dict[str, Any]] = []
        configs = []
        for seed, source in places:
            for rate in self.rates:
                recipes.append({"kind": "healed", "seed": seed, "learning_rate": rate})
                configs.append(self._dpt(k, rate, seed, source))
        for seed in self.seeds:
            for start in range(self.restarts):
                for rate in self.rates:
                    about = {"kind": "scratch", "seed": seed, "learning_rate": rate, "start": start}
                    recipes.append(about)
                    configs.append(self._dpt(k, rate, seed + START_SEEDS * start, None))
        runs = self._train(configs)
        finished = [_is_finished(each) for each in runs]
        cut = [truncated(source.prompt("final"), [k], "top")[0].astype(np.float32) for _, source in places]
        trained = [each.prompt("final") for each, done in zip(runs, finished, strict=True) if done]
        scores = self.score([*cut, *trained])
        rows = iter(zip(scores.selection.tolist(), scores.report, strict=True))
        found = []
        for seed, _ in places:
            selection, report = next(rows)
            found.append(Try(k, "cut", seed, selection, report))
        for about, each, done in zip(recipes, runs, finished, strict=True):
            selection, report = next(rows) if done else (float("nan"), scores.baseline)
            found.append(Try(k, selection=selection, report=report, run_id=each.id, **about))
        return found

    def score(self, prompts: Sequence[Float[np.ndarray, "n d"]]) -> _Scores:
        """Score prompts on both halves of dev, question by question."""
        config = self.config
        backbone, split = backbone_of(config), load_split(task_of(config), "validation", config.data)
        eval_set = self._eval_set(backbone, split)
        texts = answers(eval_set, backbone, prompts, config.batch_size)
        choose, told = (eval_set.parts[name] for name in ("selection", "report"))
        by_half = [
            np.stack([_scores_of_questions(eval_set, rows, [given[row] for row in rows]) for given in texts])
            for rows in (choose, told)
        ]
        constant = eval_set.task.constant_baselines(
            [eval_set.data.examples[row] for row in told], eval_set.targets
        )
        baselines = [_scores_of_questions(eval_set, told, each) for each in constant]
        return _Scores(
            selection=by_half[0].mean(axis=1),
            report=by_half[1],
            baseline=max(baselines, key=lambda each: each.mean()),
            n_rows=len(told),
            model=backbone.label,
            data=split.label,
            metric="accuracy" if _has_labels(eval_set) else eval_set.task.metrics[0],
        )

    def _eval_set(self, backbone: Backbone, split: Split) -> EvalSet:
        first = self.config.model_copy(update={"seed": self.seeds[0]})
        reference = self.run or Run(run_folder(first, self.runs_dir))
        check_backbone(reference, backbone)
        return build_eval_set(self.config, split, backbone, answer_limit(reference, backbone))

    def _dpt(self, k: int, rate: float, seed: int, source: Run | None) -> RunConfig:
        """DPT(k) from the SVD of a run's prompt, or from random factors."""
        start = {"init": "saved", "init_from": str(source.path), "factor_init": "svd"} if source else {}
        settings = {k: v for k, v in self.config.flat().items() if k not in StartConfig.model_fields}
        n = self.config.method.prompt_length
        own = {"method": "dpt", "prompt_length": n, "bottleneck": k, "learning_rate": rate, "seed": seed}
        return RunConfig.parse({**settings, **own, **start})

    def _train(self, configs: Sequence[RunConfig]) -> list[Run]:
        """The runs of some configs, trained where missing; one that fails does not stop the others."""
        runs: list[Run] = []
        for first in range(0, len(configs), PER_PASS):
            part = configs[first : first + PER_PASS]
            try:
                runs += train_cohort(part, runs_dir=self.runs_dir, if_exists="resume", hooks=self.hooks)
            except RunFailed:
                tried = [Run(run_folder(config, self.runs_dir)) for config in part]
                if not any(_is_finished(each) for each in tried):
                    raise
                runs += tried
        return runs


def _is_finished(run: Run) -> bool:
    """Also False for a run that failed before it had a folder."""
    return (run.path / MANIFEST).exists() and run.status == "finished"


def _is_reference(config: RunConfig) -> bool:
    """Whether a run is a vanilla run whose last prompt does not depend on the report half of dev."""
    return config.method.name == "vanilla" and (config.report_split == "half" or config.patience is None)


def answers(
    eval_set: EvalSet, backbone: Backbone, prompts: Sequence[Float[np.ndarray, "n d"]], batch_size: int
) -> list[list[str]]:
    """The answers of each prompt to all examples, with the first way of scoring."""
    inputs = [PromptInput(torch.from_numpy(P)) for P in prompts]
    return [
        texts
        for part in in_passes(inputs)
        for texts in answer(eval_set, backbone, part, batch_size, eval_set.scoring[0])
    ]


def _has_labels(eval_set: EvalSet) -> bool:
    return eval_set.task.metrics[0] not in TEXT_METRICS


def _scores_of_questions(
    eval_set: EvalSet, rows: Sequence[int], texts: Sequence[str]
) -> Float[np.ndarray, " questions"]:
    """The score of each question, 0 to 1: of its rows right or wrong for labels, else the first metric."""
    examples = [eval_set.data.examples[row] for row in rows]
    given = parse_predictions(eval_set.task, examples, texts, eval_set.targets)
    if _has_labels(eval_set):
        scores = np.equal(given.predicted, given.gold).astype(np.float64)
    else:
        metric = METRICS[eval_set.task.metrics[0]]
        scores = np.array([metric(given.take([at])) / 100 for at in range(len(rows))])
    return np.array([scores[own].mean() for own in rows_by_question(examples)])


def _functional(run: Run) -> FunctionalRow:
    """The functional rank of a run's final P; truncates the run if that has not been done."""
    if "final" not in run.truncations():
        save_truncation(run, truncate(run))
    rows = run.truncations()["final"]["functional_rank"]
    row = next(each for each in rows if each["matrix"] == "P")
    values = {name: row[name] for name in ("functional_rank", "low", "high")}
    return FunctionalRow(seed=config_of(run).seed, run_id=run.id, **values)
