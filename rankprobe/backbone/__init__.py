"""What is frozen: loading a model, splicing prompts into its forward pass, scoring, decoding.

No forked model code: Hugging Face models are used through `inputs_embeds`.
"""

from rankprobe.backbone.base import Backbone
from rankprobe.backbone.checkpointing import recomputing
from rankprobe.backbone.device import chosen_device, chosen_dtype
from rankprobe.backbone.dropout import MemberDropout
from rankprobe.backbone.fingerprint import fingerprint
from rankprobe.backbone.load import check_model, load_backbone, location
from rankprobe.backbone.positions import check_fits
from rankprobe.backbone.score import TextBatch, check_prompt_matters, decode, label_logits, likeliest, losses
from rankprobe.backbone.shapes import SHAPES
from rankprobe.backbone.splice import Soft, splice
from rankprobe.backbone.spread import fetching_again, is_fetched

__all__ = [
    "SHAPES",
    "Backbone",
    "MemberDropout",
    "Soft",
    "TextBatch",
    "check_fits",
    "check_model",
    "check_prompt_matters",
    "chosen_device",
    "chosen_dtype",
    "decode",
    "fetching_again",
    "fingerprint",
    "is_fetched",
    "label_logits",
    "likeliest",
    "load_backbone",
    "location",
    "losses",
    "recomputing",
    "splice",
]
