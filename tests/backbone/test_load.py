"""Backbones load frozen, say what they are, and are refused with a next move."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from rankprobe.backbone import fingerprint, load_backbone
from rankprobe.backbone.load import _check_spliceable
from rankprobe.errors import RankprobeError


def test_random_weights_are_frozen_reproducible_and_called_so(backbone):
    again, other = load_backbone("random:tiny"), load_backbone("random:tiny", seed=1)
    assert backbone.label == "random:tiny (random weights)"
    assert backbone.random_weights
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not backbone.model.training
    assert fingerprint(again) == fingerprint(backbone) != fingerprint(other)


def test_loading_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_backbone("random:tiny")
    assert torch.equal(torch.rand(1), expected)


def test_the_fingerprint_sees_one_bit(backbone):
    again = load_backbone("random:tiny")
    weight = again.model.encoder.block[1].layer[0].SelfAttention.q.weight
    with torch.no_grad():
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    assert fingerprint(again) != fingerprint(backbone)


def test_a_saved_folder_is_the_same_backbone(backbone, tmp_path):
    backbone.model.save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    loaded = load_backbone(str(tmp_path))
    assert loaded.source == "folder"
    assert loaded.label == str(tmp_path)
    assert fingerprint(loaded) == fingerprint(backbone)
    half = load_backbone(str(tmp_path), dtype="bfloat16")
    assert half.embedding.dtype == torch.bfloat16
    assert half.prompt_dtype == torch.float32


def test_a_cached_hub_model_needs_no_network(backbone, tmp_path, monkeypatch):
    """Not even offline mode: the cache is asked first, and nothing else."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--small"
    snapshot = repository / "snapshots" / commit
    backbone.model.save_pretrained(snapshot)
    backbone.tokenizer.save_pretrained(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("rankprobe.hub._check_hub", lambda *_: pytest.fail("the hub was asked"))
    cached = load_backbone("someone/small")
    assert (cached.source, cached.revision) == ("hub", commit)
    assert fingerprint(cached) == fingerprint(backbone)


def test_the_vocabulary_leaves_out_special_tokens(backbone):
    pieces = backbone.vocabulary()
    assert len(pieces) == len(backbone.tokenizer) - 3 - 16  # padding, end, unknown; sentinels
    assert torch.equal(pieces[0], backbone.embedding[3])


def test_real_shapes_with_the_real_tokenizer(t5_tokenizer):
    small = load_backbone("random:t5-small", tokenizer=str(t5_tokenizer), dtype="bfloat16")
    assert small.n_parameters() == 60_506_624  # the published T5-Small
    assert small.d_model == 512
    assert len(small.vocabulary()) == 32_100 - 103  # without </s>, <pad>, <unk> and 100 sentinels


@pytest.mark.parametrize(
    ("model", "tokenizer", "message"),
    [
        ("random:t5-smal", None, "unknown model 'random:t5-smal'; did you mean 'random:t5-small'?"),
        ("random:t5-base", None, "model 'random:t5-base' has the real T5 vocabulary and no tokenizer of its own; give one: --tokenizer FOLDER"),
        ("./nowhere", None, "model folder './nowhere' does not exist; give a folder or a hub id such as t5-base"),
        ("t5-base", None, "model 't5-base' is not in the cache and the hub cannot be reached"),
        ("t5-bsae", None, "did you mean 't5-base'? or give a local folder: --model FOLDER"),
        ("random:tiny", "some/tokenizer", "tokenizer 'some/tokenizer' is not in the cache and the hub cannot be reached"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(model, tokenizer, message):
    with pytest.raises(RankprobeError, match=re.escape(message)):
        load_backbone(model, tokenizer=tokenizer)


def test_folders_that_hold_no_model(tmp_path):
    with pytest.raises(RankprobeError, match="holds no language model that transformers can load"):
        load_backbone(str(tmp_path))
    with pytest.raises(
        RankprobeError, match="is no folder with one of tokenizer_config.json, tokenizer.json"
    ):
        load_backbone("random:tiny", tokenizer=str(tmp_path))


def test_a_folder_without_all_weights_is_refused(backbone, tmp_path):
    from safetensors.torch import load_file, save_file

    backbone.model.save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    missing = "decoder.block.0.layer.0.SelfAttention.q.weight"
    save_file(
        {k: v for k, v in weights.items() if k != missing}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(RankprobeError, match=f"weights are missing, such as {missing}"):
        load_backbone(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RankprobeError, match="holds no language model that transformers can load"):
        load_backbone(str(tmp_path))


def test_a_model_without_inputs_embeds_is_refused(backbone):
    class Blind(torch.nn.Module):
        def forward(self, input_ids):
            return input_ids

    with pytest.raises(RankprobeError, match=r"\(Blind\) takes no inputs_embeds"):
        _check_spliceable(dataclasses.replace(backbone, model=Blind()))
