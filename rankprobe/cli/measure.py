"""Commands that measure prompts: analyze, truncate, calibrate."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rankprobe.cli.use import Device, RunsDir, Which, checked_which
from rankprobe.errors import RankprobeError
from rankprobe.hub import cached_file, names_in_places
from rankprobe.text import plain, plain_lines

if TYPE_CHECKING:
    import pandas as pd

    from rankprobe.runs import Run

FORMATS = (".csv", ".parquet", ".json")
PICTURES = (".png", ".svg", ".pdf")
PANELS = 24
SHOWN = {
    "numerical_rank": "numerical",
    "erank_rv": "effective",
    "stable_rank": "stable",
    "participation_ratio": "particip.",
    "energy_90": "energy-90",
    "gavish_donoho": "G.-Donoho",
    "permutation_edge": "permutation",
}
"""The measures on the terminal; `--output` has all."""

CALIBRATED = {
    "n_positive": "positive σ",
    "n_positive_minus_twin": "minus twin",
    "P_functional": "functional",
    "P_gavish_donoho": "G.-Donoho",
    "P_permutation_edge": "permutation",
    "P_erank_rv": "effective",
    "P_energy_95": "energy-95",
    "P_numerical_rank": "numerical",
}

Output = Annotated[Path | None, typer.Option(help="Write every reading: .csv, .parquet or .json")]


def analyze(
    prompt: Annotated[
        list[str],
        typer.Argument(
            help="Runs, files (.npy, .npz, .safetensors, or of torch.save), PEFT adapters, globs of them; "
            "FILE:NAME where a file has several matrices."
        ),
    ],
    output: Output = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the spectra: .png, .svg or .pdf")] = None,
    directions: Annotated[
        int | None, typer.Option(min=1, help="Compare the subspaces of so many first directions")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the nulls")] = 0,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Measure prompts, each reading beside its null; of runs, also say what the readings mean.

    Needs no model and no network. On the terminal a reading stands before the same reading of the matrix
    with its entries in random order, in brackets.
    """
    from rankprobe.reports import analyze as read
    from rankprobe.reports import findings

    places = _each_once(place for each in prompt for place in _places(each, runs_dir))
    _check_output(output, FORMATS)
    _check_output(plot, PICTURES)
    table = read(places, seed)
    typer.echo(_shown(table))
    if directions:
        typer.echo(f"\n{_compared(places, directions)}")
    for runs in _seeds_together(places):
        typer.echo(f"\n{', '.join(plain(run.id) for run in runs)}")
        for sentence in findings(runs):
            typer.echo(f"  {plain(sentence)}")
    if output:
        _write(table, output)
    if plot:
        _plot(places, plot)


