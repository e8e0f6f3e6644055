"""Commands that use trained prompts: eval, predict, neighbors, export."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from rankprobe.errors import RankprobeError
from rankprobe.lfs import POINTER

RunsDir = Annotated[Path, typer.Option(help="Where run folders live")]
OneRun = Annotated[str, typer.Argument(help="Run id, or path of a run folder.")]
Which = Annotated[str, typer.Option(help="final, or best (by dev score)")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, …; unset: where the run was trained")]


def evaluate(
    run: Annotated[list[str], typer.Argument(help="Run ids, or paths of run folders.")],
    task: Annotated[str | None, typer.Option(help="Another task; unset: the run's own")] = None,
    data: Annotated[str | None, typer.Option(help="Other rows; unset: the run's own")] = None,
    split: Annotated[str, typer.Option(help="validation or train")] = "validation",
    answers: Annotated[str | None, typer.Option(help="greedy, rank or both; unset: the run's own")] = None,
    which: Which = "final",
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Add the majority vote (ties: the first run given)")
    ] = False,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Score trained prompts, on their own task or another, alone or by majority vote."""
    from rankprobe.runs import find_run
    from rankprobe.training.using import evaluate_runs

    _check("split", split, ("validation", "train"))
    found = evaluate_runs(
        [find_run(name, runs_dir) for name in run],
        which=checked_which(which),
        split=split,
        ensemble=ensemble,
        device=device,
        task=task,
        data=data,
        answers=answers,
    )
    typer.echo(found.to_string(index=False, float_format="{:.1f}".format))


def predict(
    run: OneRun,
    which: Which = "final",
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Unset: the longest label, or 32")] = None,
    device: Device = None,
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Answer texts from standard input, one a line, with a trained prompt.

    A line is a source text, or a row of the task in JSON, with or without its label.
    """
    from rankprobe.runs import find_run
    from rankprobe.training.using import predict as answer

    found = find_run(run, runs_dir)
    requests = [(found, text) for text in _texts(sys.stdin)]
    if not requests:
        raise RankprobeError("standard input has no lines; expected a text on each")
    for text in answer(requests, which=checked_which(which), max_new_tokens=max_new_tokens, device=device):
        typer.echo(text)


def neighbors(
    run: OneRun,
    count: Annotated[int, typer.Option(min=1, help="Pieces per prompt token")] = 5,
    metric: Annotated[str, typer.Option(help="cosine or euclidean")] = "cosine",
    which: Which = "final",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Print the vocabulary pieces nearest to each prompt token."""
    from rankprobe.runs import find_run
    from rankprobe.training.trained import neighbors as nearest

    _check("metric", metric, ("cosine", "euclidean"))
    found: Any = nearest(find_run(run, runs_dir), which=checked_which(which), count=count, metric=metric)
    for token, part in found.groupby("token"):
        pairs = zip(part["piece"], part[metric], strict=True)
        typer.echo(f"{token:>4}  " + "  ".join(f"{piece} {value:.2f}" for piece, value in pairs))


def export(
    run: OneRun,
    place: Annotated[Path, typer.Argument(help="A folder to make (peft), or a file such as p.npy.")],
    to: Annotated[str, typer.Option(help="peft, npy or safetensors")] = "peft",
    which: Which = "final",
    runs_dir: RunsDir = Path("runs"),
) -> None:
    """Write a trained prompt where other tools read it, such as a PEFT adapter."""
    from rankprobe.runs import find_run
    from rankprobe.training.trained import export_run

    typer.echo(str(export_run(find_run(run, runs_dir), place, to, which=checked_which(which))))


def _texts(lines: Iterable[str]) -> Iterable[Any]:
    number = 1
    try:
        for line in lines:
            text = line.strip()
            if number == 1 and text.encode().startswith(POINTER):
                raise RankprobeError("standard input is a Git LFS pointer; run git lfs pull")
            if not text:
                raise RankprobeError(f"line {number} is empty; expected a text, or a row of the task in JSON")
            text.encode()
            yield json.loads(text) if text.startswith("{") else text
            number += 1
    except (ValueError, RecursionError) as error:
        raise RankprobeError(f"line {number}: neither text in UTF-8 nor a row in JSON ({error})") from None


def checked_which(which: str) -> Any:
    """`which`, if it names a prompt of a run."""
    _check("which", which, ("final", "best"))
    return which


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RankprobeError(f"{name} is '{value}'; expected {' or '.join(known)}")
