"""The tokenizer of the bundled backbones: each word of the miniature world is a piece, the rest is bytes."""

from __future__ import annotations

import re
from collections import Counter

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from experiments.pretrain.corpus import DIGITS, LABELS, POOL, pair, speaker

N_SENTINELS = 16
SAMPLE = 60_000
SPECIAL = ["<pad>", "</s>", "<unk>"]


def vocabulary(sample: int = SAMPLE) -> list[str]:
    """The words of the corpus, by falling frequency; punctuation on its own."""
    say = speaker("pieces")
    counts: Counter[str] = Counter()
    for _ in range(sample):
        _, source, target = pair(say)
        counts.update(re.findall(r"[\w@]+:?|\*\w+\*|[^\w\s]", f"{source} {target or ''}"))
    for word in (*DIGITS, *LABELS, *POOL):
        counts.setdefault(word, 0)
    return sorted(counts, key=lambda word: (-counts[word], word))


def tokenizer() -> PreTrainedTokenizerFast:
    """A Unigram tokenizer in T5's manner (▁ marks a word's beginning), with bytes for all other text."""
    words = vocabulary()
    sentinels = [f"<extra_id_{i}>" for i in range(N_SENTINELS)]
    pieces = [(piece, 0.0) for piece in SPECIAL]
    for word in words:
        marks = (word,) if re.fullmatch(r"[^\w\s]", word) else (f"▁{word}",)
        pieces += [(mark, -1.0) for mark in marks]
    pieces += [("▁", -5.0)] + [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    pieces += [(sentinel, 0.0) for sentinel in sentinels]
    core = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>"), byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=sentinels,
    )
