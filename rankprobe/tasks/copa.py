"""Choice of Plausible Alternatives (Roemmele et al. 2011): choose the more plausible cause or effect.

The field `question` is `cause` or `effect`; the DPT authors' code leaves it out.
"""

from rankprobe.tasks.base import Task

COPA = Task(
    name="copa",
    folder="COPA",
    title="COPA",
    template="premise: {premise} choice1: {choice1} choice2: {choice2} question: {question}",
    long_field="premise",
    truncation_side="right",
    labels=("choice1", "choice2"),
    metrics=("accuracy",),
    authors_template="premise: {premise} choice1: {choice1} choice2: {choice2}",
)
