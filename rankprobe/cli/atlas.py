"""The command that measures collections of prompts: atlas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import option
from rankprobe.errors import RankprobeError, unknown
from rankprobe.text import plain, plain_lines

if TYPE_CHECKING:
    from rankprobe.reports import Atlas

MAX_LEFT_OUT = 10
"""The largest number of files left out that are printed one by one."""


@with_json("atlas")
def atlas(
    place: Annotated[
        list[Path], typer.Argument(help="Folders to search, prompt files, run folders, PEFT adapters")
    ],
    sources: Annotated[
        Path | None,
        option(
            "--sources",
            "TOML file that names models and tasks: experiments/atlas/sources.toml",
            metavar="FILE",
        ),
    ] = None,
    directions: Annotated[
        int,
        option("--directions", "Compare this many first directions", default=10, metavar="INT", min=1),
    ] = 10,
    seed: Annotated[int, option("--seed", "Random seed of the nulls", default=0, metavar="INT", min=0)] = 0,
    look: Annotated[
        str,
        option("--look", "screen, page (for HTML), or paper (serif, column width, PDF)", default="screen"),
    ] = "screen",
    output: Annotated[
        Path, option("--output", "Folder for the picture and the tables", default="figures", metavar="DIR")
    ] = Path("figures"),
) -> Result:
    """Measure many trained prompts, and compare those of one model.

    Writes atlas.png, .svg, .csv, .md and .json: each prompt's readings next to its sign-flip null, by model
    and task, and whether prompts for tasks of one kind share their first directions.
    Needs no model and no network, and copies no prompt.
    """
    from rankprobe.plots import LOOKS, save_figure
    from rankprobe.plots import atlas as draw
    from rankprobe.reports import atlas as measure_all
    from rankprobe.reports import atlas_table, load_sources, render
    from rankprobe.runs.files import write_atomically, write_json

    if look not in LOOKS:
        raise unknown("look", look, LOOKS)
    for path in place:
        if not path.exists():
            raise RankprobeError(f"no file or folder '{path}'; give prompt files, or folders of them")
    if output.exists() and not output.is_dir():
        raise RankprobeError(f"'{output}' is not a folder; choose another --output")
    found = measure_all(place, load_sources(sources), k=directions, seed=seed)
    _print(found)
    figure = draw(found.prompts, found.directions, look=look)
    paths = [output / f"atlas.{kind}" for kind in ("png", "svg", *(["pdf"] * (look == "paper")))]
    for path in paths:
        save_figure(figure, path, look)
    texts = {".csv": found.prompts.to_csv(index=False), ".md": render(atlas_table(found), "markdown")}
    for kind, text in texts.items():
        write_atomically(output / f"atlas{kind}", text.encode())
    comparisons = {
        name: frame.astype(object).where(frame.notna(), None).to_dict("records")
        for name, frame in (("directions", found.directions), ("positions", found.positions))
    }
    columns = ["source", "model", "task", "file", "prompt", "sha256"]
    drawn = found.prompts[columns].to_dict("records")
    write_json(
        output / "atlas.json",
        {
            "figure": "atlas",
            "look": look,
            **comparisons,
            "prompts": drawn,
        },
    )
    files = [*paths, output / "atlas.csv", output / "atlas.md", output / "atlas.json"]
    for path in files:
        typer.echo(plain(path))
    tables = {"prompts": found.prompts, "directions": found.directions, "positions": found.positions}
    return Result({**tables, "left_out": found.left_out, "files": files})


def _print(found: Atlas) -> None:
    """Print a summary by model, the comparisons, and the files that were left out."""
    distinct = found.prompts[found.prompts["copy_of"] == ""]
    typer.echo(f"{len(found.prompts)} prompts, {len(distinct)} of them distinct")
    typer.echo("model, shape: least to greatest over prompts, and of the sign-flip null in brackets")
    for (model, n, d), part in distinct.groupby(["model", "n", "d"], sort=False):
        readings = [
            f"{title} {_range(part[name])} ({_range(part[f'{name}_signflip'])})"
            for name, title in (
                ("P_numerical_rank", "numerical"),
                ("P_erank_rv", "effective"),
                ("P_stable_rank", "stable"),
                ("P_rows_signflip_edge", "beyond sign flips, rows of length one,"),
            )
        ]
        typer.echo(plain(f"  {model}, {n} × {d}, {len(part)}: {'; '.join(readings)}"))
    for row in found.directions.to_dict("records"):
        typer.echo(plain_lines(_format_overlaps(row)))
    for row in found.positions.to_dict("records"):
        typer.echo(
            plain(
                f"{row['model']}, {row['n']} × {row['d']}: the nearest token of another prompt is at the "
                f"same position for {row['nearest_same']:.0%} of tokens "
                f"({row['nearest_by_chance']:.0%} by chance)"
            )
        )
    for line in found.left_out[:MAX_LEFT_OUT]:
        typer.echo(plain(f"left out: {line}"), err=True)
    if len(found.left_out) > MAX_LEFT_OUT:
        typer.echo(f"left out: {len(found.left_out) - MAX_LEFT_OUT} more", err=True)


def _format_overlaps(row: dict) -> str:
    """Format the overlaps of one model in two lines."""
    name = f"{row['model']}, {row['n']} × {row['d']}, {row['compared']}: first {row['k']} directions"
    shared = (
        f"{name}: mean overlap {row['phi']:.3f} over {row['pairs']} pairs of {row['prompts']} prompts, "
        f"{row['phi_shuffled']:.3f} with shuffled rows (p = {row['p_shuffled']:.2f}), "
        f"{row['phi_random']:.3f} at random"
    )
    if row["p_related"] != row["p_related"]:
        return f"{shared}\n  no test of related tasks: it needs pairs of one kind and of two kinds"
    from rankprobe.rank.verdict import LEVEL

    verdict = "more than" if row["p_related_adjusted"] <= LEVEL else "not distinguishable from"
    return (
        f"{shared}\n  {row['related_pairs']} pairs of one kind {row['phi_related']:.3f}: {verdict} "
        f"{row['other_pairs']} pairs of two kinds {row['phi_other']:.3f} "
        f"(p = {row['p_related']:.4f}, adjusted {row['p_related_adjusted']:.4f})"
    )


def _range(values: object) -> str:
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    low, high = f"{numbers.min():.3g}", f"{numbers.max():.3g}"
    return low if low == high else f"{low} to {high}"
