"""What is frozen: loading a model, splicing prompts into its forward pass, scoring, decoding.

Hugging Face models are used through `inputs_embeds`; no model code is copied.

    load          a model and its tokenizer, from the bundle, the hub, a folder, or random
    gguf          a GGUF file as a folder that load can read
    check         whether a model can be used: its logits from embeddings equal those from token ids
    base          Backbone: the model as the rest of rankprobe sees it
    device_map    where accelerate puts the parts of a large model
    splice        the only code that joins P to a model
    flip          a second gradient of the prompt, with a random sign for each text
    score         losses and answers of K prompts in one pass
    decoding      greedy decoding, in whichever way a model supports
    positions     how many tokens a model takes
    fast_layers   faster norms, and faster cross-attention for T5
    offload       models larger than one device
"""

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.checkpointing import recomputing
from rankprobe.backbone.device import chosen_device, chosen_dtype, device_problem
from rankprobe.backbone.dropout import MemberDropout
from rankprobe.backbone.fingerprint import fingerprint
from rankprobe.backbone.flip import Flip
from rankprobe.backbone.load import check_model, load_backbone, location
from rankprobe.backbone.offload import is_fetched, refetch_weights
from rankprobe.backbone.positions import check_fits
from rankprobe.backbone.score import TextBatch, check_prompt_matters, decode, label_logits, likeliest, losses
from rankprobe.backbone.shapes import SHAPES
from rankprobe.backbone.splice import PromptInput, splice
from rankprobe.backbone.training_mode import training_mode

__all__ = [
    "SHAPES",
    "Backbone",
    "Flip",
    "MemberDropout",
    "PromptInput",
    "TextBatch",
    "check_fits",
    "check_model",
    "check_prompt_matters",
    "chosen_device",
    "chosen_dtype",
    "decode",
    "device_problem",
    "fingerprint",
    "is_fetched",
    "label_logits",
    "likeliest",
    "load_backbone",
    "location",
    "losses",
    "recomputing",
    "refetch_weights",
    "splice",
    "training_mode",
]
