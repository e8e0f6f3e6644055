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
from rankprobe.config.folders import config_of
from rankprobe.data.eval_set import task_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.export import check_exportable
from rankprobe.hub import HUB
from rankprobe.reports.findings import findings
from rankprobe.reports.readings import analyze
from rankprobe.runs import Run
from rankprobe.runs.task_rank import read_task_rank
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

CITATION = """@software{rankprobe,
  title = {rankprobe: measuring the intrinsic rank of soft prompts},
  author = {{The authors of rankprobe}},
  version = {VERSION}
}"""
"""As CITATION.cff says."""


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
        _code("bibtex", CITATION.replace("VERSION", __version__)),
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
    config, backbone = manifest["config"], manifest["backbone"]
    on_hub = backbone.get("source") == "hub"
    keys: dict[str, Any] = {"library_name": "peft"}
    if on_hub:
        keys |= {"base_model": config["model"], "base_model_relation": "adapter"}
    keys["tags"] = ["soft-prompt", "prompt-tuning", "rankprobe"]
    metrics = _metric_names(run)
    if metrics:
        keys["metrics"] = metrics
    lines = yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)
    return f"---\n{lines}# license: yours to choose, such as apache-2.0\n---\n"


def _metric_names(run: Run) -> list[str]:
    try:
        evals = run.log("evals")
    except RankprobeError:
        return []
    return list(dict.fromkeys(map(str, evals["metric"]))) if "metric" in evals else []


def _about(run: Run, manifest: Mapping[str, Any], which: str, model: str, data: str) -> str:
    """A table of what the prompt is, and how it was trained."""
    config, source, progress = manifest["config"], manifest["data"], manifest["progress"]
    n, d = run.prompt(which).shape
    step = progress.get("best_step") if which == "best" else progress["step"]
    chosen = "the best dev score" if which == "best" else "the last step"
    ours = " (a miniature of ours, not SuperGLUE)" if source["source"] == "bundled" else ""
    version = manifest.get("versions", {}).get("rankprobe")
    rows = {
        "task": f"{data}{ours}, {source['n_train']} training rows, {source['n_validation']} dev rows",
        "model": f"{markdown(model)}, frozen",
        "prompt": f"{n} tokens × {d} dimensions, before the embeddings of the text",
        "method": f"{markdown(config['method'])}, seed {config['seed']}, "
        f"{manifest['trainable_parameters']:,} numbers trained",
        "from": f"step {step} of {progress['total_steps']} ({chosen})",
        "trained with": f"rankprobe {markdown(version)}" if version else "rankprobe",
    }
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _scores(run: Run, manifest: Mapping[str, Any], which: str) -> str:
    """Every dev score of the exported prompt next to its baseline, and what it was chosen on."""
    try:
        evals = run.log("evals")
    except RankprobeError:
        return "The scores of the run cannot be read."
    if "step" not in evals or evals.empty:
        return "The run has no scores."
    progress = manifest["progress"]
    half = "report" in set(evals["split"])
    step = progress.get("best_step") if which == "best" else evals["step"].max()
    rows = evals[(evals["step"] == step) & (evals["split"] == ("report" if half else "validation"))]
    lines = [
        f"| {markdown(row['metric'])}{_scoring(row)} | {row['value']:.1f} | {row['baseline']:.1f} | "
        f"{row['n_examples']:.0f} | {row['n_invalid']:.0f} |"
        for row in rows.to_dict("records")
    ]
    of = "the held-back half of dev, on which nothing was chosen" if half else "dev"
    text = f"In percent, on {of}. The baseline is the best score of answers that do not depend on the text."
    if which == "best" and not half:
        text += " The step was chosen on these rows, so the scores are biased upwards."
    table = ["| metric | score | baseline | rows | invalid answers |", "|---|---|---|---|---|", *lines]
    return f"{text}\n\n" + "\n".join(table)


def _scoring(row: Mapping[Any, Any]) -> str:
    """How answers were found: decoded, or the likeliest label."""
    return {"rank": ", likeliest label", "greedy": ", decoded"}.get(str(row.get("scoring")), "")


