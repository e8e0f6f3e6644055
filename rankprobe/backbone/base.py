"""The frozen language model, as the rest of rankprobe sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankprobe.backbone.offload import runs_on, values
from rankprobe.backbone.tokenizers import unknown_id

Decoding = Literal["padded", "grouped", "uncached"]
"""How a model decodes a batch: all rows together, padded on the left; in groups of rows of equal length; or
without a cache, each step computing the whole sequence again. An encoder-decoder is never `grouped`."""


@dataclass(frozen=True)
class Backbone:
    """A frozen encoder-decoder or decoder-only model with its tokenizer.

    `name` is what the user asked for, `source` where the weights came from (`bundled`, `hub`, `folder`,
    `gguf`, `random`), `revision` the hub commit or the hash of the GGUF file, `file_label` the name and
    quantisation of that file. Weights in float32, bfloat16 or float64; prompts meet them in `splice`. `chat`
    puts each text into the user's turn of the tokenizer's chat template and the answer into the assistant's;
    the prompt comes before the whole conversation. `embed_scale` is the factor that the model applies to the
    output of its embedding module when it is given token ids (√d in Pegasus and Marian). `load_backbone`
    finds it and `decoding`, `prompt_once` (whether the model can read a prompt once for all its texts) and
    `padding_after_prompt` (whether it then tolerates padding between prompt and text).
    """

    name: str
    source: str
    model: Any
    tokenizer: Any
    revision: str | None = None
    embed_scale: float = 1.0
    decoding: Decoding = "padded"
    prompt_once: bool = False
    padding_after_prompt: bool = False
    file_label: str | None = None
    chat: bool = False

    @property
    def causal(self) -> bool:
        """Whether it is decoder-only: an answer then continues the text."""
        return not self.model.config.is_encoder_decoder

    def source_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of source texts; a text that an answer is to continue has no end-of-sequence piece."""
        if self.chat:
            return self.tokenizer(
                [self._user_turn(text) for text in texts], add_special_tokens=False
            ).input_ids
        ids = self.tokenizer(list(texts)).input_ids
        if not self.causal:
            return ids
        return [each[:-1] if each and each[-1] == self.tokenizer.eos_token_id else each for each in ids]

    def answer_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of answers, each with its end-of-sequence piece."""
        if not self.causal:
            return self.tokenizer(list(texts)).input_ids
        space = "" if self.chat else " "
        pieces = self.tokenizer([space + text for text in texts], add_special_tokens=False).input_ids
        return [[*each, self.tokenizer.eos_token_id] for each in pieces]

    @cached_property
    def source_end(self) -> int:
        """Tokens that a source must keep at its end: what the chat template writes after the text, else 1."""
        if not self.chat:
            return 1
        mark = "rankprobe"
        after = self._user_turn(mark).rpartition(mark)[2]
        return len(self.tokenizer(after, add_special_tokens=False).input_ids)

    def _user_turn(self, text: str) -> str:
        conversation = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)

    @property
    def unknown_id(self) -> int:
        """The id of the piece that stands for what the tokenizer cannot represent; -1 if it has none.

        In some tokenizers, such as GPT-2's, it is the end-of-sequence piece: they represent everything.
        """
        return unknown_id(self.tokenizer)

    @property
    def for_decoding(self) -> Backbone:
        """The same backbone; it reads a prompt once only if padding may follow the prompt, as in decoding."""
        return self if self.padding_after_prompt else replace(self, prompt_once=False)

    @property
    def random_weights(self) -> bool:
        return self.source == "random"

    @property
    def label(self) -> str:
        """The name for people: random weights, our own little backbones and quantised files are called so."""
        if self.file_label:
            return self.file_label
        notes = {"random": " (random weights)", "bundled": " (rankprobe's own)"}
        return self.name + notes.get(self.source, "")

    @property
    def embedding(self) -> Tensor:
        """The matrix of the input embedding as it is stored, (rows, d). What the model feeds: see `embed`.

        It may hold more rows than the tokenizer has pieces. Where it is spread to disk, each access reads it.
        """
        return values(self.model.get_input_embeddings(), "weight")

    def embed(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d"]:
        """The embeddings that the model computes for token ids, including its scales."""
        rows = self.model.get_input_embeddings()(ids)
        return rows if self.embed_scale == 1 else rows * self.embed_scale

    def embed_words(self, ids: Sequence[int]) -> Float[Tensor, "ids d"]:
        """`embed` on the CPU, in the dtype of the prompt."""
        rows = self.embed(torch.tensor(list(ids), dtype=torch.long, device=self.device))
        return rows.detach().to("cpu", self.prompt_dtype)

    @property
    def n_rows(self) -> int:
        """Rows of the input embedding."""
        return self.model.get_input_embeddings().weight.shape[0]

    @property
    def d_model(self) -> int:
        return self.model.get_input_embeddings().weight.shape[1]

    @property
    def device(self) -> torch.device:
        """Where text and prompt enter; layers of a spread model may compute elsewhere."""
        return runs_on(self.model.get_input_embeddings())

    @property
    def embedding_dtype(self) -> torch.dtype:
        return self.model.get_input_embeddings().weight.dtype

    @property
    def prompt_dtype(self) -> torch.dtype:
        """Prompts and optimizer state are float32, whatever the frozen weights are; float64 under float64."""
        return torch.float64 if self.embedding_dtype == torch.float64 else torch.float32

    @property
    def piece_ids(self) -> list[int]:
        """Ids of real pieces, without special tokens and embedding rows beyond the tokenizer.

        In the tokenizer's order, which is by falling frequency for sentencepiece vocabularies such as T5's.
        """
        special = set(self.tokenizer.all_special_ids)
        return [i for i in range(min(len(self.tokenizer), self.n_rows)) if i not in special]

    def vocabulary(self, max_pieces: int | None = None) -> Float[Tensor, "pieces d"]:
        """The embeddings of vocabulary pieces in the tokenizer's order, on the CPU, in the prompt's dtype.

        Args:
            max_pieces: only the first ones; default: all.
        """
        return self.embed_words(self.piece_ids[:max_pieces])

    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())
