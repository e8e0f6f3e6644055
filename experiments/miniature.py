"""Writes the bundled miniature of CB and its tokenizer: `python experiments/miniature.py`.

Two-clause English from a small grammar of ours. The first clause sets a scene; the second puts the
hypothesis under a verb that entails it, contradicts it, or leaves it open. Deterministic: the same bytes
each time, which a test checks.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

BUNDLED = Path(__file__).parent.parent / "rankprobe" / "bundled"
SIZES = {"train": 250, "val": 56}  # as CommitmentBank
VOCABULARY = 512

PEOPLE = ["Anna", "Boris", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas"]
PLACES = ["the harbour", "the library", "the station", "the garden", "the market", "the old mill"]
THINGS = ["the lamp", "the ladder", "the letter", "the kettle", "the violin", "the map"]
SCENES = ("was tired", "had a long day", "came home late", "waited for news", "sat by the window")
DEEDS = (
    "found {thing}",
    "sold {thing}",
    "left {place}",
    "hid {thing} near {place}",
    "reached {place}",
)
FRAMES = {
    "entailment": (
        "knew that {fact}",
        "was glad that {fact}",
        "did not know that {fact}",
        "forgot that {fact}",
    ),
    "contradiction": (
        "pretended that {fact}",
        "wrongly believed that {fact}",
        "only dreamt that {fact}",
    ),
    "neutral": (
        "thought that {fact}",
        "did not say that {fact}",
        "asked whether {fact}",
        "hoped that {fact}",
    ),
}


def rows(seed: int = 20231206) -> dict[str, list[dict[str, object]]]:
    """Rows of each split in the official layout; no premise occurs twice."""
    rng = random.Random(seed)
    drawn: dict[str, dict[str, object]] = {}
    while len(drawn) < sum(SIZES.values()):
        label = rng.choices(list(FRAMES), weights=(0.40, 0.45, 0.15))[0]
        first, second = rng.sample(PEOPLE, 2)
        deed = rng.choice(DEEDS).format(thing=rng.choice(THINGS), place=rng.choice(PLACES))
        fact = f"{second} {deed}"
        frame = rng.choice(FRAMES[label]).format(fact=fact)
        premise = f"{first} {rng.choice(SCENES)}. {first} {frame}."
        drawn.setdefault(premise, {"premise": premise, "hypothesis": fact, "label": label})
    every = list(drawn.values())
    numbered = {
        "train": every[: SIZES["train"]],
        "val": every[SIZES["train"] :],
    }
    return {split: [{**row, "idx": i} for i, row in enumerate(part)] for split, part in numbered.items()}


def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, so that no text is ever outside its vocabulary."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=["<pad>", "</s>", "<unk>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def write(folder: Path = BUNDLED) -> None:
    """Write rows and tokenizer below `folder`."""
    splits = rows()
    (folder / "CB").mkdir(parents=True, exist_ok=True)
    for split, part in splits.items():
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (folder / "CB" / f"{split}.jsonl").write_text(lines)
    texts = [f"premise: {row['premise']} hypothesis: {row['hypothesis']}" for row in splits["train"]]
    tokenizer([*texts, "0 1 2", "entailment contradiction neutral"]).save_pretrained(folder / "tokenizer")


if __name__ == "__main__":
    write()
