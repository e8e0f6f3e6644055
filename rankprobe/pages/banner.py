"""What a report is of: data, model, seeds, dates, versions, and caveats before the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rankprobe.runs import Run

MAX_LISTED = 8
"""Values of one fact that are listed; the others are counted."""

LIBRARIES = ("rankprobe", "torch", "transformers")


def facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Name and value of each fact about the runs."""
    manifests = [run.manifest for run in runs]
    configs = [manifest["config"] for manifest in manifests]
    statuses = [run.status for run in runs]
    counted = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
    days = sorted({str(manifest.get("started", ""))[:10] for manifest in manifests} - {""})
    versions = [manifest.get("versions", {}) for manifest in manifests]
    listed = {
        "Runs" if len(runs) > 1 else "Run": ", ".join(counted)
        if len(runs) > 1
        else f"{runs[0].id} ({statuses[0]})",
        "Method": _some(config.get("method") for config in configs),
        "Data": _data([manifest["data"] for manifest in manifests]),
        "Model": _some(manifest["backbone"]["label"] for manifest in manifests),
        "Prompt length": _some(config.get("prompt_length") for config in configs),
        "Seeds": _some(sorted({config["seed"] for config in configs})),
        "Trained": " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
        "Versions": _some(
            ", ".join(f"{name} {own[name]}" for name in LIBRARIES if name in own) for own in versions
        ),
        "Device": _some(_device(manifest) for manifest in manifests),
    }
    return [(name, value) for name, value in listed.items() if value]


def warnings_of(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before the numbers, one sentence each."""
    manifests = [run.manifest for run in runs]
    found = {
        "The data are miniature tasks of rankprobe's own, not SuperGLUE.": [
            manifest["data"]["source"] == "bundled" for manifest in manifests
        ],
        "The model has random weights, so nothing here is a result about a language model.": [
            manifest["backbone"]["random_weights"] for manifest in manifests
        ],
        "The labels were shuffled or drawn at random, so the training has no task (a null control).": [
            manifest["config"].get("control", "none") != "none" for manifest in manifests
        ],
        "Training is not finished; readings are those of the last logged step.": [
            run.status != "finished" for run in runs
        ],
    }
    sentences = []
    for sentence, holds in found.items():
        count = sum(map(bool, holds))
        if count:
            sentences.append(sentence if count == len(runs) else f"{count} of {len(runs)} runs: {sentence}")
    return sentences


def _data(data: Sequence[dict[str, Any]]) -> str:
    """The labels of the data; of a single label, also its numbers of rows."""
    if len({each["label"] for each in data}) > 1:
        return _some(each["label"] for each in data)
    rows = _some(f"{each['n_train']} training and {each['n_validation']} dev rows" for each in data)
    return f"{data[0]['label']}, {rows}"


def _device(manifest: dict[str, Any]) -> str:
    machine, config = manifest.get("machine", {}), manifest["config"]
    return f"{machine.get('device', config.get('device'))}, weights in {config.get('dtype')}"


def _some(values: Iterable[Any]) -> str:
    """The distinct values as a list, at most `MAX_LISTED`."""
    distinct = list(dict.fromkeys(str(value) for value in values if value not in (None, "")))
    more = f"; and {len(distinct) - MAX_LISTED} more" if len(distinct) > MAX_LISTED else ""
    separator = "; " if any("," in value for value in distinct) else ", "
    return separator.join(distinct[:MAX_LISTED]) + more
