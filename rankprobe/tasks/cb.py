"""CommitmentBank (de Marneffe et al. 2019): does the premise commit its author to the hypothesis?"""

from rankprobe.tasks.base import Task

CB = Task(
    name="cb",
    folder="CB",
    title="CB",
    template="premise: {premise} hypothesis: {hypothesis}",
    long_field="premise",
    truncation_side="left",  # the clause that matters is the last of the premise
    labels=("entailment", "contradiction", "neutral"),
    metrics=("accuracy", "macro_f1"),
)
