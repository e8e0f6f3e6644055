"""The command that finds the rank a task needs: taskrank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rankprobe.cli.complete import run_ids
from rankprobe.cli.lines import print_line, progress_console
from rankprobe.cli.machine import Result
from rankprobe.cli.options import RunsDir, option
from rankprobe.errors import RankprobeError
from rankprobe.text import plain

if TYPE_CHECKING:
    from rankprobe.runs.task_rank import DecisionRow, TaskRankFile

RunOrNone = Annotated[
    str | None,
    typer.Argument(
        help="Run id, or path of a run folder; unset: give settings, such as --task", autocompletion=run_ids
    ),
]
Seeds = Annotated[
    list[int] | None,
    option(
        "--seed",
        "Seeds of the vanilla prompts; repeatable; unset: that of the run or 42, and the next two",
        metavar="INT",
    ),
]
Restarts = Annotated[
    int,
    option("--restarts", "Random starts of DPT(k), per seed and rate", default=5, metavar="INT", min=1),
]
Share = Annotated[
    float,
    option(
        "--share", "Share of vanilla's gain that a prompt has to keep", default=0.95, metavar="NUM", min=0
    ),
]
Rates = Annotated[
    str,
    option("--rates", "Peak learning rates of healed and restarted prompts", default="0.03,0.1,0.3"),
]


def taskrank(
    settings: dict[str, Any],
    run: RunOrNone = None,
    seed: Seeds = None,
    restarts: Restarts = 5,
    rates: Rates = "0.03,0.1,0.3",
    share: Share = 0.95,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Find the rank that a task needs: the least k at which a prompt of rank k keeps 95 % of vanilla's gain.

    Trains vanilla prompts, these cut to k and trained on, and DPT(k) from random starts, for k by bisection.
    Chooses on one half of dev and tests on the other. Many runs; give the command again to continue.
    Use --runs-dir to keep its runs apart. Draw the scores with: rankprobe plot taskrank
    """
    from rankprobe.cli.progress import RunProgress, continued_by_the_command
    from rankprobe.runs import find_run
    from rankprobe.studies.task_rank import taskrank as find_task_rank

    given = {name: value for name, value in settings.items() if name != "method"}
    if run is None and not given:
        raise RankprobeError("nothing to measure; give a run, or settings such as --task cb")
    console = progress_console()
    with continued_by_the_command(), RunProgress(console, several=True) as progress:
        outcome = find_task_rank(
            None if run is None else find_run(run, runs_dir),
            seeds=seed,
            restarts=restarts,
            rates=parse_rates(rates),
            share=share,
            runs_dir=runs_dir,
            hooks=[progress],
            report=lambda row: print_line(console, decision_line(row)),
            **given,
        )

    def show() -> None:
        for line in outcome_lines(outcome):
            typer.echo(plain(line))

    return Result({"outcome": outcome.model_dump()}, show)


def parse_rates(text: str) -> list[float]:
    """Learning rates separated by commas.

    Raises:
        RankprobeError: one is no number.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RankprobeError(
            f"rates is '{text}'; expected numbers with commas, such as 0.03,0.1,0.3"
        ) from None


def decision_line(row: DecisionRow) -> str:
    """One tested k: the decision, the score of the chosen prompts, and how many tries reached the level."""
    found = "not found" if row.reached == 0 else "not certified"
    decision = "certified" if row.certified else f"{found} in {row.tries} tries"
    rate = f"{row.reached} of {row.tries} tries reached the level ({row.rate_low:.0%} to {row.rate_high:.0%})"
    rank = f" of rank {row.chosen_rank}" if row.chosen_rank < row.k else ""
    chosen = f"chosen{rank} {row.score:.1f}, margin {row.margin:+.1f} ({row.lower:+.1f})"
    return f"k = {row.k}: {decision}; {chosen}; {rate}"


def outcome_lines(outcome: TaskRankFile) -> list[str]:
    """The outcome in words, with its functional ranks."""
    seeds = f"{len(outcome.seeds)} seed{'s' * (len(outcome.seeds) != 1)}"
    rows = f"{outcome.n_rows} rows"
    if outcome.n_questions != outcome.n_rows:
        rows += f" of {outcome.n_questions} questions"
    lines = [
        f"{outcome.data}, {outcome.model}, held-back half of dev, {outcome.metric}",
        f"vanilla {outcome.vanilla:.1f}, baseline {outcome.baseline:.1f}, gain {outcome.gain:.1f} "
        f"(lower bound {outcome.gain_lower:.1f})",
        *(decision_line(row) for row in outcome.decisions),
        f"needed rank: at most {outcome.needed_rank} (certified on {rows}, {seeds})",
        f"level: {outcome.share:.0%} of vanilla's gain; certified: the one-sided {outcome.confidence:.0%} "
        "bound (in brackets) of the margin is 0 or more",
    ]
    lines.append("the bound is over rows, for these vanilla prompts; it says nothing about other seeds")
    if outcome.functional:
        ranks = [_functional(row.functional_rank, row.low, row.high) for row in outcome.functional]
        lines.append(f"functional rank of the vanilla prompts (95 % interval): {', '.join(ranks)}")
    return lines


def _functional(rank: float | None, low: float | None, high: float | None) -> str:
    if rank is None or low is None or high is None:
        return "undefined"
    return f"{rank:.0f} ({low:.0f}–{high:.0f})"
