"""Choice of Plausible Alternatives (Roemmele et al. 2011): the more plausible cause or effect.

The `question` field says which of the two is asked for; the DPT authors' code drops it.
"""

from rankprobe.tasks.base import Task

COPA = Task(
    name="copa",
    folder="COPA",
    title="COPA",
    template="premise: {premise} choice1: {choice1} choice2: {choice2} question: {question}",
    long_field="premise",
    keep="start",
    labels=("choice1", "choice2"),
    metrics=("accuracy",),
    authors_template="premise: {premise} choice1: {choice1} choice2: {choice2}",
)
