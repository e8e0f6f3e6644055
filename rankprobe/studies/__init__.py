"""Questions that take many runs.

The modules:

    calibration   which readings recover a planted rank
    distillation  the same with a model: students of teacher prompts of known rank
    coverage      how often the interval of a functional rank contains the truth
    grid          the same over signal-to-noise, spectra and noises, with pairs of replicates
    replicate     the reproducible rank: in how many directions independent trainings agree
    capacity      scores over the number of trained parameters; d90
    null_size     how often verdicts are wrong without a task, and how often they find an effect
    parameters    how many parameters each method trains
"""

from rankprobe.studies.calibration import calibrate
from rankprobe.studies.capacity import capacity, d90
from rankprobe.studies.distillation import calibrate_model
from rankprobe.studies.grid import calibrate_grid
from rankprobe.studies.parameters import trainable_parameters
from rankprobe.studies.replicate import Replication, replicate

__all__ = [
    "Replication",
    "calibrate",
    "calibrate_grid",
    "calibrate_model",
    "capacity",
    "d90",
    "replicate",
    "trainable_parameters",
]
