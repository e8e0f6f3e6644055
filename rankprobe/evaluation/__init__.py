"""A prompt at work: load it, score it, answer with it, truncate it.

The modules:

    load         backbone and prompt of a finished run
    scoring      answers and scores of K prompts in one pass; training uses it at each evaluation
    evaluate     scores of finished runs, alone or by majority vote
    prediction   answers to new texts
    truncation   scores with only some singular directions: the rank that a prompt uses
    sensitivity  the gradient of the training loss at a trained prompt
    neighbors    the vocabulary nearest to each prompt token
    export       a prompt in the formats of other tools
"""

from rankprobe.config.folders import config_of
from rankprobe.evaluation.evaluate import evaluate_runs
from rankprobe.evaluation.export import export_run
from rankprobe.evaluation.load import (
    Which,
    answer_limit,
    backbone_of,
    check_backbone,
    load_prompt,
    on_this_machine,
    with_template,
)
from rankprobe.evaluation.neighbors import neighbors
from rankprobe.evaluation.prediction import predict
from rankprobe.evaluation.scoring import answer, evaluate_prompts, score_answers
from rankprobe.evaluation.truncation import Truncation, functional_rank, resampled, save_truncation, truncate

__all__ = [
    "Truncation",
    "Which",
    "answer",
    "answer_limit",
    "backbone_of",
    "check_backbone",
    "config_of",
    "evaluate_prompts",
    "evaluate_runs",
    "export_run",
    "functional_rank",
    "load_prompt",
    "neighbors",
    "on_this_machine",
    "predict",
    "resampled",
    "save_truncation",
    "score_answers",
    "truncate",
    "with_template",
]
