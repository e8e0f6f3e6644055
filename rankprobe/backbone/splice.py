"""The one place where a soft prompt meets a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rankprobe.backbone.base import Backbone


def splice(
    backbone: Backbone,
    prompts: Sequence[Tensor],
    rows: Sequence[int],
    input_ids: Tensor,
    attention_mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Prepend each member's prompt to its rows of text, in embedding space, encoder side only.

    Args:
        backbone: the frozen model.
        prompts: K matrices (n, d), one per member of the cohort; n may be 0.
        rows: K counts; the first `rows[0]` rows of text belong to member 0, and so on.
        input_ids: (R, T) with R = sum(rows), padded on the right.
        attention_mask: (R, T), 1 on real tokens.

    Returns:
        `inputs_embeds` (R, n + T, d) in the backbone's dtype and the mask (R, n + T). Positions need no
        care with T5: they are relative, and the prompt is simply the first n tokens.
    """
    with torch.no_grad():
        text = backbone.model.get_input_embeddings()(input_ids)
    soft = torch.cat(
        [
            prompt.to(text.device, text.dtype).expand(count, -1, -1)
            for prompt, count in zip(prompts, rows, strict=True)
        ]
    )
    ones = attention_mask.new_ones(soft.shape[:2])
    return torch.cat([soft, text], dim=1), torch.cat([ones, attention_mask], dim=1)
