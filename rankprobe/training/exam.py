"""What prompts are scored on: a split, tokenised, and the ways of answering it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rankprobe.backbone import Backbone
from rankprobe.errors import RankprobeError
from rankprobe.tasks import Split, Task, get_task, load_split, majority_scores
from rankprobe.training.batching import Encoded, encode, token_ids
from rankprobe.training.config import TaskConfig
from rankprobe.training.subsets import dev_parts


@dataclass(frozen=True)
class Exam:
    """A split to be answered.

    Attributes:
        task: whose examples they are.
        data: the examples, tokenised.
        targets: the label texts, as in `TaskConfig`.
        scoring: `greedy`, `rank`, or both; the first chooses the best prompt.
        parts: which examples are scored together, by name; the first part chooses the best prompt.
        max_new_tokens: how long a decoded answer may get; it does not depend on the examples.
    """

    task: Task
    data: Encoded
    targets: str
    scoring: tuple[str, ...]
    parts: dict[str, list[int]]
    max_new_tokens: int

    @cached_property
    def majority(self) -> dict[str, dict[str, float]]:
        """What can be scored without reading, per part and metric."""
        return {
            part: majority_scores(self.task, [self.data.examples[row] for row in rows], self.targets)
            for part, rows in self.parts.items()
        }

    @property
    def size(self) -> tuple[int, int]:
        """Tokens of the longest text, and of the longest answer that may be decoded or is ranked."""
        ranked = self.data.longest_label if "rank" in self.scoring else 0
        return max(self.data.lengths), max(self.max_new_tokens, ranked)

    @property
    def selection(self) -> str:
        """The part that chooses the best prompt."""
        return next(iter(self.parts))


def task_of(config: TaskConfig) -> Task:
    """The task in the form that the config asks for."""
    task = get_task(config.name)
    return task.as_authors() if config.form == "authors" else task


def longest_answer(config: TaskConfig, backbone: Backbone) -> int:
    """Tokens of the longest answer that training teaches, which is how long a decoded answer may get.

    That is the longest label, or for a task with free answers the longest target of its training rows. The
    rows that are scored must not set this limit: it would tell how long their answers are.
    """
    task = task_of(config)
    texts = task.answer_set(config.targets)
    if not texts:
        rows = load_split(task, "train", config.data).examples
        texts = [text for example in rows for lesson in task.lessons(example) for text in lesson.answers]
    return max(map(len, token_ids(backbone.answer_ids, texts)))


def set_exam(config: TaskConfig, split: Split, backbone: Backbone, max_new_tokens: int) -> Exam:
    """Tokenise a split for scoring.

    Raises:
        RankprobeError: the task has no set of answers to rank.
    """
    task, targets = split.task, config.targets
    data = encode(split, backbone, targets, config.max_source_length, lessons=False)
    scoring = ("greedy", "rank") if config.answers == "both" else (config.answers,)
    if "rank" in scoring and not task.candidates(data.examples[0], targets):
        raise RankprobeError(f"{task.title} has no set of answers to rank; use --answers greedy")
    parts = {split.name: list(range(len(data)))}
    if split.name == "validation":
        parts = dev_parts(data.examples, config.report_split)
    return Exam(task, data, targets, scoring, parts, max_new_tokens)
