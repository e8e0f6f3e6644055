"""The manifest of a new run: its settings, backbone, data and environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rankprobe.config import RunConfig
from rankprobe.data import training_rows
from rankprobe.data.init_sources import method_notes
from rankprobe.rank import numerical_rank_rtol
from rankprobe.runs.provenance import now, provenance
from rankprobe.training.optimization import Optimization

if TYPE_CHECKING:
    from rankprobe.training.session import Session

DECISIVE = ("platform", "device", "processor", "cuda", "tf32", "instructions", "threads")
"""Entries of `machine` that can change the rounding of a result."""

FORMAT = 4
"""Of manifests. 4: several twins. 3: flat settings. 2: the run id hashes `RunConfig.identity`. 1: it hashes
every setting."""


SELECTION = {
    "all": "best is chosen and reported on the same validation rows; last is beside it",
    "half": "best is chosen on the selection half of the validation rows and reported on the report half",
}


CONTROLS = {
    "none": [],
    "shuffle-labels": ["control: trained on the labels of other rows, so nothing is to be learned"],
    "random-labels": ["control: trained on labels drawn at random, so nothing is to be learned"],
}


def new_manifest(config: RunConfig, session: Session, optimization: Optimization) -> dict[str, Any]:
    """The manifest of a run before its first step."""
    backbone, train, validation = session.backbone, session.train, session.eval_set.data
    n, d = config.method.prompt_length, backbone.d_model
    rows = training_rows(train.examples, config, config.seed)
    train_rows = [train.rows[row] for row in rows]
    trains_on_all = config.shots is None and config.train_half == "all"
    return {
        "format": FORMAT,
        "status": "running",
        "error": None,
        "updated": now(),
        "seed": config.seed,
        "config": config.flat(),
        "backbone": {
            "label": backbone.label,
            "source": backbone.source,
            "random_weights": backbone.random_weights,
            "revision": backbone.revision,
            "n_parameters": backbone.n_parameters(),
            "causal": backbone.causal,
            "fingerprint": session.backbone_fingerprint,
            "fingerprint_after": None,
        },
        "data": {
            "label": session.splits["train"].label,
            "source": session.splits["train"].source,
            "origin": {name: split.origin for name, split in session.splits.items()},
            "fingerprint": session.data_fingerprint,
            "tokens_fingerprint": session.tokens_fingerprint,
            "n_train": len(rows),
            "train_rows": None if trains_on_all else train_rows,
            "n_validation": len(validation),
            "n_shortened": len(train.shortened_rows & set(train_rows)) + len(validation.shortened_rows),
            "n_cut": len(train.cut_rows & set(train_rows)) + len(validation.cut_rows),
            "unknown_share": {"train": train.unknown_share, "validation": validation.unknown_share},
            "max_new_tokens": session.eval_set.max_new_tokens,
        },
        "trainable": {name: parameter.numel() for name, parameter in optimization.trained.items()},
        "trainable_parameters": sum(p.numel() for p in optimization.trained.values()),
        "progress": {"step": 0, "total_steps": session.total_steps},
        "timings": {},
        "numerical_rank_rtol": numerical_rank_rtol((n, d)) if n else None,
        "notes": [
            *method_notes(config.method, backbone),
            *session.task.notes(config.targets),
            *unknown_note(train.unknown_share, validation.unknown_share),
            *CONTROLS[config.control],
        ],
        "selection": SELECTION[config.report_split],
        **provenance(str(backbone.device)),
        "resumed": [],
    }


def unknown_note(train: float, validation: float) -> list[str]:
    """A note about text that the tokenizer cannot represent, from the shares of rows with such text."""
    if not train + validation:
        return []
    return [
        f"the tokenizer cannot represent part of the text in {_percent(train)} of the training rows and "
        f"{_percent(validation)} of the dev rows; the model sees its unknown piece there"
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


ELSEWHERE = "resumed elsewhere"
"""Start of the note that a run was resumed with other hardware, threads or versions."""


def with_note_of_resume(
    manifest: Mapping[str, Any], now_at: Mapping[str, Any], step: int, start_error: float
) -> list[str]:
    """The notes of a resumed run, with at most one note that the resume was on another machine.

    Args:
        manifest: of the run.
        now_at: the `provenance` of the resume.
        step: of the checkpoint.
        start_error: ‖ΔP0‖ / ‖P0‖ between the initial prompt made now and the one made at the start.
    """
    notes = list(manifest.get("notes", []))
    found = differences(manifest, now_at)
    if start_error:
        found.append(f"initial prompt differs by {start_error:.0e} of its norm")
    if found and not any(note.startswith(ELSEWHERE) for note in notes):
        notes.append(
            f"{ELSEWHERE} after step {step} ({', '.join(found)}); its later steps can differ from those of "
            "an uninterrupted run by rounding"
        )
    return notes


def differences(then: Mapping[str, Any], now_at: Mapping[str, Any]) -> list[str]:
    """The differences between the `provenance` of a resume and of the start: `name new, was old`."""
    found = []
    for part, names in (("process", ("host",)), ("machine", DECISIVE), ("versions", None)):
        old, new = then.get(part, {}), now_at[part]
        shared = [name for name in names or new if isinstance(old, Mapping) and name in old]
        found += [f"{name} {new[name]}, was {old[name]}" for name in shared if old[name] != new[name]]
    return found
