"""Recognizing Textual Entailment (Dagan et al. 2006 and its successors)."""

from rankprobe.tasks.base import Task

RTE = Task(
    name="rte",
    folder="RTE",
    title="RTE",
    template="premise: {premise} hypothesis: {hypothesis}",
    long_field="premise",
    truncation_side="right",
    labels=("entailment", "not_entailment"),
    metrics=("accuracy",),
)
