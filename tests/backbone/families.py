"""Tiny random models of many architectures, and what is expected of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import transformers as hf

from rankprobe.backbone import Backbone
from rankprobe.backbone.load import load_tokenizer, prepared

D = 32
ROOT_D = D**0.5
SPREAD = 0.2
"""Standard deviation of the weights: far from initial ones, which hide mistakes."""


@cache
def pieces() -> Any:
    return load_tokenizer("tiny")


def special() -> dict[str, Any]:
    end, pad = pieces().eos_token_id, pieces().pad_token_id
    return {"vocab_size": len(pieces()), "bos_token_id": end, "eos_token_id": end, "pad_token_id": pad}


def t5(kind: str, **own: Any) -> Any:
    return getattr(hf, f"{kind}Config")(
        d_model=D, d_kv=16, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0, **special(), **own
    )


def bart(kind: str, **own: Any) -> Any:
    """The start token is not the padding: NLLB counts positions by what is not padding."""
    sides = {"layers": 1, "attention_heads": 2, "ffn_dim": 48}
    both = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sides.items()}
    given = {**both, **special(), "d_model": D, "max_position_embeddings": 128, "decoder_start_token_id": 2}
    return getattr(hf, f"{kind}Config")(**{**given, **own})


def gpt(kind: str, **own: Any) -> Any:
    given = {"n_embd": D, "n_layer": 2, "n_head": 2, "n_positions": 128, **special()}
    return getattr(hf, f"{kind}Config")(**{**given, **own})


SIZES = {"hidden_size": D, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
         "max_position_embeddings": 128}  # fmt: skip


def llama(kind: str, **own: Any) -> Any:
    given = {**SIZES, "num_key_value_heads": 1, **special()}
    return getattr(hf, f"{kind}Config")(**{**given, **own})


def mamba(kind: str, **own: Any) -> Any:
    given = {"hidden_size": D, "num_hidden_layers": 2, "state_size": 4, **special()}
    return getattr(hf, f"{kind}Config")(**{**given, **own})


def t5gemma() -> Any:
    side = {**SIZES, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 16, **special()}
    encoder = hf.T5GemmaModuleConfig(**side)
    decoder = hf.T5GemmaModuleConfig(**side, is_decoder=True, cross_attention_hidden_size=D)
    return hf.T5GemmaConfig(encoder=encoder, decoder=decoder, **special())


def gemma3_with_vision() -> Any:
    text = {**SIZES, "num_key_value_heads": 1, "head_dim": 16, "sliding_window": 16, **special()}
    vision = {**SIZES, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
    del vision["max_position_embeddings"]
    end, pad = pieces().eos_token_id, pieces().pad_token_id
    return hf.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, eos_token_id=end, pad_token_id=pad
    )


def bert_to_bert() -> Any:
    side = {**SIZES, **special()}
    return hf.EncoderDecoderConfig.from_encoder_decoder_configs(
        hf.BertConfig(**side), hf.BertConfig(**side), decoder_start_token_id=2, pad_token_id=0
    )


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
PER_LAYER = {"num_hidden_layers": 5, "head_dim": 16, "sliding_window": 16, "hidden_size_per_layer_input": 8,
             "num_kv_shared_layers": 0}  # fmt: skip
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}


@dataclass(frozen=True)
class Works:
    """What is to be found out about a model that trains and decodes."""

    config: Callable[[], Any]
    decoding: str = "padded"
    scale: float = 1.0


@dataclass(frozen=True)
class Refused:
    """Why a model is refused."""

    config: Callable[[], Any]
    because: str


FAMILIES: dict[str, Works | Refused] = {
    # encoder-decoders with relative positions
    "T5": Works(lambda: t5("T5")),
    "MT5": Works(lambda: t5("MT5")),
    "UMT5": Works(lambda: t5("UMT5")),
    "LongT5": Works(lambda: t5("LongT5", local_radius=8)),
    "LongT5 with global attention": Works(
        lambda: t5("LongT5", local_radius=8, encoder_attention_type="transient-global", global_block_size=4)
    ),
    "SwitchTransformers": Works(
        lambda: t5("SwitchTransformers", num_experts=4, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1)
    ),
    "T5Gemma": Works(t5gemma),
    # with tables of positions, scaled outside the embedding module, inside it, and not at all
    "Pegasus": Works(lambda: bart("Pegasus", scale_embedding=True), scale=ROOT_D),
    "Marian": Works(
        lambda: bart("Marian", scale_embedding=True, decoder_vocab_size=len(pieces())), scale=ROOT_D
    ),
    "BlenderbotSmall": Works(lambda: bart("BlenderbotSmall", scale_embedding=True), scale=ROOT_D),
    "Bart": Works(lambda: bart("Bart")),
    "MBart": Works(lambda: bart("MBart", scale_embedding=True)),
    "PLBart": Works(lambda: bart("PLBart", scale_embedding=True)),
    "M2M100": Works(lambda: bart("M2M100", scale_embedding=True)),
    "NllbMoe": Works(
        lambda: bart(
            "NllbMoe", scale_embedding=True, num_experts=4, encoder_sparse_step=1, decoder_sparse_step=1,
            expert_capacity=64,
        )
    ),
    "Blenderbot": Works(lambda: bart("Blenderbot", scale_embedding=True)),
    "BigBirdPegasus": Works(
        lambda: bart("BigBirdPegasus", scale_embedding=True, attention_type="original_full")
    ),
    "Mvp": Works(lambda: bart("Mvp")),
    "LED": Works(
        lambda: bart(
            "LED", max_encoder_position_embeddings=128, max_decoder_position_embeddings=32, attention_window=8
        )
    ),
    "EncoderDecoder": Works(bert_to_bert),
    # decoders with tables of positions
    "GPT2": Works(lambda: gpt("GPT2")),
    "GPTBigCode": Works(lambda: gpt("GPTBigCode")),
    "GPTNeo": Works(
        lambda: hf.GPTNeoConfig(
            hidden_size=D, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]], window_size=8,
            max_position_embeddings=128, **special(),
        )
    ),
    "OPT": Works(
        lambda: hf.OPTConfig(
            **{**SIZES, "ffn_dim": 48}, word_embed_proj_dim=24, do_layer_norm_before=True, **special()
        )
    ),
    "XGLM": Works(
        lambda: hf.XGLMConfig(
            d_model=D, ffn_dim=48, num_layers=2, attention_heads=2, scale_embedding=True,
            max_position_embeddings=128, **special(),
        )
    ),
    "BioGpt": Works(lambda: hf.BioGptConfig(**SIZES, scale_embedding=True, **special())),
    "PegasusDecoder": Works(  # it scales ids and embeddings alike, and counts padding as positions
        lambda: bart("Pegasus", scale_embedding=True, is_encoder_decoder=False, is_decoder=True),
        decoding="grouped",
    ),
    "CTRL": Works(lambda: gpt("CTRL", dff=48)),
    "OpenAIGPT": Works(lambda: gpt("OpenAIGPT"), decoding="uncached"),
    "BertAsDecoder": Works(lambda: hf.BertConfig(**SIZES, is_decoder=True, **special())),
    "RobertaAsDecoder": Works(
        lambda: hf.RobertaConfig(**SIZES, is_decoder=True, **special()), decoding="uncached"
    ),
    # decoders with biases or rotation
    "Bloom": Works(lambda: hf.BloomConfig(hidden_size=D, n_layer=2, n_head=2, **special())),
    "Mpt": Works(lambda: hf.MptConfig(d_model=D, n_heads=2, n_layers=2, max_seq_len=128, **special())),
    "Falcon": Works(
        lambda: hf.FalconConfig(hidden_size=D, num_hidden_layers=2, num_attention_heads=2, **special())
    ),
    "GPTJ": Works(lambda: gpt("GPTJ", rotary_dim=8)),
    "GPTNeoX": Works(lambda: hf.GPTNeoXConfig(**SIZES, **special())),
    "Llama": Works(lambda: llama("Llama")),
    "Mistral": Works(lambda: llama("Mistral", sliding_window=8)),
    "Qwen3": Works(lambda: llama("Qwen3", head_dim=16)),
    "Phi3": Works(lambda: llama("Phi3")),
    "Cohere": Works(lambda: llama("Cohere")),
    "Granite": Works(lambda: llama("Granite", embedding_multiplier=12.0)),
    "Gemma": Works(lambda: llama("Gemma", head_dim=16)),
    "Gemma2": Works(lambda: llama("Gemma2", head_dim=16, sliding_window=8)),
    "Gemma3Text": Works(lambda: llama("Gemma3Text", head_dim=16, sliding_window=8)),
    "Gemma3 with vision": Works(gemma3_with_vision),
    # mixtures of experts
    "Mixtral": Works(lambda: llama("Mixtral", num_local_experts=4)),
    "Qwen3Moe": Works(
        lambda: llama("Qwen3Moe", head_dim=16, moe_intermediate_size=32, decoder_sparse_step=1, **EXPERTS)
    ),
    "Olmoe": Works(lambda: llama("Olmoe", **EXPERTS)),
    "GptOss": Works(
        lambda: llama("GptOss", head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8)
    ),
    "DeepseekV3": Works(
        lambda: llama(
            "DeepseekV3", num_key_value_heads=2, n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1,
            moe_intermediate_size=16, first_k_dense_replace=1, **LATENT,
        )
    ),
    # state-space and other recurrent models
    "Mamba": Works(lambda: mamba("Mamba"), decoding="grouped"),
    "Mamba2": Works(lambda: mamba("Mamba2", num_heads=4, head_dim=16, n_groups=1, chunk_size=8)),
    "Rwkv": Works(
        lambda: hf.RwkvConfig(hidden_size=D, num_hidden_layers=2, attention_hidden_size=D, **special()),
        decoding="grouped",
    ),
    "RecurrentGemma": Works(
        lambda: hf.RecurrentGemmaConfig(
            hidden_size=D, intermediate_size=96, num_hidden_layers=3, num_attention_heads=2, lru_width=D,
            attention_window_size=16, **special(),
        ),
        decoding="uncached",
    ),
    "Bamba": Works(
        lambda: llama(
            "Bamba", attn_layer_indices=[1], mamba_n_heads=4, mamba_d_head=16, mamba_d_state=4, mamba_expand=2
        )
    ),
    "Jamba": Works(
        lambda: llama(
            "Jamba", attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
            num_experts=2, mamba_d_state=4, mamba_dt_rank=4, use_mamba_kernels=False,
        )
    ),
    "Lfm2": Works(lambda: llama("Lfm2", layer_types=["conv", "full_attention"])),
    # refused
    "Bart without a start": Refused(
        lambda: bart("Bart", decoder_start_token_id=None),
        r"has no start token for its decoder .*; set decoder_start_token_id in its config.json",
    ),
    "FSMT": Refused(
        lambda: hf.FSMTConfig(
            langs=["a", "b"], src_vocab_size=len(pieces()), tgt_vocab_size=len(pieces()), d_model=D,
            encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
            encoder_ffn_dim=48, decoder_ffn_dim=48,
        ),
        "gives other logits for inputs_embeds than for the same input_ids",
    ),
    "Gemma3nText": Refused(
        lambda: llama(
            "Gemma3nText", vocab_size_per_layer_input=len(pieces()), laurel_rank=8,
            layer_types=["sliding_attention"] * 4 + ["full_attention"], **PER_LAYER,
        ),
        "gives other logits for inputs_embeds than for the same input_ids",
    ),
    "Gemma4Text": Refused(
        lambda: llama(
            "Gemma4Text", vocab_size_per_layer_input=len(pieces()), global_head_dim=16, **PER_LAYER
        ),
        "needs token ids, so no soft prompt can be joined to it",
    ),
    "XLNet": Refused(
        lambda: hf.XLNetConfig(d_model=D, n_layer=1, n_head=2, d_inner=48, **special()),
        "attends to later tokens",
    ),
    "Roberta": Refused(
        lambda: hf.RobertaConfig(**SIZES, **special()), "attends to later tokens"
    ),
    "Reformer": Refused(
        lambda: hf.ReformerConfig(
            hidden_size=D, is_decoder=True, attention_head_size=16, num_attention_heads=2, feed_forward_size=48,
            attn_layers=["local"], axial_pos_embds=False, local_attn_chunk_length=16, max_position_embeddings=128,
            **special(),
        ),
        "cannot be trained through",
    ),
}  # fmt: skip


def network(config: Any) -> Any:
    """A model with random weights, as `from_pretrained` would give it."""
    kind = hf.AutoModelForSeq2SeqLM if config.is_encoder_decoder else hf.AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind.from_config(config, attn_implementation="eager")
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if not any(part in name.lower() for part in ("norm", "a_log", "dt")):
                    weight.normal_(0, SPREAD)
    return model.eval()


def from_config(config: Any, name: str = "made", dtype: torch.dtype = torch.float32) -> Backbone:
    """A backbone made in memory and then treated as one that was loaded."""
    return prepared(Backbone(name, "folder", network(config).to(dtype), pieces()))


def loaded(name: str, dtype: torch.dtype = torch.float32) -> Backbone:
    """The backbone of a family."""
    return from_config(FAMILIES[name].config(), name, dtype)


def saved(config: Any, folder: Any) -> str:
    """A folder with a model and the tokenizer, as a user would have it."""
    network(config).save_pretrained(folder)
    pieces().save_pretrained(folder)
    return str(folder)
