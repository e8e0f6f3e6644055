"""From a run folder to its config, and from a config to its run folder.

Not in the door of this room: it reads run folders, for which pandas is imported.
"""

from __future__ import annotations

import glob
from functools import cache
from pathlib import Path

from rankprobe.config.run import RunConfig
from rankprobe.errors import RankprobeError
from rankprobe.runs import MANIFEST, Run


def config_of(run: Run) -> RunConfig:
    """The config that a run was started with.

    Raises:
        RankprobeError: its manifest cannot be read, or has settings that this version does not know.
    """
    return RunConfig.parse(run.manifest["config"])


def run_folder(config: RunConfig, runs_dir: str | Path) -> Path:
    """The folder of the run that `config` describes; it need not exist.

    Ids of manifest format 1 hash every setting, those of format 2 some names that have changed, and those of
    format 3 the setting `twin` as a flag. Such runs are found by their settings, so that finished runs stay
    finished.
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
    """The config of a run of manifest format 1 to 3; None for later ones."""
    run = Run(path)
    return config_of(run) if run.manifest.get("format", 1) in (1, 2, 3) else None


def _is_same_run(asked: RunConfig, then: RunConfig) -> bool:
    """Whether an earlier run has the settings that are asked for.

    Where no dtype is asked for, it is the default of the device of the run.

    The order of batches and the twins may differ: earlier versions had `batch_order="own"` and the Gaussian
    twin only.
    """
    dtype, free = asked.dtype or then.default_dtype, {"dtype", "batch_order", "twin"}
    one, other = ({k: v for k, v in each.identity().items() if k not in free} for each in (asked, then))
    return one == other and dtype == then.dtype
