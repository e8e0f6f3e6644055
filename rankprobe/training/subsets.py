"""Parts of a split: the few training rows of a few-shot run, and the halves of a held-back dev split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankprobe.errors import RankprobeError
from rankprobe.tasks import Example
from rankprobe.training.batching import Ids
from rankprobe.training.config import TaskConfig
from rankprobe.training.seeding import numpy_generator


def training_rows(examples: Sequence[Example], task: TaskConfig, seed: int) -> list[int]:
    """The training examples of a run: all, or `shots` of them, in rising order.

    Drawn from seed and stream only, so every method gets the same rows at the same seed (paper, section
    5.2: 8, 16 or 32 in total, not balanced). `balanced` draws as evenly over the labels as `shots` allows.

    Raises:
        RankprobeError: more shots than there are examples, or than there are of a label.
    """
    if task.shots is None:
        return list(range(len(examples)))
    order = numpy_generator(seed, "shots").permutation(len(examples)).tolist()
    if not task.balanced:
        if task.shots > len(examples):
            raise RankprobeError(f"shots is {task.shots}, and there are {len(examples)} training examples")
        return sorted(order[: task.shots])
    if len({example.label for example in examples}) < 2:
        raise RankprobeError("balanced draws evenly over labels, and the training rows have fewer than two")
    by_label: dict[int, list[int]] = {}
    for row in order:
        by_label.setdefault(examples[row].label, []).append(row)
    share, rest = divmod(task.shots, len(by_label))
    chosen: list[int] = []
    for place, label in enumerate(sorted(by_label)):
        wanted = share + (place < rest)
        if wanted > len(by_label[label]):
            raise RankprobeError(
                f"shots is {task.shots}, balanced: {wanted} of label {label}, and there are "
                f"{len(by_label[label])}"
            )
        chosen += by_label[label][:wanted]
    return sorted(chosen)


def target_rows(targets: Sequence[Ids], rows: Sequence[int], control: str, seed: int) -> dict[int, int]:
    """For each of a run's training examples, the example whose target it is taught.

    Its own, with `none`. `shuffle-labels` gives the targets of the run's examples in random order: nothing
    can be learned about texts, and every label is as frequent as before. `random-labels` gives each example
    one of the different targets of the split, all of them equally likely. Dev rows keep their labels.
    Source: the controls of Zhang et al. (2017), "Understanding deep learning requires rethinking
    generalization", section 2.1.
    """
    if control == "none":
        return {row: row for row in rows}
    rng = numpy_generator(seed, "control")
    if control == "shuffle-labels":
        return dict(zip(rows, rng.permutation(rows).tolist(), strict=True))
    different = list({tuple(target): row for row, target in enumerate(targets)}.values())
    return dict(zip(rows, rng.choice(different, len(rows)).tolist(), strict=True))


def dev_parts(examples: Sequence[Example], report_split: str) -> dict[str, list[int]]:
    """Which dev examples choose the best prompt and which report it; the same in every run.

    `all` uses each for both (the paper does). `half` gives `selection` and `report`; the answers to one
    question stay together.
    """
    if report_split == "all":
        return {"validation": list(range(len(examples)))}
    groups: dict[object, list[int]] = {}
    for row, example in enumerate(examples):
        groups.setdefault(example.group or row, []).append(row)
    if len(groups) < 2:
        raise RankprobeError("report_split is half, and dev has a single question; use all")
    order = np.random.default_rng(0).permutation(len(groups)).tolist()
    units = list(groups.values())
    half = (len(units) + 1) // 2
    return {
        name: sorted(row for unit in part for row in units[unit])
        for name, part in (("selection", order[:half]), ("report", order[half:]))
    }
