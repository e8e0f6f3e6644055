"""Which folder is the run of a config: its id, or the id that an earlier version gave to the same run."""

from __future__ import annotations

import glob
from functools import cache
from pathlib import Path

from rankprobe.errors import RankprobeError
from rankprobe.runs import MANIFEST, Run
from rankprobe.training.config import RunConfig
from rankprobe.training.session import config_of


def run_folder(config: RunConfig, runs_dir: str | Path) -> Path:
    """The folder of the run that `config` describes; it need not exist.

    Run ids of manifest format 1 hashed every setting. Such a run is found by its settings, so that finished
    runs stay finished.
    """
    path = Path(runs_dir) / config.run_id
    if path.exists():
        return path
    for manifest in sorted(path.parent.glob(f"{glob.escape(config.id_stem)}*/{MANIFEST}")):
        try:
            then = _config_of_earlier_version(manifest.parent)
        except RankprobeError:  # a damaged manifest is reported by whoever reads that run
            continue
        if then and _is_same_run(config, then):
            return manifest.parent
    return path


@cache
def _config_of_earlier_version(path: Path) -> RunConfig | None:
    """The config of a run of manifest format 1; None for later ones."""
    run = Run(path)
    return config_of(run) if run.manifest.get("format", 1) == 1 else None


def _is_same_run(asked: RunConfig, then: RunConfig) -> bool:
    """Whether an earlier run is what is asked for; an unset dtype asks for that of the run's device."""
    dtype = asked.backbone.dtype or then.default_dtype
    one, other = ({k: v for k, v in each.identity().items() if k != "dtype"} for each in (asked, then))
    return one == other and dtype == then.backbone.dtype
