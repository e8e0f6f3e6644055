"""What a backbone scores on each task under its prefix: is the ability there at all?

`python -m experiments.pretrain.scores tiny` scores the bundled backbone on the bundled validation rows and
writes `tiny_scores.json` beside this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from experiments.miniature.rows import WRITERS
from experiments.pretrain.corpus import ANSWERS, prefixed, speaker, with_prefix
from rankprobe.bundled import BACKBONES, FOLDER
from rankprobe.tasks import TASKS, baseline_scores, load_split, score

HERE = Path(__file__).parent


def answers(model: Any, pieces: Any, sources: list[str]) -> list[str]:
    """Greedy answers, in batches."""
    texts: list[str] = []
    for start in range(0, len(sources), 100):
        batch = pieces(sources[start : start + 100], padding=True, return_tensors="pt").to(model.device)
        with torch.no_grad():
            tokens = model.generate(**batch, max_new_tokens=4, do_sample=False)
        texts += [text.strip() for text in pieces.batch_decode(tokens, skip_special_tokens=True)]
    return texts


def monitored(model: Any, pieces: Any, per_task: int) -> dict[str, float]:
    """Share of right answers per task, while pretraining, on fresh rows of the validation side.

    With the task's own answer words, and as `<task>_any` with others.
    """
    model.eval()
    shares = {}
    for name in WRITERS:
        for suffix, own in (("", True), ("_any", False)):
            say = speaker("scores", "val")
            pairs = [prefixed(say, name, own) for _ in range(per_task)]
            given = answers(model, pieces, [p.source for p in pairs])
            right = sum(text == p.target for text, p in zip(given, pairs, strict=True))
            shares[name + suffix] = 100 * right / per_task
    model.train()
    return shares


def scores(model: Any, pieces: Any) -> dict[str, dict[str, float]]:
    """Each task's metrics on the bundled validation rows, beside the majority's."""
    table = {}
    for name, task in TASKS.items():
        examples = load_split(task, "validation", "bundled-500").examples
        options = ANSWERS.get(name, ())
        given = answers(model, pieces, [with_prefix(name, task.source(e.fields), options) for e in examples])
        labels = dict(zip(options, task.labels, strict=True)) if options else {}
        found = score(task, examples, [labels.get(text, text) for text in given], "words")
        majority = baseline_scores(task, examples, "words")
        table[name] = found.values | {f"majority_{metric}": value for metric, value in majority.items()}
    return table


def main() -> None:
    from rankprobe.backbone import load_backbone

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=BACKBONES)
    size = parser.parse_args().size
    backbone = load_backbone(size)
    weights = (FOLDER / size / "model.safetensors").read_bytes()
    found = {
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "megabytes": round(len(weights) / 1e6, 1),
        "parameters": backbone.n_parameters(),
        "scores": scores(backbone.model, backbone.tokenizer),
    }
    (HERE / f"{size}_scores.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
