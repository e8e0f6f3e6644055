"""Shapes for `random:<name>`: real configurations with random weights, for tests and benchmarks."""

from __future__ import annotations

from typing import Any

T5_ROWS = 32128
"""Embedding rows of T5 v1.0: 32,100 pieces padded for hardware."""

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 2, "num_heads": 4},
    "t5-small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    "t5-base": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    "t5-large": {"d_model": 1024, "d_kv": 64, "d_ff": 4096, "num_layers": 24, "num_heads": 16},
}
"""`tiny` is ours; the others are the published T5 v1.0 configurations (Raffel et al. 2020)."""


def skeleton(shape: str, rows: int = T5_ROWS, **special: Any) -> Any:
    """A new T5 model of this shape with random weights, on torch's default device.

    Args:
        shape: a name from `SHAPES`.
        rows: number of embedding rows.
        special: ids of special tokens, by their names in `T5Config`.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=rows, **special, **SHAPES[shape])
    return T5ForConditionalGeneration._from_config(config, attn_implementation="eager")
