"""The model card of an exported prompt: what it is, what it scores, which rank it has, and how to load it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rankprobe import __version__
from rankprobe.config import RunConfig
from rankprobe.config.folders import config_of
from rankprobe.data.eval_set import task_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.export import check_exportable
from rankprobe.hub import HUB
from rankprobe.reports.findings import findings
from rankprobe.reports.readings import analyze
from rankprobe.runs import Run
from rankprobe.runs.task_rank import read_task_rank
from rankprobe.settings import Settings
from rankprobe.tasks import TASKS
from rankprobe.text import markdown, plain, plain_lines
from rankprobe.twins import TWINS, twin_prefix

MEASURES = {
    "numerical_rank": "numerical rank",
    "erank_rv": "effective rank",
    "stable_rank": "stable rank",
    "energy_90": "energy-90",
    "signflip_edge": "directions above the sign-flip edge",
}
"""The measures of the table of readings, with their names there."""

SCORINGS = {"greedy": ", decoded", "rank": ", likeliest label"}
"""How the answers of a score were found."""

CITATION = f"""@inproceedings{{xiao2023decomposed,
  title     = {{Decomposed Prompt Tuning via Low-Rank Reparameterization}},
  author    = {{Xiao, Yao and Xu, Lu and Li, Jiaxi and Lu, Wei and Li, Xiaoli}},
  booktitle = {{Findings of the Association for Computational Linguistics: EMNLP 2023}},
  year      = {{2023}},
  doi       = {{10.18653/v1/2023.findings-emnlp.890}}
}}

@software{{rankprobe,
  title   = {{rankprobe: measuring the intrinsic rank of soft prompts}},
  author  = {{{{The authors of rankprobe}}}},
  version = {{{__version__}}}
}}"""
"""BibTeX of the paper and of rankprobe, as CITATION.cff says."""


class EvalRow(Settings, extra="ignore"):
    """A score in the log of evaluations, in percent; numbers that are missing are None."""

    step: int
    split: str
    metric: str
    scoring: str | None = None
    value: float | None
    baseline: float | None
    n_examples: int | None
    n_invalid: int | None


def model_card(run: Run, *, which: str = "final", hub_id: str | None = None, folder: str = "DIR") -> str:
    """Write the model card of a run's prompt, in Markdown, with the metadata of the Hugging Face hub on top.

    The license is left to the user. The metadata have no score, as a score there would be without its
    baseline. A model or data of this machine are named without their paths.

    Args:
        run: a finished run.
        which: the prompt that is exported: `final` or `best`.
        hub_id: the repository that the adapter is loaded from; None: `folder`.
        folder: the folder of the adapter, as the card names it.

    Raises:
        RankprobeError: the manifest or the prompt cannot be read, or the run trained more than a prompt.
    """
    check_exportable(run)
    manifest = run.manifest
    model, data = _model_name(manifest), markdown(_label(manifest["data"]["label"]))
    parts = [
        f"# Soft prompt for {data} on {markdown(model)}",
        _about(run, manifest, which, model, data),
        "## Score",
        _scores(run, manifest, which),
        "## Rank",
        *_ranks(run, which),
        "## Use it",
        *_usage(run, manifest, hub_id, folder),
        "## Cite",
        "Please cite rankprobe, and the paper whose probe it trains "
        "([Xiao et al., 2023](https://doi.org/10.18653/v1/2023.findings-emnlp.890)):",
        _code("bibtex", CITATION),
    ]
    return _metadata(run, manifest) + "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _label(label: str) -> str:
    """A label without the folders of a path of this machine."""
    return Path(label).name if label.startswith(("/", "~", ".")) else label


def _model_name(manifest: Mapping[str, Any]) -> str:
    """The label of the model; random weights and rankprobe's own models are called so."""
    backbone = manifest["backbone"]
    label = _label(str(backbone["label"]))
    return f"{label} (random weights)" if backbone["random_weights"] and "random" not in label else label


def _metadata(run: Run, manifest: Mapping[str, Any]) -> str:
    """The YAML block of the hub. It accepts models of the hub only as base models."""
    keys: dict[str, Any] = {"library_name": "peft"}
    if manifest["backbone"].get("source") == "hub":
        keys |= {"base_model": config_of(run).model, "base_model_relation": "adapter"}
    keys["tags"] = ["soft-prompt", "prompt-tuning", "rankprobe"]
    if metrics := _metric_names(run):
        keys["metrics"] = metrics
    lines = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
    return f"---\n{lines}# license: yours to choose, such as apache-2.0\n---\n"


