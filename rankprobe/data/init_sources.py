"""What a prompt is initialised from: embeddings of the vocabulary, of labels or a text, or a saved prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankprobe.backbone import Backbone
from rankprobe.errors import RankprobeError
from rankprobe.prompts import MethodConfig, StartConfig
from rankprobe.prompts.init import InitSources
from rankprobe.runs import read_prompt


def init_sources(method: MethodConfig, backbone: Backbone, labels: Sequence[str]) -> InitSources:
    """The embeddings that `method` is initialised from, on the CPU in the prompt's dtype.

    Args:
        method: names the sources.
        backbone: gives the embeddings.
        labels: label texts; empty if the task has no labels.

    Raises:
        RankprobeError: `init_text` has no tokens, or the saved prompt cannot be read.
    """
    vocabulary = backbone.vocabulary(method.init_vocab_size if isinstance(method, StartConfig) else 0)
    label_means = [embed_text(backbone, label).mean(0) for label in labels]
    optional = {}
    if isinstance(method, StartConfig) and method.init_text is not None:
        optional["text"] = embed_text(backbone, method.init_text)
        if not len(optional["text"]):
            raise RankprobeError(f"init_text is '{method.init_text}'; expected words")
    if isinstance(method, StartConfig) and method.init_from is not None:
        optional["saved"] = torch.from_numpy(read_prompt(method.init_from)).to(vocabulary.dtype)
    return InitSources(vocabulary, torch.stack(label_means) if label_means else vocabulary[:0], **optional)


def embed_text(backbone: Backbone, text: str) -> Float[Tensor, "tokens d"]:
    """The embedding of each token of a text, without special tokens."""
    return backbone.embed_words(backbone.tokenizer(text, add_special_tokens=False).input_ids)


def method_notes(method: MethodConfig, backbone: Backbone) -> list[str]:
    """Notes on what a user might not expect of a method and its settings."""
    notes, n = [], method.prompt_length
    if isinstance(method, StartConfig) and method.init_text is not None:
        n_tokens = len(embed_text(backbone, method.init_text))
        change = "repeated" if n_tokens < n else "cut"
        if n_tokens != n:
            notes.append(f"the initial text has {n_tokens} tokens, {change} to the prompt length {n}")
    if n and not method.prompt_is_all:
        notes.append("ranks are measured for P only; the method also trains other parameters")
    return notes
