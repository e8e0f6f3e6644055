"""Answers of trained prompts to new texts."""

from __future__ import annotations

from collections.abc import Sequence

from rankprobe.backbone import Backbone, decode
from rankprobe.config.folders import config_of
from rankprobe.data import Encoded, Ids, check_length, collate, cut, source_ids, task_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import (
    Which,
    answer_limit,
    backbone_of,
    check_backbone,
    load_prompt,
    sharing_a_pass,
)
from rankprobe.runs import Run
from rankprobe.tasks import Row, Split


def predict(
    requests: Sequence[tuple[Run, str | Row]],
    *,
    which: Which = "final",
    max_new_tokens: int | None = None,
    device: str | None = None,
) -> list[str]:
    """Answer texts, each with the prompt of its own run; texts of several runs share a pass.

    Args:
        requests: pairs of a finished run and a source text (as the template of its task writes it) or a row
            of its task (the label may be missing). A row that is too long loses words of its long field, as
            in training; a text that is too long is cut at its end.
        which: `final`, or `best` (by dev score).
        max_new_tokens: tokens of an answer; default: as in the run's training (the longest label, or without
            labels the longest training target).
        device: default: the device of each run's training.

    Raises:
        RankprobeError: an unfinished run, other weights than in its training, or a row that does not fit its
            task (`line` counts the requests from 1).
    """
    runs = list({run.path: run for run, _ in requests}.values())
    answers = [""] * len(requests)
    for group in sharing_a_pass(runs):
        members = {runs[i].path: runs[i] for i in group}
        config = config_of(runs[group[0]])
        backbone = backbone_of(config, device)
        check_backbone(runs[group[0]], backbone)
        prompt_inputs = {path: load_prompt(run, backbone, which) for path, run in members.items()}
        limits = {path: max_new_tokens or answer_limit(run, backbone) for path, run in members.items()}
        path_of = {i: run.path for i, (run, _) in enumerate(requests) if run.path in members}
        ids = {i: _source_ids(backbone, *requests[i], f"line {i + 1}") for i in path_of}
        order = sorted(path_of, key=lambda i: len(ids[i]))
        data = Encoded([], [], [ids[i] for i in order], [[0]] * len(order), max(limits.values()))
        check_length(backbone, config.method.prompt_length, [data.size])
        for start in range(0, len(order), config.batch_size):
            chunk = range(start, min(start + config.batch_size, len(order)))
            rows = {path: [at for at in chunk if path_of[order[at]] == path] for path in members}
            paths = [path for path in rows if rows[path]]
            batch = collate(
                data, [rows[path] for path in paths], backbone.tokenizer.pad_token_id, backbone.device
            )
            prompts, max_tokens = [prompt_inputs[path] for path in paths], [limits[path] for path in paths]
            for path, texts in zip(paths, decode(backbone, prompts, batch, max_tokens), strict=True):
                for at, text in zip(rows[path], texts, strict=True):
                    answers[order[at]] = text
    return answers


def _source_ids(backbone: Backbone, run: Run, request: str | Row, where: str) -> Ids:
    """The tokens of a request, at most `max_source_length` of the run."""
    config = config_of(run)
    limit = config.max_source_length
    if isinstance(request, str):
        (ids,) = backbone.source_ids([request])
        return cut(ids, backbone, limit)
    task = task_of(config)
    examples = task.examples({**task.placeholder(), **request}, where)
    if len(examples) != 1:
        raise RankprobeError(f"{where}: has {len(examples)} questions; expected one")
    (ids,), _, _ = source_ids(Split(task, "request", "request", where, examples), backbone, limit)
    return ids
