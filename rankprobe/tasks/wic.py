"""Word in Context (Pilehvar and Camacho-Collados 2019): is the word used in the same sense twice?"""

from rankprobe.tasks.base import Task

WIC = Task(
    name="wic",
    folder="WiC",
    title="WiC",
    template="sentence1: {sentence1} sentence2: {sentence2} word: {word}",
    long_field="sentence1",
    keep="start",
    labels=("False", "True"),
    metrics=("accuracy",),
)
