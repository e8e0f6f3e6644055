"""Commands that use trained prompts: eval, predict, neighbors, export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from rankprobe.cli.complete import task_names
from rankprobe.cli.machine import Result, with_json
from rankprobe.cli.options import Device, Run, RunList, RunsDir, Which, option
from rankprobe.errors import RankprobeError
from rankprobe.lfs import POINTER
from rankprobe.text import plain, plain_lines


@with_json("eval")
def evaluate(
    run: RunList,
    task: Annotated[
        str | None, option("--task", "Another task; unset: the task of the run", complete=task_names)
    ] = None,
    data: Annotated[str | None, option("--data", "Other data; unset: the data of the run")] = None,
    split: Annotated[str, option("--split", "validation or train", default="validation")] = "validation",
    scoring: Annotated[str | None, option("--scoring", "greedy, rank or both; unset: as in training")] = None,
    which: Which = "final",
    ensemble: Annotated[
        bool,
        option("--ensemble", "Also score the majority vote of all runs (ties: the first run)", metavar=""),
    ] = False,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
) -> Result:
    """Score trained prompts on their own task or another one."""
    from rankprobe.evaluation.evaluate import evaluate_runs
    from rankprobe.runs import find_run

    _check("split", split, ("validation", "train"))
    scores = evaluate_runs(
        [find_run(name, runs_dir) for name in run],
        which=checked_which(which),
        split=split,
        ensemble=ensemble,
        device=device,
        task=task,
        data=data,
        scoring=scoring,
    )
    table = plain_lines(scores.to_string(index=False, float_format="{:.1f}".format))
    return Result({"scores": scores}, lambda: typer.echo(table))


def predict(
    run: Run,
    which: Which = "final",
    max_new_tokens: Annotated[
        int | None,
        option("--max-new-tokens", "Maximum answer length; unset: as in training", metavar="INT", min=1),
    ] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Answer texts from standard input, one per line.

    A line is a source text, or a row of the task in JSON (a label is not needed).
    """
    from rankprobe.evaluation.prediction import predict as answer
    from rankprobe.runs import find_run

    trained = find_run(run, runs_dir)
    requests = [(trained, text) for text in _read_requests(sys.stdin)]
    if not requests:
        raise RankprobeError("standard input is empty; expected one text per line")
    for text in answer(requests, which=checked_which(which), max_new_tokens=max_new_tokens, device=device):
        typer.echo(text)


def neighbors(
    run: Run,
    count: Annotated[
        int, option("--count", "Tokens to print per prompt token", default=5, metavar="INT", min=1)
    ] = 5,
    metric: Annotated[str, option("--metric", "cosine or euclidean", default="cosine")] = "cosine",
    which: Which = "final",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Print the vocabulary tokens nearest to each prompt token."""
    from rankprobe.evaluation.neighbors import neighbors as nearest
    from rankprobe.runs import find_run

    _check("metric", metric, ("cosine", "euclidean"))
    table: Any = nearest(find_run(run, runs_dir), which=checked_which(which), count=count, metric=metric)
    for token, rows in table.groupby("token"):
        pairs = zip(rows["piece"], rows[metric], strict=True)
        typer.echo(plain(f"{token:>4}  " + "  ".join(f"{piece} {value:.2f}" for piece, value in pairs)))


def export(
    run: Run,
    place: Annotated[Path, typer.Argument(help="A new folder (peft), or a new file such as p.npy")],
    to: Annotated[
        str | None, option("--to", "peft, npy or safetensors; unset: by the ending of PLACE, else peft")
    ] = None,
    which: Which = "final",
    push: Annotated[
        str | None,
        option("--push", "Upload the adapter to this repository of the Hugging Face hub", metavar="ORG/NAME"),
    ] = None,
    private: Annotated[
        bool, option("--private", "Make the repository of --push private, if it is new", metavar="")
    ] = False,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write a trained prompt as a PEFT adapter with a model card, or as a .npy or .safetensors file.

    A pushed prompt is read by --init-from hub:ORG/NAME, rankprobe analyze hub:ORG/NAME, and PEFT.
    """
    from rankprobe.evaluation.export import export_run
    from rankprobe.hub import check_push, push_folder
    from rankprobe.reports import model_card
    from rankprobe.runs import find_run

    if to is None and place.suffix in (".npz", ".pt", ".pth", ".bin", ".ckpt"):
        raise RankprobeError(
            f"no prompt is written as {place.suffix}; give a name that ends in .npy or .safetensors, or a "
            "folder"
        )
    to = to or {".npy": "npy", ".safetensors": "safetensors"}.get(place.suffix, "peft")
    if private and push is None:
        raise RankprobeError("--private needs --push ORG/NAME")
    if push is not None and to != "peft":
        raise RankprobeError(
            f"--push uploads a PEFT adapter, and the format is '{to}'; give a folder, and no --to"
        )
    if push is not None:
        check_push(push)
    trained, chosen = find_run(run, runs_dir), checked_which(which)
    card = model_card(trained, which=chosen, hub_id=push, folder=place.name) if to == "peft" else None
    path = export_run(trained, place, to, which=chosen, card=card, portable=push is not None)
    typer.echo(plain(path))
    if push is not None:
        typer.echo(plain(push_folder(path, push, private=private)))


def _read_requests(lines: Iterable[str]) -> Iterable[Any]:
    """Yield each line as a text, or as a mapping if it is JSON.

    Raises:
        RankprobeError: a line is empty, is not UTF-8, or is damaged JSON; or the input is a Git LFS pointer.
    """
    number = 1
    try:
        for line in lines:
            text = (line.removeprefix("\ufeff") if number == 1 else line).strip()
            if number == 1 and text.encode().startswith(POINTER):
                raise RankprobeError("standard input is a Git LFS pointer; run git lfs pull")
            if not text:
                raise RankprobeError(f"line {number} is empty; expected a text, or a row of the task in JSON")
            text.encode()
            yield json.loads(text) if text.startswith("{") else text
            number += 1
    except (ValueError, RecursionError) as error:
        raise RankprobeError(f"line {number} is neither UTF-8 text nor a row in JSON ({error})") from None


def checked_which(which: str) -> Any:
    """Return `which`; raise a RankprobeError if it is neither `final` nor `best`."""
    _check("which", which, ("final", "best"))
    return which


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RankprobeError(f"{name} is '{value}'; expected {' or '.join(known)}")
