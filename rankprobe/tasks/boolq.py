"""BoolQ (Clark et al. 2019): yes-or-no questions about a passage."""

from rankprobe.tasks.base import Task

BOOLQ = Task(
    name="boolq",
    folder="BoolQ",
    title="BoolQ",
    template="question: {question} passage: {passage}",
    long_field="passage",
    keep="start",
    labels=("False", "True"),
    metrics=("accuracy",),
)
