"""Settings that name something on the hub, with the commit that they stand for.

Not in the door of this room: it reads prompt files, for which numpy and pandas are imported.
"""

from __future__ import annotations

from rankprobe.config.run import RunConfig
from rankprobe.runs.adapters import pinned_place


def pinned(config: RunConfig) -> RunConfig:
    """The config with `init_from = "hub:ORG/NAME"` as `hub:ORG/NAME@COMMIT`; else unchanged.

    A run that starts from a prompt on the hub is then the same run later, and its id says which prompt it
    started from.

    Raises:
        RankprobeError: the prompt is neither in the cache nor on the hub; see `runs.adapters.hub_adapter`.
    """
    place = getattr(config.method, "init_from", None)
    if place is None or (commit := pinned_place(place)) == place:
        return config
    return config.model_copy(update={"method": config.method.model_copy(update={"init_from": commit})})
