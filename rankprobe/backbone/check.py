"""Checks of a newly loaded model: does it take a soft prompt, how does it embed, how does it decode?

Models are not recognised by name. Each one is run on a short text, and its logits decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from rankprobe.backbone.base import Backbone, Decoding
from rankprobe.backbone.causal import read_text
from rankprobe.backbone.decoding import decoder_inputs, next_logits, row_groups, rows_of
from rankprobe.backbone.offload import refetch_weights
from rankprobe.backbone.score import TextBatch, label_logits, widened
from rankprobe.backbone.splice import PromptInput, splice
from rankprobe.errors import RankprobeError, first_line

TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""The largest `difference` between logits that count as equal, by dtype of the weights.

Some models compute parts in float32 in any case. The order of sums depends on padding and, in a mixture of
experts, on the tokens of an expert. Wrong embeddings or positions usually give 0.1 or more."""

SHORT, LONG = 3, 8
"""Tokens of the two texts of `short_batch`."""

WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
"""Names in configs for the distance that a token attends to."""

OTHERS = "use a model like T5, GPT-2 or Llama"


@torch.no_grad()
def examined(backbone: Backbone) -> Backbone:
    """The backbone with its `embed_scale` and its `decoding`, after a short run of the model.

    Raises:
        RankprobeError: the model cannot be run, computes something else from `inputs_embeds` than from
            `input_ids`, cannot be trained through, or is decoder-only and sees tokens that come later.
    """
    backbone, batch = replace(backbone, prompt_once=False, padding_after_prompt=False), short_batch(backbone)
    if not backbone.causal:
        _check_start(backbone, batch)
    try:
        expected = logits_of_ids(backbone, batch)
    except Exception as error:  # code of any architecture
        wide = backbone.embedding_dtype == torch.float64
        way_out = "use --dtype float32" if wide else OTHERS
        raise refusal(backbone, f"cannot be run ({first_line(error)})", way_out) from error
    if expected.isnan().any():
        raise refusal(backbone, "gives logits that are not numbers", "its weights may be damaged")
    try:
        scaled, apart = _with_scale(backbone, batch, expected)
    except Exception as error:
        problem = f"needs token ids, so no soft prompt can be joined to it ({first_line(error)})"
        raise refusal(backbone, problem) from error
    if looks_ahead(scaled, batch):
        raise refusal(backbone, "attends to later tokens, so it cannot generate an answer")
    if apart > tolerance(backbone):
        raise refusal(
            backbone,
            "gives other logits for inputs_embeds than for the same input_ids (they differ by "
            f"{apart:.1g} of their spread), so no soft prompt can be joined to it",
        )
    return _with_prompt_states(replace(scaled, decoding=_decoding(scaled, batch)), batch)


def _check_start(backbone: Backbone, batch: TextBatch) -> None:
    try:
        decoder_inputs(backbone, batch.labels)
    except Exception as error:
        problem = f"has no start token for its decoder ({first_line(error)})"
        way_out = "set decoder_start_token_id in its config.json"
        raise refusal(backbone, problem, way_out) from error


