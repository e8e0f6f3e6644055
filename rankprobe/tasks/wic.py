"""Word in Context (Pilehvar and Camacho-Collados 2019): does a word have the same sense in both sentences?"""

from rankprobe.tasks.base import Task

WIC = Task(
    name="wic",
    folder="WiC",
    title="WiC",
    template="sentence1: {sentence1} sentence2: {sentence2} word: {word}",
    long_field="sentence1",
    truncation_side="right",
    labels=("False", "True"),
    metrics=("accuracy",),
)
