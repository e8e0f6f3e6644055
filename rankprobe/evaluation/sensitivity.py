"""The gradient of the training loss at a trained prompt."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from rankprobe.backbone import Backbone, PromptInput, losses, refetch_weights, training_mode
from rankprobe.backbone.score import IGNORED
from rankprobe.config import RunConfig
from rankprobe.data.batching import collate
from rankprobe.data.encoding import encode
from rankprobe.data.eval_set import task_of
from rankprobe.data.subsets import target_rows, training_rows
from rankprobe.tasks import load_split


def prompt_gradient(
    config: RunConfig, backbone: Backbone, prompt_input: PromptInput
) -> Float64[np.ndarray, "n d"]:
    """∂L/∂P on the training rows of a run, with the targets that the run was trained on.

    L is the loss of training (paper, equation 6) over all rows at once: the mean cross-entropy over their
    label tokens. Differs: without dropout.

    Args:
        config: of the run.
        backbone: the frozen model.
        prompt_input: P and the shift of the text.

    Raises:
        RankprobeError: the training rows cannot be read.
    """
    split = load_split(task_of(config), "train", config.data)
    data = encode(split, backbone, config.targets, config.max_source_length, training=True)
    rows = training_rows(data.examples, config, config.seed)
    target_of = target_rows(data.targets, rows, config.control, config.seed)
    rows.sort(key=lambda row: data.lengths[row])
    P = prompt_input.P.detach().to(backbone.device, copy=True).requires_grad_()
    n_tokens = sum(len(data.targets[target_of[row]]) for row in rows)
    mode = config.model_copy(update={"dropout": False})
    for start in range(0, len(rows), config.batch_size):
        part = rows[start : start + config.batch_size]
        targets = [target_of[row] for row in part]
        batch = collate(data, [part], backbone.tokenizer.pad_token_id, backbone.device, [targets])
        with (
            training_mode(backbone, mode, len(P), batch, []) as in_training,
            refetch_weights(backbone.model),
        ):
            (loss,) = losses(in_training, [PromptInput(P, prompt_input.shift)], batch)
            (loss * int((batch.labels != IGNORED).sum()) / n_tokens).backward()
    assert P.grad is not None
    return P.grad.double().cpu().numpy()