def truncate(
    run: Annotated[list[str], typer.Argument(help="Run ids, or paths of run folders.")],
    k: Annotated[list[int] | None, typer.Option(min=0, help="Directions kept; repeatable; unset: 12")] = None,
    which: Which = "final",
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Score a trained prompt with only some of its singular directions: the rank that is used.

    The curves are kept in the run folder; draw them with: rankprobe plot truncation.
    """
    from rankprobe.runs import find_run
    from rankprobe.training.truncate import keep
    from rankprobe.training.truncate import truncate as cut

    for each in [find_run(name, runs_dir) for name in run]:
        found = cut(each, ks=k, which=checked_which(which), device=device)
        keep(each, found)
        metric = found.curves["metric"].iloc[0]
        curves = found.curves[found.curves["metric"] == metric]
        name = curves["kept"].str.cat(curves["matrix"], sep=" of ")
        wide = curves.assign(curve=name).pivot(index="k", columns="curve", values="value")
        first = curves.iloc[0]
        about = f"{each.id}: {first['split']} {metric} with k singular directions, {first['data']}"
        typer.echo(plain(about))
        typer.echo(wide[list(dict.fromkeys(name))].to_string(float_format="{:.1f}".format))
        typer.echo(f"majority {first['majority']:.1f}")
        for row in found.functional_rank.to_dict("records"):
            typer.echo(_functional(row))


def calibrate(
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Repeatable [0 1 2]")] = None,
    noise: Annotated[
        float, typer.Option(min=0.001, help="Of the gradient, as a multiple of its size at P = 0")
    ] = 5.0,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak rate, as in runs")] = 0.3,
    steps: Annotated[int, typer.Option(min=1, help="Optimizer updates")] = 1000,
    output: Output = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw probe (ReLU, no gate) and vanilla: .png, .svg or .pdf")
    ] = None,
) -> None:
    """Plant matrices of known rank, train towards them, and see which readings find it.

    No model: prompts of 100 × 128 are trained on the squared error by the optimizer of runs, with noisy
    gradients, and on noise alone. Takes about five minutes on one core.
    """
    import pandas as pd
    from threadpoolctl import threadpool_limits

    from rankprobe.training.calibrate import CONTENDERS, summary
    from rankprobe.training.calibrate import calibrate as plant

    _check_output(output, FORMATS)
    _check_output(plot, PICTURES)
    frames = []
    with threadpool_limits(1):
        for method in CONTENDERS:
            frame = plant(
                methods=[method],
                seeds=seed or (0, 1, 2),
                noise=[noise],
                learning_rates=[learning_rate],
                steps=steps,
            )
            frames.append(frame)
            typer.echo(f"{_recovered(summary(frame))}\n")
    table = pd.concat(frames, ignore_index=True)
    if output:
        _write(table, output)
    if plot:
        from rankprobe.plots import calibration, save_figure

        drawn = table[(table["method"] == "vanilla") | table["gate"].isin(("relu", "none"))]
        save_figure(calibration(drawn), plot)
        typer.echo(plain(plot))


def _recovered(found: pd.DataFrame) -> str:
    """Means over seeds, a row per planted rank, under the name of the method; and what noise alone says."""
    first = found.iloc[0]
    name = f"{first['method']}, gate {first['gate']}" if first["gate"] else str(first["method"])
    shown = {each: label for each, label in CALIBRATED.items() if each in set(found["reading"])}
    part = found[found["reading"].isin(list(shown))]
    wide = part.pivot(index="planted", columns="reading", values="recovered")[list(shown)]
    table = wide.rename(columns=shown).to_string(float_format="{:.1f}".format, na_rep="-")
    words = part.loc[(part["planted"] == 0) & (part["reading"] == "n_positive"), "verdict"]
    null = f"\ncount on noise alone: {words.iloc[0]}" if len(words) else ""
    return f"{name}, {first['seeds']} seeds, signal-to-noise {1 / first['noise']:.2g}\n{table}{null}"


def _functional(row: dict[Any, Any]) -> str:
    if row["functional_rank"] != row["functional_rank"]:
        return f"functional rank of {row['matrix']}: none, the score gains nothing on the majority"
    unsure = f", undefined in {1 - row['defined']:.0%} of resamples" if row["defined"] < 1 else ""
    return (
        f"functional rank of {row['matrix']}: {row['functional_rank']:.0f} "
        f"({row['low']:.0f}–{row['high']:.0f}{unsure}), the least k that keeps 95 % of the gain over majority"
    )


def _places(given: str, runs_dir: Path) -> list[Path]:
    """What a word on the command line stands for: a path, a glob of them, the id of a run, a cached adapter.

    `:NAME` at its end stays at the end of each.
    """
    if found := _found(given, runs_dir):
        return found
    for head, name in names_in_places(given):
        if found := _found(head, runs_dir):
            return [Path(f"{each}:{name}") for each in found]
    raise RankprobeError(f"no prompt '{given}': no file or folder, no match, no run in '{runs_dir}'")


def _each_once(places: Iterable[Path]) -> list[Path]:
    """The places without those that an earlier one names by another path; a link is a file of its own."""
    found: dict[Path, Path] = {}
    for place in places:
        found.setdefault(place.parent.resolve() / place.name, place)
    return list(found.values())


def _found(given: str, runs_dir: Path) -> list[Path]:
    from rankprobe.runs.exchange import ADAPTER_CONFIG

    path = Path(os.path.expanduser(given))  # noqa: PTH111 - Path's raises where there is no such user
    if not given:
        return []
    if path.exists():
        return [path]
    # Path.glob takes no absolute pattern.
    if found := sorted(glob(str(path))):  # noqa: PTH207
        return [Path(each) for each in found]
    if (runs_dir / given).is_dir():
        return [runs_dir / given]
    return [Path(given)] if cached_file(given, ADAPTER_CONFIG) else []


def _seeds_together(places: list[Path]) -> list[list[Run]]:
    """The runs among the places, those that differ in their seed only in one group; each run once."""
    from rankprobe.runs import MANIFEST, Run, replicates_of

    found = {place.resolve(): Run(place) for place in places if (place / MANIFEST).is_file()}
    return replicates_of(list(found.values()), "eval_every")


def _shown(table: pd.DataFrame) -> str:
    """A line per matrix: each reading, and in brackets that of the shuffled matrix."""
    import pandas as pd

    part = table[table["measure"].isin(list(SHOWN))]
    titles = _titles(part[["place", "prompt"]].itertuples(index=False, name=None))
    rows = []
    for (place, prompt, matrix), own in part.groupby(["place", "prompt", "matrix"], sort=False):
        values = own.set_index("measure")
        n, d = own.iloc[0][["n", "d"]]
        cells = {
            label: f"{values.at[name, 'value']:.3g} ({values.at[name, 'shuffled']:.3g})"
            for name, label in SHOWN.items()
        }
        title = titles[str(place), str(prompt)]
        rows.append({"prompt": title, "matrix": matrix, "n × d": f"{n} × {d}", **cells})
    return plain_lines(pd.DataFrame(rows).to_string(index=False))


def _compared(places: list[Path], directions: int) -> str:
    """φ and principal angles between the prompts, beside what random subspaces share."""
    from rankprobe.rank import similarities
    from rankprobe.reports import read_matrices

    named = [each for place in places for each in read_matrices(place) if each.matrix == "P"]
    titles = _titles((each.place, each.prompt) for each in named)
    matrices = {titles[each.place, each.prompt]: each.values for each in named}
    if len(matrices) < 2:
        raise RankprobeError("--directions compares prompts, and there is one; give more")
    table = similarities(matrices, directions).to_string(index=False, float_format="{:.3g}".format)
    return plain_lines(table)


def _titles(prompts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A title for each prompt of a place: as few of the last parts of its path as tell it from the others."""
    keys = list(dict.fromkeys(prompts))
    titles = {key: _title(*key, parts=0) for key in keys}
    for parts in range(1, max((len(Path(place).absolute().parts) for place, _ in keys), default=0) + 1):
        counts = Counter(titles.values())
        titles = {key: _title(*key, parts) if counts[title] > 1 else title for key, title in titles.items()}
    return titles


def _title(place: str, prompt: str, parts: int) -> str:
    """The last parts of a path and the name of the prompt, which is left out where it is the file's stem."""
    from rankprobe.runs.exchange import split_place

    name = split_place(place)[1]
    path = Path(place if name is None else place.removesuffix(f":{name}")).absolute()
    file = "/".join(path.parts[-max(parts, 1) :])
    if path.stem == prompt:
        return file if parts else prompt
    return f"{file} {prompt}"


def _plot(places: list[Path], plot: Path) -> None:
    from rankprobe.plots import save_figure, spectra
    from rankprobe.reports import read_matrices

    named = [each for place in places for each in read_matrices(place) if each.matrix != "P_rows"]
    if len(named) > PANELS:
        raise RankprobeError(f"{len(named)} spectra do not fit one figure; give at most {PANELS} matrices")
    titles = _titles((each.place, each.prompt) for each in named)
    panels = [(f"{titles[each.place, each.prompt]}, {each.matrix}", each.values) for each in named]
    save_figure(spectra(panels), plot)
    typer.echo(plain(plot))


def _write(table: pd.DataFrame, path: Path) -> None:
    from rankprobe.runs.files import write_atomically

    if path.suffix == ".parquet":
        content = table.to_parquet(index=False)
    elif path.suffix == ".json":
        content = table.to_json(orient="records", indent=2).encode()
    else:
        content = table.to_csv(index=False).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    typer.echo(plain(path))


def _check_output(path: Path | None, formats: tuple[str, ...]) -> None:
    """Refuse before the work what could not be written after it."""
    if path is not None and path.exists():
        raise RankprobeError(f"'{path}' exists; choose another name")
    if path is not None and path.suffix not in formats:
        raise RankprobeError(f"'{path}' ends in no known format; expected {', '.join(formats)}")
