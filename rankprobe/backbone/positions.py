"""Checks that prompt, text and answer fit into a model, by running it at that length.

Configs are not reliable: that of T5 names a limit that does not exist, rotary positions work beyond the
limit, and limits have many names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.score import TextBatch, label_logits
from rankprobe.backbone.splice import PromptInput
from rankprobe.errors import RankprobeError, first_line


class TooLong(IndexError):
    """A position table has `limit` positions, but the input needs `length`."""

    def __init__(self, limit: int, length: int) -> None:
        super().__init__(f"{limit} positions, and {length} were needed")
        self.limit, self.length = limit, length


class CheckedTables(TorchFunctionMode):
    """Inside this context a look-up beyond the end of an embedding table raises `TooLong`.

    On a GPU the look-up itself would make the device unusable for the process.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.embedding:
            self._check(*args[:2])
        return func(*args, **(kwargs or {}))

    def _check(self, ids: Tensor, table: Tensor) -> None:
        last = int(ids.max()) if ids.numel() else -1
        if last >= len(table):
            # The first position may not be row 0: BART's is row 2.
            raise TooLong(len(table) - (last + 1 - ids.shape[-1]), ids.shape[-1])


@torch.no_grad()
def check_fits(backbone: Backbone, n: int, text: int, answer: int) -> None:
    """Run a prompt of `n` tokens, a text of `text` tokens and an answer of `answer` tokens through the model.

    Raises:
        RankprobeError: the model has too few positions, or fails at that length in another way.
    """
    ids, labels = (
        torch.full((1, size), backbone.piece_ids[0], device=backbone.device) for size in (text, answer)
    )
    batch = TextBatch([1], [text], [answer], ids, torch.ones_like(ids), labels)
    shorter = "give a smaller --max-source-length or --prompt-length"
    try:
        with CheckedTables():
            # One sequence, so that a look-up of positions shows its whole length.
            per_text = replace(backbone, prompt_once=False)
            label_logits(per_text, [PromptInput(torch.zeros(n, backbone.d_model))], batch)
    except TooLong as error:
        if not backbone.causal and error.length == answer:
            raise RankprobeError(
                f"model '{backbone.name}' has {error.limit} positions for an answer, and the longest answer "
                f"takes {answer}; use shorter targets, or another model"
            ) from None
        takes = (
            f"the longest text with its answer {text + answer}"
            if backbone.causal
            else f"the longest text {text}"
        )
        raise RankprobeError(
            f"model '{backbone.name}' has {error.limit} positions, and the prompt takes {n}, {takes}; "
            f"{shorter}"
        ) from None
    except Exception as error:  # code of any architecture
        raise RankprobeError(
            f"model '{backbone.name}' fails with a prompt of {n} tokens, a text of {text} and an answer of "
            f"{answer} ({first_line(error)}); {shorter}"
        ) from error
