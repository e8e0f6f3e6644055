"""Checks before training: do model and tokenizer fit the lengths, answers and labels of the data?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rankprobe.backbone import Backbone, PromptInput, check_fits, decode, likeliest
from rankprobe.data.batching import collate
from rankprobe.data.eval_set import EvalSet
from rankprobe.errors import RankprobeError, first_line


def check_length(backbone: Backbone, n: int, sizes: Sequence[tuple[int, int]]) -> None:
    """Check that the model accepts the prompt together with the longest text and the longest answer.

    Args:
        backbone: the model.
        n: prompt length.
        sizes: per split, the tokens of its longest text and of its longest answer.

    Raises:
        RankprobeError: the input is longer than the model allows.
    """
    if backbone.causal:
        sizes = [max(sizes, key=sum)]
    text_lengths, answer_lengths = zip(*sizes, strict=True)
    check_fits(backbone, n, max(text_lengths), max(answer_lengths))


def check_answers(eval_set: EvalSet, backbone: Backbone, n: int) -> None:
    """Check that the model can answer in each way of `eval_set.scoring`, on one row and up to two tokens.

    Raises:
        RankprobeError: decoding or ranking fails. The message names the other way, if the task allows it.
    """
    data, prompt_inputs = eval_set.data, [PromptInput(torch.zeros(n, backbone.d_model))]
    batch = collate(data, [[0]], backbone.tokenizer.pad_token_id, backbone.device)
    candidates = eval_set.task.candidates(data.examples[0], eval_set.targets)
    for scoring in eval_set.scoring:
        try:
            if scoring == "greedy":
                decode(backbone, prompt_inputs, batch, min(2, eval_set.max_new_tokens))
            else:
                likeliest(backbone, prompt_inputs, batch, [backbone.answer_ids(candidates)])
        except Exception as error:  # raised by the code of any architecture
            verb, other = ("decode", "rank") if scoring == "greedy" else ("rank", "greedy")
            advice = f"give --scoring {other}" if candidates else "use a model like T5, GPT-2 or Llama"
            raise RankprobeError(
                f"model '{backbone.name}' cannot {verb} answers ({first_line(error)}); {advice}"
            ) from error


def check_tokenizer(backbone: Backbone, answers: Sequence[str], answer_source: str = "") -> None:
    """Check that label texts can be trained on and recognised after decoding.

    Args:
        backbone: the model with its tokenizer.
        answers: the label texts.
        answer_source: `Task.answer_source`; where the label texts come from, if not from `targets`.

    Raises:
        RankprobeError: the tokenizer has more tokens than the embedding has rows, has no padding token, does
            not end a text with its end-of-sequence token, or decodes labels to other texts.
    """
    tokenizer, n_rows = backbone.tokenizer, backbone.n_rows
    problem = ""
    if len(tokenizer) > n_rows:
        problem = f"has {len(tokenizer)} tokens, but the model's embedding has {n_rows} rows"
    elif tokenizer.eos_token_id is None:
        problem = "has no end-of-sequence token, so an answer would never end"
    elif tokenizer.pad_token_id is None:
        problem = "has no padding token"
    else:
        ids = backbone.answer_ids(answers) if answers else []
        decoded = tuple(tokenizer.decode(each, skip_special_tokens=True).strip() for each in ids)
        if backbone.answer_ids(["a"])[0][-1] != tokenizer.eos_token_id:
            problem = "does not end a text with its end-of-sequence token, so an answer would never end"
        elif decoded != tuple(answers):
            advice = f"change {answer_source}" if answer_source else "try other --targets"
            problem = f"decodes the labels {tuple(answers)} as {decoded}; {advice}"
    if problem:
        raise RankprobeError(f"the tokenizer of '{backbone.name}' {problem}; give another --tokenizer")