def _ranks(run: Run, which: str) -> Iterator[str]:
    """The rank that is present, with its nulls and the words of its verdict; used; needed by the task."""
    try:
        sentences = findings([run], advise=False)
        table = _readings(run, which)
        needed = read_task_rank(run)
    except RankprobeError:
        yield "The logs of the run cannot be read, so its readings are not given."
        return
    if which == "best":
        yield "The sentences are about the prompt of the last step, the table is about the exported prompt."
    yield "\n".join(f"- {markdown(sentence)}" for sentence in sentences)
    yield table
    yield (
        "Sign-flip: the mean of 20 copies of P with random signs. P0: the prompt before training. Twins: the same "
        "prompt with the same optimizer, trained on gradients as large as the real ones that carry no task. A "
        "reading close to its nulls says nothing about the task."
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
    config = manifest["config"]
    yield from _input(run)
    yield from _with_peft(manifest, hub_id or folder)
    place = shlex.quote(plain(f"{HUB}{hub_id}" if hub_id else folder))
    model = config["model"] if manifest["backbone"].get("source") != "folder" else "MODEL"
    start = [
        "rankprobe train --method vanilla --init saved",
        f"--init-from {place} --prompt-length {config['prompt_length']}",
        f"--task {config['task'] if config['task'] in TASKS else 'TASK'} --model {shlex.quote(plain(model))}",
    ]
    yield "With rankprobe, to measure it and to train on from it:"
    yield _code("console", f"rankprobe analyze {place}\n" + " \\\n    ".join(start))


def _input(run: Run) -> Iterator[str]:
    """The template of the source texts and the answers; nothing if the task is not at hand."""
    try:
        config = config_of(run)
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


def _with_peft(manifest: Mapping[str, Any], place: str) -> Iterator[str]:
    """A Python program that answers a text; with notes on what PEFT does otherwise."""
    backbone, config = manifest["backbone"], manifest["config"]
    if backbone["random_weights"]:
        yield "PEFT cannot load this model: rankprobe draws its weights at random."
        return
    kind = "CausalLM" if backbone.get("causal") else "Seq2SeqLM"
    lines = ["from peft import PeftModel", f"from transformers import AutoModelFor{kind}, AutoTokenizer", ""]
    source = backbone.get("source")
    if source == "hub":
        lines.append(f"base = {json.dumps(config['model'])}")
    elif source == "folder":
        lines.append(f"base = {json.dumps(Path(config['model']).name)}  # the folder of the model")
    else:  # rankprobe's own models, and files that transformers does not read as they are
        name = json.dumps(Path(config["model"]).name)
        lines[1:1] = ["from rankprobe.backbone import location"]
        lines.append(f"base = location({name})")
    chat = config.get("template") == "chat"
    encode = (
        'tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True,\n'
        '                                       return_dict=True, return_tensors="pt")'
        if chat
        else 'tokenizer(text, return_tensors="pt")'
    )
    new = manifest["data"].get("max_new_tokens") or 10
    pieces = json.dumps(_label(config["tokenizer"])) if config.get("tokenizer") else "base"
    lines += [
        f"tokenizer = AutoTokenizer.from_pretrained({pieces})",
        f"model = PeftModel.from_pretrained(AutoModelFor{kind}.from_pretrained(base), {json.dumps(place)})",
        'text = "…"',
        f"inputs = {encode}",
        f"answer = model.generate(**inputs, max_new_tokens={new}, do_sample=False)[0]",
        *(["answer = answer[inputs[\"input_ids\"].shape[1] :]"] if backbone.get("causal") else []),
        "print(tokenizer.decode(answer, skip_special_tokens=True))",
    ]
    yield "With PEFT:"
    yield _code("python", "\n".join(lines))
    if backbone.get("causal"):
        yield (
            "Give PEFT one text at a time: in a batch, it puts the padding between prompt and text, where there was "
            "none in training."
        )


def _code(language: str, text: str) -> str:
    """A fenced block; the fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