def short_batch(backbone: Backbone) -> TextBatch:
    """Two texts with answers. The padding of the shorter text consists of real tokens too."""
    pieces = backbone.piece_ids or list(range(backbone.n_rows))
    spaced = torch.tensor(pieces[:: max(1, len(pieces) // 64)], device=backbone.device)
    ids = spaced[torch.arange(2 * LONG, device=spaced.device) * 5 % len(spaced)].view(2, LONG)
    mask = torch.ones_like(ids)
    mask[0, SHORT:] = 0
    labels = ids.flip(1)[:, :3].clone()
    end = backbone.tokenizer.eos_token_id
    if end is not None and end < backbone.n_rows:  # otherwise `check_tokenizer` refuses it later
        labels[:, -1] = end
    return TextBatch([2], [LONG], [3], ids, mask, labels)


def logits_of_ids(backbone: Backbone, batch: TextBatch) -> Tensor:
    """Logits (L, V) of the labels of the first row, from token ids and without padding."""
    source, labels = batch.input_ids[:1][batch.attention_mask[:1] == 1][None], batch.labels[:1]
    if backbone.causal:
        ids = torch.cat([source, labels], dim=1)
        logits = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        return logits[0, source.shape[1] - 1 : -1]
    return backbone.model(
        input_ids=source,
        attention_mask=torch.ones_like(source),
        decoder_input_ids=decoder_inputs(backbone, labels),
        use_cache=False,
    ).logits[0]


def _with_scale(backbone: Backbone, batch: TextBatch, expected: Tensor) -> tuple[Backbone, float]:
    """The backbone with the scale whose logits are nearest to `expected`, and their `difference`.

    If a norm follows the embedding, the scale hardly matters; the first of similarly near scales is used.
    """
    found = []
    for scale in scales(backbone):
        scaled = replace(backbone, embed_scale=scale)
        found.append((scaled, difference(logits(scaled, batch)[0], expected)))
        if found[-1][1] <= tolerance(backbone) / 100:
            break
    nearest = min(apart for _, apart in found)
    return next(each for each in found if each[1] <= 4 * nearest)


def scales(backbone: Backbone) -> Iterator[float]:
    """Scales that a model may apply to its embeddings: 1, the `embed_scale` of its modules, √d."""
    yield 1.0
    named = {getattr(module, "embed_scale", None) for module in backbone.model.modules()}
    yield from (float(scale) for scale in named if isinstance(scale, int | float))
    yield math.sqrt(backbone.d_model)


def logits(backbone: Backbone, batch: TextBatch) -> Tensor:
    """Logits (R, L, V) of the labels, with an empty prompt."""
    return label_logits(backbone, [_empty(backbone)], batch)


def looks_ahead(backbone: Backbone, batch: TextBatch) -> bool:
    """Whether a decoder's logits at one token depend on a later token, as in encoders.

    The gradient decides: it is exactly zero without a dependence, whatever the rounding. It is taken with
    respect to rows that are not embeddings of words, like those of a soft prompt.

    Raises:
        RankprobeError: the model gives no gradient, so it cannot be trained through.
    """
    seen = 2
    rows = backbone.embed(batch.input_ids).mean(0).requires_grad_()
    try:
        with torch.enable_grad(), refetch_weights(backbone.model):
            if backbone.causal:
                # A clone, because some models scale their input in place.
                found = backbone.model(inputs_embeds=rows[None].clone(), use_cache=False).logits[0, :seen]
            else:
                found = label_logits(backbone, [PromptInput(rows)], batch)
            (slope,) = torch.autograd.grad(found.float().logsumexp(-1).sum(), rows)
    except Exception as error:
        raise refusal(backbone, f"cannot be trained through ({first_line(error)})") from error
    return backbone.causal and bool(slope[seen:].any())


def _decoding(backbone: Backbone, batch: TextBatch) -> Decoding:
    """The first way of decoding whose logits equal the teacher-forced ones; the last one always does."""
    expected = logits(backbone, batch)
    *quick, last = get_args(Decoding)
    for decoding in quick:
        try:
            stepwise = _stepwise(replace(backbone, decoding=decoding), batch, _empty(backbone))
            apart = difference(stepwise, expected)
        except Exception:  # a model that cannot continue from its cache, or not from embeddings
            continue
        if apart <= tolerance(backbone):
            return decoding
    return last


def _with_prompt_states(backbone: Backbone, batch: TextBatch) -> Backbone:
    """The backbone with `prompt_once` and `padding_after_prompt`.

    Texts that attend to the keys and values of a prompt must give its logits and its gradient.
    """
    if not backbone.causal:
        return backbone
    P = backbone.embed(batch.input_ids[0, :SHORT])
    expected, once = _logits_and_gradient(backbone, P, batch), replace(backbone, prompt_once=True)

    def decoded_and_ranked() -> list[Tensor]:
        inputs = splice(once, [PromptInput(P)], batch.rows, batch.input_ids, batch.attention_mask)
        return [_stepwise(once, batch, PromptInput(P)), read_text(once, inputs)(batch.labels)]

    if not _agree(backbone, lambda: _logits_and_gradient(once, P, batch), expected):
        return backbone
    padded = not _has_window(backbone) and _agree(backbone, decoded_and_ranked, [expected[0]] * 2)
    return replace(once, padding_after_prompt=padded)


def _agree(backbone: Backbone, find: Callable[[], Sequence[Tensor]], expected: Sequence[Tensor]) -> bool:
    """Whether a computation works and gives the tensors that are expected."""
    try:
        found = find()
    except Exception:  # a model with another kind of cache
        return False
    pairs = zip(found, expected, strict=True)
    return all(difference(one, other) <= tolerance(backbone) for one, other in pairs)


def _logits_and_gradient(backbone: Backbone, P: Tensor, batch: TextBatch) -> list[Tensor]:
    P = P.clone().requires_grad_()
    with torch.enable_grad(), refetch_weights(backbone.model):
        found = label_logits(backbone, [PromptInput(P)], batch)
        (gradient,) = torch.autograd.grad(widened(found).logsumexp(-1).sum(), P)
    return [found.detach(), gradient]


def _has_window(backbone: Backbone) -> bool:
    """Whether tokens attend to near tokens only: padding adds to distances, and `short_batch` is short."""
    config = backbone.model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return kinds != {"full_attention"} or any(getattr(config, name, None) for name in WINDOWS)


def _stepwise(backbone: Backbone, batch: TextBatch, prompt: PromptInput) -> Tensor:
    """Logits (R, L, V) of the labels, computed step by step as in decoding."""
    inputs = splice(backbone, [prompt], batch.rows, batch.input_ids, batch.attention_mask)
    found, groups = [], row_groups(backbone, inputs.mask)
    for rows in groups:
        step = next_logits(backbone, rows_of(inputs, rows))
        labels = batch.labels[rows]
        found.append(torch.stack([step(labels[:, :t]) for t in range(labels.shape[1])], dim=1))
    return torch.cat(found)[torch.cat(groups).argsort()]


def difference(found: Tensor, expected: Tensor) -> float:
    """Mean absolute difference of logits, relative to the median deviation of `expected`; ∞ for NaN.

    The median, because some models give a few tokens logits of −∞ or near it.
    """
    found, expected = found.cpu().double(), expected.cpu().double()  # in this order: MPS has no float64
    deviations = (expected - expected.median()).abs()
    spread = float(deviations.median()) or float(deviations.mean()) or 1.0
    apart = float((found - expected).abs().masked_fill(found == expected, 0).mean()) / spread
    return math.inf if math.isnan(apart) else apart


def tolerance(backbone: Backbone) -> float:
    return TOLERANCE[backbone.embedding_dtype]


def _empty(backbone: Backbone) -> PromptInput:
    return PromptInput(torch.zeros(0, backbone.d_model))


def refusal(backbone: Backbone, problem: str, way_out: str = OTHERS) -> RankprobeError:
    return RankprobeError(f"model '{backbone.name}' ({type(backbone.model).__name__}) {problem}; {way_out}")
