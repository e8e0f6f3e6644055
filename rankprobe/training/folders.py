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
    return path.with_name(_earlier_id(config.model_dump_json(), Path(runs_dir)) or path.name)


def _is_same_run(asked: RunConfig, then: RunConfig) -> bool:
    """Whether a finished run is what is asked for; an unset dtype asks for that of the run's device."""
    dtype = asked.backbone.dtype or then.default_dtype
    one, other = ({k: v for k, v in each.identity().items() if k != "dtype"} for each in (asked, then))
    return one == other and dtype == then.backbone.dtype


@cache
def _earlier_id(asked: str, runs_dir: Path) -> str | None:
    config = RunConfig.model_validate_json(asked)
    for manifest in sorted(runs_dir.glob(f"{glob.escape(config.id_stem)}*/{MANIFEST}")):
        run = Run(manifest.parent)
        try:
            if run.manifest.get("format", 1) == 1 and _is_same_run(config, config_of(run)):
                return run.id
        except RankprobeError:  # a damaged manifest is reported by whoever reads that run
            continue
    return None
