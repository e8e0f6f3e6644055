"""What a prompt is trained on and chosen by: the loss of target texts, and greedily decoded answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.causal import answer_logits
from rankprobe.backbone.decoding import IGNORED, decoder_inputs, greedy
from rankprobe.backbone.splice import Soft, splice
from rankprobe.errors import RankprobeError


@dataclass(frozen=True)
class TextBatch:
    """Rows of text for K members, member after member.

    `rows`: K counts. `source_lengths`, `target_lengths`: K padded lengths, those that each member's rows
    would have alone. `input_ids` and `attention_mask` (R, T); `labels` (R, L) padded with `IGNORED`.
    """

    rows: Sequence[int]
    source_lengths: Sequence[int]
    target_lengths: Sequence[int]
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def label_logits(backbone: Backbone, softs: Sequence[Soft], batch: TextBatch) -> Tensor:
    """Logits (R, L, vocabulary) of each label position, teacher-forced."""
    embeds, mask = splice(backbone, softs, batch.rows, batch.input_ids, batch.attention_mask)
    if backbone.causal:
        return answer_logits(backbone, embeds, mask, batch.labels.clamp(min=0))
    shifted = decoder_inputs(backbone, batch.labels)
    output = backbone.model(
        inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=shifted, use_cache=False
    )
    return output.logits


def losses(backbone: Backbone, softs: Sequence[Soft], batch: TextBatch) -> list[Tensor]:
    """Each member's loss: mean cross-entropy over the label tokens of its own rows (paper, equation 6).

    The members share the forward pass and nothing else, so the gradient of a loss reaches only that
    member's prompt.
    """
    logits = _widened(label_logits(backbone, softs, batch))
    members = zip(logits.split(list(batch.rows)), batch.labels.split(list(batch.rows)), strict=True)
    return [
        functional.cross_entropy(member.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        for member, labels in members
    ]


def _widened(logits: Tensor) -> Tensor:
    """Logits in float32 at least: sums of log-probabilities in bfloat16 would lose what they compare."""
    return logits if logits.dtype == torch.float64 else logits.float()


@torch.no_grad()
def decode(
    backbone: Backbone, softs: Sequence[Soft], batch: TextBatch, max_new_tokens: int | Sequence[int]
) -> list[list[str]]:
    """Greedy answers, K lists of texts, special tokens dropped.

    At most `max_new_tokens` long, for each member its own if there are several.
    """
    embeds, mask = splice(backbone, softs, batch.rows, batch.input_ids, batch.attention_mask)
    limits = [max_new_tokens] * len(softs) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    tokens = greedy(backbone, embeds, mask, max(limits))
    members = np.repeat(limits, list(batch.rows)).tolist()
    kept = [row[:limit] for row, limit in zip(tokens, members, strict=True)]
    texts = backbone.tokenizer.batch_decode(kept, skip_special_tokens=True)
    answers = iter(text.strip() for text in texts)
    return [[next(answers) for _ in range(count)] for count in batch.rows]


@torch.no_grad()
def likeliest(
    backbone: Backbone,
    softs: Sequence[Soft],
    batch: TextBatch,
    candidates: Sequence[Sequence[Sequence[int]]],
) -> list[int]:
    """For each of the R rows, the number of the candidate answer with the highest log-likelihood.

    The log-likelihood is the sum over the answer's tokens, its end included, not divided by their number
    (as T5's rank classification). An encoder-decoder encodes the text once.

    Args:
        backbone: the frozen model.
        softs: K, what each member gives to the input.
        batch: the rows; its labels are not used.
        candidates: token ids of each candidate, per row; rows may have different numbers of them.
    """
    embeds, mask = splice(backbone, softs, batch.rows, batch.input_ids, batch.attention_mask)
    model = backbone.model
    encoded = None if backbone.causal else model.get_encoder()(inputs_embeds=embeds, attention_mask=mask)
    most = max(map(len, candidates))
    scores = torch.full((len(candidates), most), -torch.inf, dtype=torch.float64)
    for number in range(most):
        answers = [row[number] if number < len(row) else row[0] for row in candidates]
        labels = torch.full((len(answers), max(map(len, answers))), IGNORED, device=mask.device)
        for i, answer in enumerate(answers):
            labels[i, : len(answer)] = torch.tensor(answer)
        if backbone.causal:
            logits = answer_logits(backbone, embeds, mask, labels.clamp(min=0))
        else:
            shifted = decoder_inputs(backbone, labels)
            logits = model(
                encoder_outputs=encoded, attention_mask=mask, decoder_input_ids=shifted, use_cache=False
            ).logits.to(mask.device)  # of a model spread over GPUs they come back where the encoder ended
        loss = functional.cross_entropy(
            _widened(logits).transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
        )
        present = torch.tensor([number < len(row) for row in candidates])
        scores[present, number] = -loss.sum(1).cpu().double()[present]
    return scores.argmax(1).tolist()


@torch.no_grad()
def check_prompt_matters(backbone: Backbone, prompt: Tensor, batch: TextBatch) -> None:
    """Fail unless the prompt changes the logits: a prompt that is silently ignored trains nothing.

    Raises:
        RankprobeError: logits with and without `prompt` are equal.
    """
    first = (batch.input_ids[:1], batch.attention_mask[:1], batch.labels[:1])
    one = TextBatch([1], batch.source_lengths[:1], batch.target_lengths[:1], *first)
    with_it, without = (label_logits(backbone, [Soft(P)], one) for P in (prompt, prompt[:0]))
    if torch.equal(with_it, without):
        raise RankprobeError(
            f"model '{backbone.name}' gives the same logits with and without the prompt, so nothing "
            "would be learned; check how it handles inputs_embeds"
        )
