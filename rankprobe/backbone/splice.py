"""The one place where a soft prompt meets a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rankprobe.backbone.base import Backbone


class Soft(NamedTuple):
    """What a member gives to the input: a prompt P (n, d), and a shift (s, d) of the text's embeddings."""

    P: Tensor
    shift: Tensor | None = None


def splice(
    backbone: Backbone,
    softs: Sequence[Soft],
    rows: Sequence[int],
    input_ids: Tensor,
    attention_mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Prepend each member's prompt to its rows of text, in embedding space; T5's on the encoder side.

    A member's shift is added to the embeddings of the first s positions of its text.

    Args:
        backbone: the frozen model.
        softs: K, one per member of the cohort; n is the same for all and may be 0.
        rows: K counts; the first `rows[0]` rows of text belong to member 0, and so on.
        input_ids: (R, T) with R = sum(rows), padded on the right.
        attention_mask: (R, T), 1 on real tokens.

    Returns:
        `inputs_embeds` (R, n + T, d) in the backbone's dtype and the mask (R, n + T). Positions need no
        care: the model counts them itself, and the prompt is simply the first n tokens.
    """
    text = backbone.embed(input_ids)
    soft = torch.cat(
        [
            each.P.to(text.device, text.dtype).expand(count, -1, -1)
            for each, count in zip(softs, rows, strict=True)
        ]
    )
    if any(each.shift is not None for each in softs):
        parts = zip(softs, text.split(list(rows)), strict=True)
        text = torch.cat([_shifted(part, each.shift) for each, part in parts])
    ones = attention_mask.new_ones(soft.shape[:2])
    return torch.cat([soft, text], dim=1), torch.cat([ones, attention_mask], dim=1)


def _shifted(text: Tensor, shift: Tensor | None) -> Tensor:
    """Text embeddings (R, T, d) with `shift` (s, d) added to the first positions."""
    if shift is None:
        return text
    covered = min(len(shift), text.shape[1])
    head = text[:, :covered] + shift[:covered].to(text.device, text.dtype)
    return torch.cat([head, text[:, covered:]], dim=1)
