"""What is checked before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest
from conftest import quick

from rankprobe.data.checks import check_tokenizer
from rankprobe.errors import RankprobeError
from rankprobe.training.session import open_session


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
        ({"length": 9999}, "has 9999 tokens, but the model's embedding has 8"),
        ({"pad_token_id": None}, "has no padding token"),
        ({"eos_token_id": None}, "has no end-of-sequence token, so an answer would never end"),
        ({"endless": True}, "does not end a text with its end-of-sequence token"),
        ({"reads": "0"}, "decodes the labels ('0', '1', '2') as ('0', '0', '0'); try other --targets"),
    ],
)
def test_tokenizers_that_cannot_serve_are_refused(backbone, faults, message):
    answers = ["0", "1", "2"]
    check_tokenizer(backbone, answers)
    odd = dataclasses.replace(backbone, tokenizer=Tokenizer(backbone.tokenizer, **faults))
    with pytest.raises(RankprobeError, match=re.escape(message)):
        check_tokenizer(odd, answers)


def test_labels_that_a_tokenizer_confuses_are_changed_where_they_were_chosen(backbone):
    odd = dataclasses.replace(backbone, tokenizer=Tokenizer(backbone.tokenizer, reads="0"))
    with pytest.raises(RankprobeError) as refused:
        check_tokenizer(odd, ["0", "1"], "[labels] of its TOML file")
    assert "change [labels] of its TOML file; give another --tokenizer" in str(refused.value)
    assert "--targets" not in str(refused.value)


def test_labels_of_ones_own_are_changed_in_their_file(tmp_path):
    rows = "".join(json.dumps({"review": "warm", "label": i % 2}) + "\n" for i in range(4))
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text(rows)
    task = 'template = "{review}"\ntarget = "label"\ntrain = "train.jsonl"\nvalidation = "val.jsonl"\n'
    (tmp_path / "t.toml").write_text(task + '[labels]\n0 = "bad "\n1 = "good"\n')
    message = r"decodes the labels \('bad ', 'good'\) as \('bad', 'good'\); change \[labels\] of its TOML"
    with pytest.raises(RankprobeError, match=message):
        open_session([quick(task=str(tmp_path / "t.toml"))])
