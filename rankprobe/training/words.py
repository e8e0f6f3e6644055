"""What a prompt can start from: embeddings of the vocabulary, of the labels, of a text; a saved prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rankprobe.backbone import Backbone
from rankprobe.errors import RankprobeError
from rankprobe.prompts import MethodConfig, StartConfig
from rankprobe.prompts.init import Words
from rankprobe.runs import read_prompt


def words_for(method: MethodConfig, backbone: Backbone, labels: Sequence[str]) -> Words:
    """Embeddings for the start of `method`, on the CPU in the prompt's dtype.

    Args:
        method: says which are asked for.
        backbone: whose embeddings they are.
        labels: texts of the labels, if the task has some.

    Raises:
        RankprobeError: a text of no pieces, or a saved prompt that cannot be read.
    """
    vocabulary = backbone.vocabulary(method.vocabulary if isinstance(method, StartConfig) else 0)
    means = [embedded(backbone, text).mean(0) for text in labels]
    given = {}
    if isinstance(method, StartConfig) and method.init_text is not None:
        given["text"] = embedded(backbone, method.init_text)
        if not len(given["text"]):
            raise RankprobeError(f"init_text is '{method.init_text}'; expected words")
    if isinstance(method, StartConfig) and method.init_from is not None:
        given["saved"] = torch.from_numpy(read_prompt(method.init_from)).to(vocabulary.dtype)
    return Words(vocabulary, torch.stack(means) if means else vocabulary[:0], **given)


def embedded(backbone: Backbone, text: str) -> Tensor:
    """The pieces of a text, (pieces, d), without special tokens."""
    return backbone.embed_words(backbone.tokenizer(text, add_special_tokens=False).input_ids)


def notes(method: MethodConfig, backbone: Backbone) -> list[str]:
    """What a user might not expect of a method."""
    found, n = [], method.prompt_length
    if isinstance(method, StartConfig) and method.init_text is not None:
        pieces = len(embedded(backbone, method.init_text))
        done = "repeated" if pieces < n else "cut"
        found += [f"the initial text has {pieces} pieces, {done} to the {n} of P"] if pieces != n else []
    if n and not method.prompt_is_all:
        found.append("the ranks are those of P; what else the method trains is not measured")
    return found