def _metric_names(run: Run) -> list[str]:
    return list(dict.fromkeys(row.metric for row in _evals(run) or []))


def _evals(run: Run) -> list[EvalRow] | None:
    """The rows of the log of evaluations; None if it cannot be read."""
    try:
        log = run.log("evals").astype(object)
        rows: Any = log.where(log.notna(), None).to_dict("records")
        return [EvalRow.parse(row) for row in rows]
    except (RankprobeError, TypeError):
        return None


def _about(run: Run, manifest: Mapping[str, Any], which: str, model: str, data: str) -> str:
    """A table of what the prompt is, and how it was trained."""
    config, source, progress = config_of(run), manifest["data"], manifest["progress"]
    n, d = run.prompt(which).shape
    step = progress.get("best_step") if which == "best" else progress["step"]
    chosen = "the best dev score" if which == "best" else "the last step"
    ours = " (a miniature of ours, not SuperGLUE)" if source["source"] == "bundled" else ""
    versions = manifest.get("versions")
    version = versions.get("rankprobe") if isinstance(versions, Mapping) else None
    rows = {
        "task": f"{data}{ours}, {source['n_train']} training rows, {source['n_validation']} dev rows",
        "model": f"{markdown(model)}, frozen",
        "prompt": f"{n} tokens × {d} dimensions, before the embeddings of the text",
        "method": f"{markdown(config.method.name)}, seed {config.seed}, "
        f"{manifest['trainable_parameters']:,} numbers trained",
        "from": f"step {step} of {progress['total_steps']} ({chosen})",
        "trained with": f"rankprobe {markdown(version)}" if version else "rankprobe",
    }
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _scores(run: Run, manifest: Mapping[str, Any], which: str) -> str:
    """Every dev score of the exported prompt next to its baseline, and what it was chosen on."""
    evals = _evals(run)
    if evals is None:
        return "The scores of the run cannot be read."
    if not evals:
        return "The run has no scores."
    split = "report" if any(row.split == "report" for row in evals) else "validation"
    last = max(row.step for row in evals)
    step = manifest["progress"].get("best_step") if which == "best" else last
    lines = [
        f"| {markdown(row.metric)}{SCORINGS.get(row.scoring or '', '')} | {_percent(row.value)} | "
        f"{_percent(row.baseline)} | {_count(row.n_examples)} | {_count(row.n_invalid)} |"
        for row in evals
        if (row.step, row.split) == (step, split)
    ]
    half = split == "report"
    of = "the held-back half of dev, on which nothing was chosen" if half else "dev"
    text = f"In percent, on {of}. The baseline is the best score of answers that do not depend on the text."
    if which == "best" and not half:
        text += " The step was chosen on these rows, so the scores are biased upwards."
    table = ["| metric | score | baseline | rows | invalid answers |", "|---|---|---|---|---|", *lines]
    return f"{text}\n\n" + "\n".join(table)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)


def _ranks(run: Run, which: str) -> Iterator[str]:
    """The rank that is present, with its nulls and the words of its verdict; used; needed by the task."""
    try:
        sentences = findings([run], advise=False, which=which)
        table = _readings(run, which)
        needed = read_task_rank(run)
    except RankprobeError:
        yield "The logs of the run cannot be read, so its readings are not given."
        return
    if which == "best":
        yield (
            "Sentences that do not name the best prompt are about the prompt of the last step. The table is "
            "about the exported prompt."
        )
    yield "\n".join(f"- {markdown(sentence)}" for sentence in sentences)
    yield table
    yield (
        "Sign-flip: the mean of 20 copies of P with random signs. P0: the prompt before training. Twins: the "
        "same prompt with the same optimizer, trained on gradients as large as the real ones that carry no "
        "task. A reading close to its nulls says nothing about the task."
    )
    yield needed.sentence if needed else "The rank that the task needs was not measured."


