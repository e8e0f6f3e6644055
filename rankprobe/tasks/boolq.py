"""BoolQ (Clark et al. 2019): yes/no questions about a passage."""

from rankprobe.tasks.base import Task

BOOLQ = Task(
    name="boolq",
    folder="BoolQ",
    title="BoolQ",
    template="question: {question} passage: {passage}",
    long_field="passage",
    truncation_side="right",
    labels=("False", "True"),
    metrics=("accuracy",),
)
