"""A small decoder-only model for the tests of devices."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rankprobe.backbone.load import load_tokenizer


def save_llama(folder, attention_dropout: float) -> str:
    """Save it with the tokenizer of `tiny`; returns the folder."""
    pieces = load_tokenizer("tiny")
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {
        "vocab_size": len(pieces),
        "eos_token_id": pieces.eos_token_id,
        "pad_token_id": pieces.pad_token_id,
    }
    torch.manual_seed(0)
    config = LlamaConfig(**sizes, **special, attention_dropout=attention_dropout, initializer_range=0.2)
    for part in (LlamaForCausalLM(config), pieces):
        part.save_pretrained(folder)
    return str(folder)
