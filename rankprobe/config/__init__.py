"""What was asked for: the settings of a run, flat and checked. Importing this room needs no torch.

The modules:

    sections   the settings of task, backbone, training and logging, with descriptions and sources
    run        RunConfig: all of them in one, with those of the method; the run id
    cohort     which runs can share a pass
    defaults   defaults that depend on other settings
    folders    from a config to its run folder, and back
    pins       the commit of a prompt on the hub
"""

from rankprobe.config.cohort import cohort_key
from rankprobe.config.defaults import default_data, names_its_files
from rankprobe.config.run import RunConfig, all_settings, free_settings, methods_with, override
from rankprobe.config.sections import BackboneConfig, LoggingConfig, TaskConfig, TrainingConfig

__all__ = [
    "BackboneConfig",
    "LoggingConfig",
    "RunConfig",
    "TaskConfig",
    "TrainingConfig",
    "all_settings",
    "cohort_key",
    "default_data",
    "free_settings",
    "methods_with",
    "names_its_files",
    "override",
]
