"""What is checked before anything is trained."""

from __future__ import annotations

import dataclasses
import re
from types import SimpleNamespace

import pytest

from rankprobe.errors import RankprobeError
from rankprobe.training.session import check_tokenizer


class Tokenizer:
    """The bundled tokenizer with one fault."""

    def __init__(self, real, **faults):
        self.real, self.faults = real, faults

    def __getattr__(self, name):
        return self.faults.get(name, getattr(self.real, name))

    def __len__(self):
        return self.faults.get("length", len(self.real))

    def __call__(self, texts):
        read = [self.faults.get("reads", text) for text in texts]
        ids = self.real(read).input_ids
        return SimpleNamespace(input_ids=[each[:-1] for each in ids] if self.faults.get("endless") else ids)


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"length": 9999}, "has 9999 pieces, and the model's embedding 8"),
        ({"pad_token_id": None}, "has no padding piece"),
        ({"eos_token_id": None}, "has no end-of-sequence piece, so an answer would never end"),
        ({"endless": True}, "does not end a text with its end-of-sequence piece"),
        ({"reads": "0"}, "turns the labels ('0', '1', '2') into ('0', '0', '0'); try other --targets"),
    ],
)
def test_tokenizers_that_cannot_serve_are_refused(backbone, faults, message):
    answers = ["0", "1", "2"]
    check_tokenizer(backbone, answers)
    odd = dataclasses.replace(backbone, tokenizer=Tokenizer(backbone.tokenizer, **faults))
    with pytest.raises(RankprobeError, match=re.escape(message)):
        check_tokenizer(odd, answers)
