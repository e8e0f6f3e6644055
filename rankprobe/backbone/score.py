"""Losses and answers of K prompts in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.causal import answer_logits, read_text
from rankprobe.backbone.decoding import IGNORED, decoder_inputs, greedy
from rankprobe.backbone.splice import ModelInput, PromptInput, splice
from rankprobe.errors import RankprobeError


@dataclass(frozen=True)
class TextBatch:
    """R rows of text of K members, member after member.

    Attributes:
        rows: the number of rows of each member.
        source_lengths, target_lengths: the padded lengths that each member's rows would have alone.
        input_ids, attention_mask: the source texts, padded on the right.
        labels: the target texts, padded with `IGNORED`.
    """

    rows: Sequence[int]
    source_lengths: Sequence[int]
    target_lengths: Sequence[int]
    input_ids: Int[Tensor, "R T"]
    attention_mask: Int[Tensor, "R T"]
    labels: Int[Tensor, "R L"]


def label_logits(
    backbone: Backbone, prompt_inputs: Sequence[PromptInput], batch: TextBatch
) -> Float[Tensor, "R L V"]:
    """Logits of each label position, with teacher forcing."""
    inputs = splice(backbone, prompt_inputs, batch.rows, batch.input_ids, batch.attention_mask)
    if backbone.causal:
        return answer_logits(backbone, inputs, batch.labels.clamp(min=0))
    shifted = decoder_inputs(backbone, batch.labels)
    output = backbone.model(
        inputs_embeds=inputs.embeds, attention_mask=inputs.mask, decoder_input_ids=shifted, use_cache=False
    )
    return output.logits


def losses(backbone: Backbone, prompt_inputs: Sequence[PromptInput], batch: TextBatch) -> list[Tensor]:
    """The loss of each member: mean cross-entropy over the label tokens of its rows (paper, equation 6).

    Members share only the forward pass, so the gradient of a loss reaches that member's prompt alone.
    """
    logits = widened(label_logits(backbone, prompt_inputs, batch))
    members = zip(logits.split(list(batch.rows)), batch.labels.split(list(batch.rows)), strict=True)
    return [
        functional.cross_entropy(member.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        for member, labels in members
    ]


def widened(logits: Tensor) -> Tensor:
    """Logits in float32 or float64: sums of log-probabilities in bfloat16 are too coarse to compare."""
    return logits if logits.dtype == torch.float64 else logits.float()


@torch.no_grad()
def decode(
    backbone: Backbone,
    prompt_inputs: Sequence[PromptInput],
    batch: TextBatch,
    max_new_tokens: int | Sequence[int],
) -> list[list[str]]:
    """Decode greedily; returns K lists of texts without special tokens.

    `max_new_tokens`: the most tokens of an answer, for all members or for each.
    """
    inputs = splice(backbone.for_decoding, prompt_inputs, batch.rows, batch.input_ids, batch.attention_mask)
    limits = (
        [max_new_tokens] * len(prompt_inputs) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    )
    tokens = greedy(backbone, inputs, max(limits))
    members = np.repeat(limits, list(batch.rows)).tolist()
    kept = [row[:limit] for row, limit in zip(tokens, members, strict=True)]
    texts = backbone.tokenizer.batch_decode(kept, skip_special_tokens=True)
    answers = iter(text.strip() for text in texts)
    return [[next(answers) for _ in range(count)] for count in batch.rows]


@torch.no_grad()
def likeliest(
    backbone: Backbone,
    prompt_inputs: Sequence[PromptInput],
    batch: TextBatch,
    candidates: Sequence[Sequence[Sequence[int]]],
) -> list[int]:
    """For each of the R rows, the index of the candidate answer with the highest log-likelihood.

    The log-likelihood is the sum over the tokens of the answer and its end token, not divided by their number
    (as in T5's rank classification). The text is read once, except by a decoder-only model whose states
    cannot be reused.

    Args:
        backbone: the frozen model.
        prompt_inputs: K prompts.
        batch: the rows; its labels are not used.
        candidates: for each row, the token ids of its candidates; their number may differ between rows.
    """
    inputs = splice(backbone.for_decoding, prompt_inputs, batch.rows, batch.input_ids, batch.attention_mask)
    logits_of = _read(backbone, inputs)
    most = max(map(len, candidates))
    scores = torch.full((len(candidates), most), -torch.inf, dtype=torch.float64)
    for number in range(most):
        answers = [row[number] if number < len(row) else row[0] for row in candidates]
        labels = pad_sequence([torch.tensor(each) for each in answers], True, IGNORED).to(inputs.mask.device)
        loss = functional.cross_entropy(
            widened(logits_of(labels)).transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        present = torch.tensor([number < len(row) for row in candidates])
        scores[present, number] = -loss.sum(1).cpu().double()[present]
    return scores.argmax(1).tolist()


def _read(backbone: Backbone, inputs: ModelInput) -> Callable[[Tensor], Tensor]:
    """Read prompts and texts; returns a function from labels (R, L) to their logits (R, L, V)."""
    if backbone.padding_after_prompt:
        continued = read_text(backbone, inputs)
        return lambda labels: continued(labels.clamp(min=0))
    if backbone.causal:
        return lambda labels: answer_logits(backbone, inputs, labels.clamp(min=0))
    model, (embeds, mask, _) = backbone.model, inputs
    encoded = model.get_encoder()(inputs_embeds=embeds, attention_mask=mask)

    def logits(labels: Tensor) -> Tensor:
        shifted = decoder_inputs(backbone, labels)
        output = model(
            encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=shifted, use_cache=False
        )
        return output.logits.to(mask.device)  # a model spread over GPUs returns them where its encoder ended

    return logits


@torch.no_grad()
def check_prompt_matters(backbone: Backbone, prompt: Float[Tensor, "n d"], batch: TextBatch) -> None:
    """Check that the prompt changes the logits; a model that ignores it would train nothing.

    Raises:
        RankprobeError: logits with and without `prompt` are equal.
    """
    first = (batch.input_ids[:1], batch.attention_mask[:1], batch.labels[:1])
    one = TextBatch([1], batch.source_lengths[:1], batch.target_lengths[:1], *first)
    with_it, without = (label_logits(backbone, [PromptInput(P)], one) for P in (prompt, prompt[:0]))
    if torch.equal(with_it, without):
        raise RankprobeError(
            f"model '{backbone.name}' gives the same logits with and without the prompt, so nothing "
            "would be learned; check how it handles inputs_embeds"
        )
