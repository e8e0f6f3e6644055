"""The command calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankprobe.cli.lines import print_line, progress_console
from rankprobe.cli.measure import PICTURE_FORMATS, TABLE_FORMATS, Output, check_output, write_table
from rankprobe.cli.options import option
from rankprobe.errors import RankprobeError
from rankprobe.text import plain

if TYPE_CHECKING:
    import pandas as pd

CALIBRATION_COLUMNS = {
    "n_positive": "positive σ",
    "n_positive_minus_twin": "minus twin",
    "P_functional": "functional",
    "P_signflip_edge": "sign-flip",
    "P_gavish_donoho": "G.-Donoho",
    "P_permutation_edge": "permutation",
    "P_erank_rv": "effective",
    "P_energy_95": "energy-95",
    "P_numerical_rank": "numerical",
}
"""Readings that `calibrate` prints, with their column titles."""


def calibrate(
    seed: Annotated[
        list[int] | None, option("--seed", "Random seed; repeatable", default="0 1 2", metavar="INT", min=0)
    ] = None,
    noise: Annotated[
        float,
        option(
            "--noise",
            "Gradient noise, relative to the size of the gradient at P = 0",
            default=5.0,
            metavar="NUM",
            min=0.001,
        ),
    ] = 5.0,
    learning_rate: Annotated[
        float, option("--learning-rate", "Peak learning rate", default=0.3, metavar="NUM", min=0)
    ] = 0.3,
    steps: Annotated[int, option("--steps", "Optimizer updates", default=1000, metavar="INT", min=1)] = 1000,
    full: Annotated[
        bool, option("--full", "All gates, DPT, and eight planted ranks instead of four", metavar="")
    ] = False,
    grid: Annotated[
        bool, option("--grid", "Train the grid instead: signal-to-noise, spectra and noises", metavar="")
    ] = False,
    ranges: Annotated[
        Path | None, option("--ranges", "With --grid: write the operating ranges", metavar="FILE")
    ] = None,
    output: Output = None,
    plot: Annotated[
        Path | None,
        option(
            "--plot",
            "Draw the readings; with --full, of vanilla and of the probe with and without ReLU",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Test which readings recover a known rank.

    Trains prompts (100 × 128) towards matrices of known rank, and on noise alone.
    Uses no language model: the loss is the squared error, with noise added to its gradient.
    Uses the optimizer of runs, and all noise twins that need no model.
    By default it trains the paper's probe, the probe with orthonormal factors, and vanilla prompts.
    This takes some minutes on one core. With --full it trains all gates and DPT, with eight planted ranks.
    With --grid: trains pairs of vanilla prompts, and prints where each reading finds the planted rank.
    """
    check_output(output, TABLE_FORMATS)
    check_output(plot, PICTURE_FORMATS)
    check_output(ranges, TABLE_FORMATS)
    if grid:
        if full:
            raise RankprobeError("--grid trains vanilla prompts only; leave out --full or --grid")
        _grid(seed, steps, learning_rate, output, ranges, plot)
        return
    if ranges:
        raise RankprobeError("--ranges needs --grid")

    import pandas as pd
    from threadpoolctl import threadpool_limits

    from rankprobe.studies.calibration import ALL_METHODS, ALL_PLANTED, METHODS, PLANTED, summary
    from rankprobe.studies.calibration import calibrate as calibrate_methods

    frames = []
    with threadpool_limits(1):
        for method in ALL_METHODS if full else METHODS:
            frame = calibrate_methods(
                methods=[method],
                planted=ALL_PLANTED if full else PLANTED,
                seeds=seed or (0, 1, 2),
                noise=[noise],
                learning_rates=[learning_rate],
                steps=steps,
            )
            frames.append(frame)
            typer.echo(f"{_format_recovered(summary(frame))}\n")
    table = pd.concat(frames, ignore_index=True)
    if output:
        write_table(table, output)
    if plot:
        from rankprobe.plots import calibration, save_figure

        probes = table["gate"].isin(("relu", "none")) & ~table["orthonormal"]
        drawn = (table["method"] == "vanilla") | probes if full else slice(None)
        save_figure(calibration(table[drawn]), plot)
        typer.echo(plain(plot))


def _grid(
    seed: list[int] | None,
    steps: int,
    learning_rate: float,
    output: Path | None,
    ranges: Path | None,
    plot: Path | None,
) -> None:
    if plot:
        raise RankprobeError("--plot does not draw the grid; leave out --plot or --grid")

    import pandas as pd
    from threadpoolctl import threadpool_limits

    from rankprobe.studies import calibrate_grid
    from rankprobe.studies.grid import format_ranges, operating_ranges

    frames: list[pd.DataFrame] = []
    before, progress = "", progress_console(stderr=True)
    with threadpool_limits(1):
        for pair in calibrate_grid(seeds=seed or (0,), steps=steps, learning_rate=learning_rate):
            frames.append(pair)
            now = "noise {noise}, spectrum {spectrum}, signal-to-noise {snr:g}".format(**pair.iloc[0])
            if now != before:
                print_line(progress, f"training pairs: {now}")
            before = now
    table = pd.concat(frames, ignore_index=True)
    found = operating_ranges(table)
    typer.echo(format_ranges(found))
    if output:
        write_table(table, output)
    if ranges:
        write_table(found, ranges)


def _format_recovered(means: pd.DataFrame) -> str:
    """Format the means over seeds of one method: a row per planted rank, then the verdict on noise alone."""
    first = means.iloc[0]
    name = f"{first['method']}, gate {first['gate']}" if first["gate"] else str(first["method"])
    name += ", orthonormal U and V" if first["orthonormal"] else ""
    columns = {k: title for k, title in CALIBRATION_COLUMNS.items() if k in set(means["reading"])}
    rows = means[means["reading"].isin(list(columns))]
    wide = rows.pivot(index="planted", columns="reading", values="recovered")[list(columns)]
    table = wide.rename(columns=columns).to_string(float_format="{:.1f}".format, na_rep="-")
    verdicts = rows.loc[(rows["planted"] == 0) & (rows["reading"] == "n_positive"), "verdict"]
    null = f"\ncount on noise alone: {verdicts.iloc[0]}" if len(verdicts) else ""
    seeds = f"{first['seeds']} seed{'s' if first['seeds'] > 1 else ''}"
    return f"{name}, {seeds}, signal-to-noise {1 / first['noise']:.2g}\n{table}{null}"
