"""Commands that measure prompts: analyze, truncate."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankprobe.cli.complete import run_ids
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import Device, RunList, RunsDir, Which, option
from rankprobe.cli.use import checked_which
from rankprobe.errors import RankprobeError
from rankprobe.hub import cached_file, hub_place
from rankprobe.settings import file_name_splits
from rankprobe.text import plain, plain_lines

if TYPE_CHECKING:
    import pandas as pd

TABLE_FORMATS = (".csv", ".parquet", ".json")
PICTURE_FORMATS = (".png", ".svg", ".pdf")
MAX_PANELS = 24
COLUMNS = {
    "numerical_rank": "numerical",
    "erank_rv": "effective",
    "stable_rank": "stable",
    "energy_90": "energy-90",
    "signflip_edge": "sign-flip",
    "gavish_donoho": "G.-Donoho",
    "permutation_edge": "permutation",
}
"""Our measures that `analyze` prints, with their column titles; `--output` writes all measures."""

Output = Annotated[
    Path | None, option("--output", "Write all readings: .csv, .parquet or .json", metavar="FILE")
]


@with_json("analyze")
def analyze(
    prompt: Annotated[
        list[str],
        typer.Argument(
            help="Runs, files (.npy, .npz, .safetensors, torch.save), PEFT adapters (also hub:ORG/NAME), or "
            "glob patterns; FILE:NAME for one of several matrices in a file",
            autocompletion=run_ids,
        ),
    ],
    output: Output = None,
    plot: Annotated[
        Path | None, option("--plot", "Draw the spectra: .png, .svg or .pdf", metavar="FILE")
    ] = None,
    directions: Annotated[
        int | None,
        option("--directions", "Compare the subspaces of this many first directions", metavar="INT", min=1),
    ] = None,
    seed: Annotated[int, option("--seed", "Random seed of the nulls", default=0, metavar="INT", min=0)] = 0,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Measure the rank of prompts, and explain the readings of runs.

    The value in brackets is the null: the mean over 20 copies of the matrix with random signs.
    Prompts of runs are also compared with P0 and with noise twins.
    Needs no model, and no network except for hub:ORG/NAME.
    """
    from rankprobe.reports import analyze as measure_places
    from rankprobe.reports import findings
    from rankprobe.runs.replicates import runs_by_replicate

    places = _without_duplicates(place for text in prompt for place in _resolve(text, runs_dir))
    check_output(output, TABLE_FORMATS)
    check_output(plot, PICTURE_FORMATS)
    places, left_out = _with_prompts(places)
    table = measure_places(places, seed)
    compared = _similarities(places, directions) if directions else None
    files = [path for path in (output, plot) if path]
    found = [
        {"runs": [run.id for run in runs], "sentences": findings(runs)} for runs in runs_by_replicate(places)
    ]

    def show() -> None:
        typer.echo(_format_readings(table))
        if compared is not None:
            shown = compared.to_string(index=False, float_format="{:.3g}".format)
            typer.echo(f"\n{plain_lines(shown)}")
        for group in found:
            typer.echo(f"\n{', '.join(map(plain, group['runs']))}")
            for sentence in group["sentences"]:
                typer.echo(f"  {plain(sentence)}")
        for path in files:
            typer.echo(plain(path))

    if output:
        save_table(table, output)
    if plot:
        _plot_spectra(places, plot)
    document = {"readings": table, "similarities": compared, "findings": found, "left_out": left_out}
    return Result({**document, "files": files}, show)


