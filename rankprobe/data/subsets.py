"""Parts of a split: few-shot training rows, targets of control runs, and the two halves of dev."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankprobe.config.sections import TaskConfig
from rankprobe.data.encoding import Ids
from rankprobe.data.seeding import numpy_generator
from rankprobe.errors import RankprobeError
from rankprobe.tasks import Example


def training_rows(examples: Sequence[Example], task: TaskConfig, seed: int) -> list[int]:
    """The numbers of a run's training examples, ascending: all, a half, or `shots` of either.

    The draw depends only on the seed, so every method gets the same examples at the same seed (paper,
    section 5.2: 8, 16 or 32 in total, not balanced). With `balanced`, labels are as equally frequent as
    `shots` allows. The halves are the same for all seeds and have no example in common; they are of one size,
    so an example may be in neither.

    Raises:
        RankprobeError: `shots` is larger than the number of examples (with `balanced`: than a label's
            examples allow), `balanced` and fewer than two labels, or a half of a single question.
    """
    rows = list(range(len(examples)))
    if task.train_half != "all":
        problem = f"train_half is {task.train_half}, but the training rows have"
        first, second = _halves(examples, problem)
        size = min(len(first), len(second))
        rows = sorted((first if task.train_half == "first" else second)[:size])
    if task.shots is None:
        return rows
    order = [rows[i] for i in numpy_generator(seed, "shots").permutation(len(rows))]
    if not task.balanced:
        if task.shots > len(rows):
            raise RankprobeError(f"shots is {task.shots}, but there are {len(rows)} training examples")
        return sorted(order[: task.shots])
    if len({examples[row].label for row in rows}) < 2:
        raise RankprobeError("--balanced needs two or more labels in the training rows")
    by_label: dict[int, list[int]] = {}
    for row in order:
        by_label.setdefault(examples[row].label, []).append(row)
    share, rest = divmod(task.shots, len(by_label))
    chosen: list[int] = []
    for i, label in enumerate(sorted(by_label)):
        count = share + (i < rest)
        if count > len(by_label[label]):
            raise RankprobeError(
                f"shots is {task.shots}, balanced: {count} examples of label {label} needed, but there are "
                f"{len(by_label[label])}"
            )
        chosen += by_label[label][:count]
    return sorted(chosen)


def target_rows(targets: Sequence[Ids], rows: Sequence[int], control: str, seed: int) -> dict[int, int]:
    """For each of a run's training examples, the example whose target it is trained on.

    Source: the controls of Zhang et al. (2017), "Understanding deep learning requires rethinking
    generalization", section 2.1. Dev rows keep their labels.

    Args:
        targets: target ids of all training examples.
        rows: numbers of the run's training examples.
        control: `none`: each example has its own target.
            `shuffle-labels`: the targets of the run's examples in random order. Texts say nothing about them,
            and label frequencies do not change.
            `random-labels`: one of the distinct targets in `targets`, all equally likely.
        seed: of the run.
    """
    if control == "none":
        return {row: row for row in rows}
    rng = numpy_generator(seed, "control")
    if control == "shuffle-labels":
        return dict(zip(rows, rng.permutation(rows).tolist(), strict=True))
    distinct = list({tuple(target): row for row, target in enumerate(targets)}.values())
    return dict(zip(rows, rng.choice(distinct, len(rows)).tolist(), strict=True))


def dev_parts(examples: Sequence[Example], report_split: str) -> dict[str, list[int]]:
    """The dev examples that select the best prompt and those that report its score; the same in every run.

    Args:
        examples: the dev examples.
        report_split: `all` uses every example for both, in the part `validation` (as the paper does). `half`
            gives the parts `selection` and `report`; the answers to one question stay together.

    Raises:
        RankprobeError: `half`, and dev has a single question.
    """
    if report_split == "all":
        return {"validation": list(range(len(examples)))}
    first, second = _halves(examples, "report_split is half, but dev has")
    return {"selection": sorted(first), "report": sorted(second)}


def _halves(examples: Sequence[Example], problem: str) -> list[list[int]]:
    """Two random halves of the questions, the same in every run; the answers to one question stay together.

    Raises:
        RankprobeError: there is a single question; the message begins with `problem`.
    """
    questions = rows_by_question(examples)
    if len(questions) < 2:
        raise RankprobeError(f"{problem} a single question; use all")
    order = np.random.default_rng(0).permutation(len(questions)).tolist()
    half = (len(questions) + 1) // 2
    return [[row for i in part for row in questions[i]] for part in (order[:half], order[half:])]


def rows_by_question(examples: Sequence[Example]) -> list[list[int]]:
    """The rows of each question, in the order in which the questions first appear."""
    groups: dict[object, list[int]] = {}
    for row, example in enumerate(examples):
        groups.setdefault(example.group or row, []).append(row)
    return list(groups.values())
