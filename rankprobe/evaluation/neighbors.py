"""The words nearest to a prompt."""

from __future__ import annotations

import pandas as pd

from rankprobe.config.folders import config_of
from rankprobe.errors import RankprobeError
from rankprobe.evaluation.load import Which, backbone_of, check_backbone
from rankprobe.rank import nearest
from rankprobe.runs import Run


def neighbors(run: Run, *, which: Which = "final", count: int = 5, metric: str = "cosine") -> pd.DataFrame:
    """The vocabulary pieces nearest to each prompt token.

    Source: Lester et al. (2021), section 7.

    Returns:
        Columns `token`, `place` (1 is the nearest), `piece`, and one named after the metric.

    Raises:
        RankprobeError: the run has no prompt, its backbone has other weights now, or as `rank.nearest`.
    """
    P = run.prompt(which)
    if not len(P):
        raise RankprobeError(f"run '{run.id}' has no prompt ({config_of(run).method.name})")
    config = config_of(run)
    backbone = backbone_of(config, device=None if config.device_map else "cpu")
    check_backbone(run, backbone)
    order, closeness = nearest(P, backbone.vocabulary().numpy(), count, metric)
    pieces = backbone.tokenizer.convert_ids_to_tokens(backbone.piece_ids)
    return pd.DataFrame(
        [
            {"token": token, "place": place, "piece": pieces[row], metric: value}
            for token, (rows, values) in enumerate(zip(order, closeness, strict=True))
            for place, (row, value) in enumerate(zip(rows, values, strict=True), start=1)
        ]
    )
