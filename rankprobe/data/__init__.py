"""Rows to batches: tokenisation, shortening, batching, few-shot subsets, the evaluation set.

The modules:

    encoding      examples to token ids; long texts are shortened
    batching      the rows of each batch; padding
    subsets       few-shot rows, control targets, halves of dev
    eval_set      the rows that prompts are scored on
    description   counts, text lengths, baseline and examples of a task
    checks        whether model and tokenizer fit the rows
    init_sources  embeddings that prompts are initialised from
    seeding       random numbers as a function of seed, stream and step
"""

from rankprobe.data.batching import collate, epoch_batches
from rankprobe.data.checks import check_answers, check_length, check_tokenizer
from rankprobe.data.encoding import Encoded, Ids, cut, encode, source_ids, token_ids
from rankprobe.data.eval_set import EvalSet, build_eval_set, max_answer_length, task_of
from rankprobe.data.init_sources import init_sources
from rankprobe.data.seeding import numpy_generator, torch_generator
from rankprobe.data.subsets import dev_parts, target_rows, training_rows

__all__ = [
    "Encoded",
    "EvalSet",
    "Ids",
    "build_eval_set",
    "check_answers",
    "check_length",
    "check_tokenizer",
    "collate",
    "cut",
    "dev_parts",
    "encode",
    "epoch_batches",
    "init_sources",
    "max_answer_length",
    "numpy_generator",
    "source_ids",
    "target_rows",
    "task_of",
    "token_ids",
    "torch_generator",
    "training_rows",
]