def _readings(run: Run, which: str) -> str:
    """The measures of P next to their nulls."""
    table = analyze([run.path])
    chosen = table[(table["prompt"] == which) & (table["matrix"] == "P")].set_index("measure")
    nulls = {"signflip": "sign-flip", "P0": "P0"}
    nulls |= {twin_prefix(kind).removesuffix("_"): title for kind, title in TWINS.items()}
    nulls = {name: title for name, title in nulls.items() if name in chosen and chosen[name].notna().any()}
    titles = ["measure", "P", *nulls.values()]
    lines = [
        f"| {title} | " + " | ".join(_number(chosen.loc[name, column]) for column in ("value", *nulls)) + " |"
        for name, title in MEASURES.items()
    ]
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *lines])


def _number(value: Any) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"


def _usage(run: Run, manifest: Mapping[str, Any], hub_id: str | None, folder: str) -> Iterator[str]:
    """How to load the prompt with PEFT and with rankprobe, and what its texts look like."""
    config, backbone = config_of(run), manifest["backbone"]
    yield from _input(config)
    yield from _with_peft(config, manifest, hub_id or folder)
    place = shlex.quote(plain(f"{HUB}{hub_id}" if hub_id else folder))
    model = "MODEL" if backbone.get("source") == "folder" else config.model
    start = [
        "rankprobe train --method vanilla --init saved",
        f"--init-from {place} --prompt-length {config.method.prompt_length}",
        f"--task {config.task if config.task in TASKS else 'TASK'} --model {shlex.quote(plain(model))}",
    ]
    yield "With rankprobe, to measure it and to train on from it:"
    yield _code("console", f"rankprobe analyze {place}\n" + " \\\n    ".join(start))


def _input(config: RunConfig) -> Iterator[str]:
    """The template of the source texts and the answers; nothing if the task is not at hand."""
    try:
        task = task_of(config)
        answers = task.answer_set(config.targets)
    except RankprobeError:
        return
    yield "Texts look as in training, with the fields of a row in place of the braces:"
    yield _code("text", plain_lines(task.template))
    if answers:
        meanings = zip(answers, task.labels, strict=True)
        pairs = (answer if answer == label else f"{answer} ({label})" for answer, label in meanings)
        yield f"Answers: {markdown(', '.join(pairs))}."


def _with_peft(config: RunConfig, manifest: Mapping[str, Any], place: str) -> Iterator[str]:
    """A Python program that answers a text; with notes on what PEFT does otherwise."""
    backbone, limit = manifest["backbone"], manifest["data"].get("max_new_tokens")
    limit = limit if isinstance(limit, int) else 10  # manifests of earlier versions lack it
    if backbone["random_weights"]:
        yield "PEFT cannot load this model: rankprobe draws its weights at random."
        return
    kind = "CausalLM" if backbone.get("causal") else "Seq2SeqLM"
    lines = ["from peft import PeftModel", f"from transformers import AutoModelFor{kind}, AutoTokenizer", ""]
    source = backbone.get("source")
    if source == "hub":
        lines.append(f"base = {json.dumps(config.model)}")
    elif source == "folder":
        lines.append(f"base = {json.dumps(Path(config.model).name)}  # the folder of the model")
    else:  # rankprobe's own models, and files that transformers does not read as they are
        name = json.dumps(Path(config.model).name)
        lines[1:1] = ["from rankprobe.backbone import location"]
        lines.append(f"base = location({name})")
    encode = (
        'tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True,\n'
        '                                       return_dict=True, return_tensors="pt")'
        if config.template == "chat"
        else 'tokenizer(text, return_tensors="pt")'
    )
    pieces = json.dumps(_label(config.tokenizer)) if config.tokenizer else "base"
    lines += [
        f"tokenizer = AutoTokenizer.from_pretrained({pieces})",
        f"model = PeftModel.from_pretrained(AutoModelFor{kind}.from_pretrained(base), {json.dumps(place)})",
        'text = "…"',
        f"inputs = {encode}",
        f"answer = model.generate(**inputs, max_new_tokens={limit}, do_sample=False)[0]",
        *(['answer = answer[inputs["input_ids"].shape[1] :]'] if backbone.get("causal") else []),
        "print(tokenizer.decode(answer, skip_special_tokens=True))",
    ]
    yield "With PEFT:"
    yield _code("python", "\n".join(lines))
    if backbone.get("causal"):
        yield (
            "Give PEFT one text at a time: in a batch, it puts the padding between prompt and text, where "
            "there was none in training. If the tokenizer ends a text with its end-of-sequence token, leave "
            "that out."
        )


def _code(language: str, text: str) -> str:
    """A fenced block; the fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
