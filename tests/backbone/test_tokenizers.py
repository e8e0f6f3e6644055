"""Tokenizers in any form that transformers reads, from folders and from the cache of the hub."""

from __future__ import annotations

import json
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, GPT2Config, T5Config, XLMRobertaConfig

from rankprobe.backbone.load import load_tokenizer
from rankprobe.errors import RankprobeError

COMMIT = "0" * 39 + "1"
TEXT = ["the man ran home and the dog saw him"] * 40


def in_the_cache(home, name):
    """A folder that the cache takes for the newest snapshot of `acme/<name>`."""
    repository = home / f"models--acme--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    T5Config(d_model=8, num_layers=1).save_pretrained(snapshot)
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    return tmp_path


def write_byt5(folder):
    config = {
        "tokenizer_class": "ByT5Tokenizer",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "extra_ids": 125}))


def write_vocabulary_and_merges(folder):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.model.save(str(folder))
    config = {
        "tokenizer_class": "GPT2Tokenizer",
        **dict.fromkeys(("unk_token", "bos_token", "eos_token"), "</s>"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return GPT2Config(n_embd=8, n_layer=1, n_head=1)


def write_sentencepiece(folder):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_prefix=str(folder / "spiece"), vocab_size=40, model_type="unigram",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    config = {
        "tokenizer_class": "T5Tokenizer",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_bpe_sentencepiece(folder):
    """What XLM-R has, where only the config tells the kind of tokenizer."""
    write_sentencepiece(folder)
    (folder / "spiece.model").rename(folder / "sentencepiece.bpe.model")
    return XLMRobertaConfig(hidden_size=8, num_hidden_layers=1)


WRITERS = [write_byt5, write_vocabulary_and_merges, write_sentencepiece]


@pytest.mark.parametrize("write", WRITERS)
def test_without_a_tokenizer_json(tmp_path, cache, write):
    snapshot = in_the_cache(cache, "small")
    write(snapshot)
    for name in (str(snapshot), "acme/small"):
        tokenizer = load_tokenizer(name)
        ids = tokenizer("the man ran").input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "the man ran"
        assert tokenizer.pad_token_id is not None
        assert ids == AutoTokenizer.from_pretrained(snapshot)("the man ran").input_ids


def test_a_spiece_model_beside_the_model_alone(tmp_path):
    write_sentencepiece(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    T5Config(d_model=8, num_layers=1).save_pretrained(tmp_path)
    assert len(set(load_tokenizer(str(tmp_path))("the man ran").input_ids)) > 3


@pytest.mark.parametrize("write", [write_vocabulary_and_merges, write_bpe_sentencepiece])
def test_a_vocabulary_beside_the_model_alone(tmp_path, write):
    config = write(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
    config.save_pretrained(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    ids = tokenizer("the man ran").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "the man ran"


def test_the_package_that_a_tokenizer_needs_is_named(tmp_path, cache, monkeypatch):
    """What transformers says of it names another package, which does not help."""
    snapshot = in_the_cache(cache, "small")
    write_sentencepiece(snapshot)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    monkeypatch.setattr("rankprobe.backbone.load.find_spec", lambda name: None)
    for name in (str(snapshot), "acme/small"):
        with pytest.raises(RankprobeError, match="needs sentencepiece; pip install sentencepiece"):
            load_tokenizer(name)


def test_a_cache_with_the_model_alone(cache):
    in_the_cache(cache, "small")
    with pytest.raises(
        RankprobeError, match="tokenizer 'acme/small' is not in the cache and the hub cannot be"
    ):
        load_tokenizer("acme/small")


def test_a_folder_without_a_tokenizer(tmp_path):
    T5Config(d_model=8, num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(
        RankprobeError, match="is no folder with one of tokenizer_config.json, tokenizer.json"
    ):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    with pytest.raises(RankprobeError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path))