@with_json("truncate")
def truncate(
    run: RunList,
    k: Annotated[
        list[int] | None,
        option(
            "--k", "Number of directions; repeatable; unset: 9 values, then bisection", metavar="INT", min=0
        ),
    ] = None,
    order: Annotated[
        str,
        option("--order", "What comes first: singular (largest values) or sensitivity", default="singular"),
    ] = "singular",
    scoring: Annotated[
        str | None,
        option("--scoring", "greedy (decode) or rank (likeliest label); unset: as in training, or greedy"),
    ] = None,
    which: Which = "final",
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Score a trained prompt with only k of its singular directions.

    The curves show which rank the prompt uses. They are saved in the run folder.
    Without --k, bisection makes the functional rank exact; --k does not replace such a result.
    Draw the curves with: rankprobe plot truncation
    """
    from rankprobe.cli.truncation import format_truncation, truncation_row
    from rankprobe.evaluation.truncation import save_truncation
    from rankprobe.evaluation.truncation import truncate as truncate_run
    from rankprobe.runs import find_run

    rows = []
    for trained in [find_run(name, runs_dir) for name in run]:
        result = truncate_run(
            trained, ks=k, which=checked_which(which), device=device, order=order, scoring=scoring
        )
        typer.echo(format_truncation(trained, result))
        if not save_truncation(trained, result):
            typer.echo("not saved: the exact result of this prompt stays; truncate without --k replaces it")
        rows.append(truncation_row(trained, result))
    return Result({"truncations": rows})


def _resolve(text: str, runs_dir: Path) -> list[Path]:
    """Return the places that an argument names: a path, the matches of a glob, a run, an adapter on the hub.

    If the argument ends with `:NAME`, each place does too.
    """
    if hub_place(text):
        return [Path(text)]
    if places := _existing(text, runs_dir):
        return places
    for head, name in file_name_splits(text):
        if places := _existing(head, runs_dir):
            return [Path(f"{place}:{name}") for place in places]
    raise RankprobeError(f"no prompt '{text}': no such file or folder, and no such run in '{runs_dir}'")


def _without_duplicates(places: Iterable[Path]) -> list[Path]:
    """Drop each place that is another path of an earlier place. A symbolic link counts as a separate file."""
    distinct: dict[Path, Path] = {}
    for place in places:
        distinct.setdefault(place.parent.resolve() / place.name, place)
    return list(distinct.values())


def _with_prompts(places: list[Path]) -> tuple[list[Path], list[str]]:
    """The places with a prompt that can be read, and a line about each other one, printed on standard error.

    Raises:
        RankprobeError: no place has one.
    """
    from rankprobe.runs import read_prompts

    found, problems = [], []
    for place in places:
        try:
            read_prompts(place)
            found.append(place)
        except RankprobeError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    left_out = [plain(error) for error in problems]
    for line in left_out:
        typer.echo(f"left out: {line}", err=True)
    return found, left_out


def _existing(text: str, runs_dir: Path) -> list[Path]:
    from rankprobe.runs.adapters import ADAPTER_CONFIG

    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises if there is no such user
    if not text:
        return []
    if path.exists():
        return [path]
    # Path.glob does not accept absolute patterns.
    if matches := sorted(glob(str(path))):  # noqa: PTH207
        return [Path(match) for match in matches]
    if (runs_dir / text).is_dir():
        return [runs_dir / text]
    return [Path(text)] if cached_file(text, ADAPTER_CONFIG) else []


def _format_readings(table: pd.DataFrame) -> str:
    """Format a line per matrix, with the sign-flip null in brackets; below it, one for P0 and each twin."""
    from rankprobe.rank import MEASURES
    from rankprobe.reports.readings import TWINS

    columns = COLUMNS | {name: name for name in MEASURES.added}
    titles = _titles(table[["place", "prompt"]].itertuples(index=False, name=None))
    nulls = [name for name in ("P0", *TWINS) if name in table]
    lines: list[list[str]] = [["", *columns.values()]]
    for (place, prompt), prompt_rows in table.groupby(["place", "prompt"], sort=False):
        n, d = prompt_rows.iloc[0][["n", "d"]]
        lines.append([f"{titles[str(place), str(prompt)]}, {n} × {d}"])
        for matrix, rows in prompt_rows.groupby("matrix", sort=False):
            readings = rows.set_index("measure").loc[list(columns)]
            pairs = zip(readings["value"], readings["signflip"], strict=True)
            lines.append([f"  {matrix}", *(f"{value:.3g} ({null:.3g})" for value, null in pairs)])
            for name in nulls:
                if readings[name].notna().any():
                    lines.append([f"    {name}", *(_format_null(value) for value in readings[name])])
    cells = [line for line in lines if len(line) > 1]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    text = "\n".join(
        line[0].ljust(widths[0] if len(line) > 1 else 0)
        + "".join(f"  {cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=False))
        for line in lines
    )
    legend = "In brackets: mean of 20 copies of the matrix with random signs."
    if (table["matrix"] == "P_rows").any():
        legend += "\nP_rows: P with each row scaled to length one, so that a few long rows do not decide."
    if any(table[name].notna().any() for name in nulls):
        legend += "\nBelow a matrix: the same reading of P0, and of each noise twin at the last step."
    return plain_lines(f"{text}\n\n{legend}")


def _format_null(value: float) -> str:
    return "-" if value != value else f"{value:.3g}"


def _similarities(places: list[Path], directions: int) -> pd.DataFrame:
    """φ and the principal angles between prompts, next to those of random subspaces."""
    from rankprobe.rank import similarities
    from rankprobe.reports import read_matrices

    read = [matrix for place in places for matrix in read_matrices(place) if matrix.matrix == "P"]
    titles = _titles((matrix.place, matrix.prompt) for matrix in read)
    prompts = {titles[matrix.place, matrix.prompt]: matrix.values for matrix in read}
    if len(prompts) < 2:
        raise RankprobeError("--directions compares prompts, but there is only one; give more")
    return similarities(prompts, directions)


def _titles(prompts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a distinct title for each (place, prompt), with as few last parts of its path as needed."""
    keys = list(dict.fromkeys(prompts))
    titles = {key: _title(*key, parts=0) for key in keys}
    for parts in range(1, max((len(Path(place).absolute().parts) for place, _ in keys), default=0) + 1):
        counts = Counter(titles.values())
        titles = {key: _title(*key, parts) if counts[title] > 1 else title for key, title in titles.items()}
    return titles


def _title(place: str, prompt: str, parts: int) -> str:
    """Return the last `parts` parts of the path, and the prompt's name if it is not the stem of the file."""
    from rankprobe.runs.exchange import split_place

    name = split_place(place)[1]
    path = Path(place if name is None else place.removesuffix(f":{name}")).absolute()
    file = "/".join(path.parts[-max(parts, 1) :])
    if path.stem == prompt:
        return file if parts else prompt
    return f"{file} {prompt}"


def _plot_spectra(places: list[Path], plot: Path) -> None:
    from rankprobe.plots import save_figure, spectra
    from rankprobe.reports import read_matrices

    read = [matrix for place in places for matrix in read_matrices(place) if matrix.matrix != "P_rows"]
    if len(read) > MAX_PANELS:
        raise RankprobeError(f"{len(read)} spectra do not fit one figure; give at most {MAX_PANELS} matrices")
    titles = _titles((matrix.place, matrix.prompt) for matrix in read)
    panels = [(f"{titles[matrix.place, matrix.prompt]}, {matrix.matrix}", matrix.values) for matrix in read]
    save_figure(spectra(panels), plot)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table, see `save_table`, and print the path."""
    save_table(table, path)
    typer.echo(plain(path))


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table in the format of the suffix of `path`."""
    from rankprobe.runs.files import write_atomically

    if path.suffix == ".parquet":
        content = table.to_parquet(index=False)
    elif path.suffix == ".json":
        content = table.to_json(orient="records", indent=2).encode()
    else:
        content = table.to_csv(index=False).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def check_output(path: Path | None, formats: tuple[str, ...]) -> None:
    """Raise an error if `path` exists or has an unknown format; called before the work starts."""
    if path is not None and path.exists():
        raise RankprobeError(f"'{path}' exists; choose another name")
    if path is not None and path.suffix not in formats:
        raise RankprobeError(f"'{path}' has no known format; expected {', '.join(formats)}")
