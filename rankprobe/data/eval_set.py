"""The evaluation set: a tokenised split, and the ways of answering it that are scored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rankprobe.backbone import Backbone
from rankprobe.config.sections import TaskConfig
from rankprobe.data.encoding import Encoded, encode, token_ids
from rankprobe.data.subsets import dev_parts
from rankprobe.errors import RankprobeError
from rankprobe.tasks import Split, Task, baseline_scores, get_task, load_split


@dataclass(frozen=True)
class EvalSet:
    """A split that prompts are scored on.

    Attributes:
        task: the task of the examples.
        data: the tokenised examples.
        targets: the label texts, as in `TaskConfig`.
        scoring: `greedy`, `rank`, or both; the first one selects the best prompt.
        parts: row numbers of the examples that are scored together, by name; the first part selects the best
            prompt.
        max_new_tokens: maximum length of a decoded answer; it does not depend on the examples.
    """

    task: Task
    data: Encoded
    targets: str
    scoring: tuple[str, ...]
    parts: dict[str, list[int]]
    max_new_tokens: int

    @cached_property
    def baseline(self) -> dict[str, dict[str, float]]:
        """The best score of a constant answer, per part and metric; see `baseline_scores`."""
        return {
            part: baseline_scores(self.task, [self.data.examples[row] for row in rows], self.targets)
            for part, rows in self.parts.items()
        }

    @property
    def size(self) -> tuple[int, int]:
        """Tokens of the longest text, and of the longest answer that may be decoded or is ranked."""
        ranked = self.data.max_answer_length if "rank" in self.scoring else 0
        return max(self.data.lengths), max(self.max_new_tokens, ranked)

    @property
    def selection(self) -> str:
        """The name of the part that selects the best prompt."""
        return next(iter(self.parts))


def task_of(config: TaskConfig) -> Task:
    """The task, with the template that the config asks for."""
    task = get_task(config.task)
    return task.as_authors() if config.template == "authors" else task


def max_answer_length(config: TaskConfig, backbone: Backbone) -> int:
    """Tokens of the longest answer that training uses, which limits the length of decoded answers.

    This is the longest label, or for a task with free answers the longest target of its training rows. The
    rows that are scored must not set the limit: it would reveal the length of their answers.
    """
    task = task_of(config)
    texts = task.answer_set(config.targets)
    if not texts:
        rows = load_split(task, "train", config.data).examples
        examples = (example for row in rows for example in task.training_examples(row))
        texts = [text for example in examples for text in example.answers]
    return max(map(len, token_ids(backbone.answer_ids, texts)))


def build_eval_set(config: TaskConfig, split: Split, backbone: Backbone, max_new_tokens: int) -> EvalSet:
    """Tokenise a split for scoring.

    Raises:
        RankprobeError: `scoring` is `rank` or `both`, and the task has no answer set.
    """
    task, targets = split.task, config.targets
    data = encode(split, backbone, targets, config.max_source_length, training=False)
    scoring = ("greedy", "rank") if config.scoring == "both" else (config.scoring,)
    if "rank" in scoring and not task.candidates(data.examples[0], targets):
        raise RankprobeError(f"{task.title} has no answer set to rank; use --scoring greedy")
    parts = {split.name: list(range(len(data)))}
    if split.name == "validation":
        parts = dev_parts(data.examples, config.report_split)
    return EvalSet(task, data, targets, scoring, parts, max_new_tokens)
