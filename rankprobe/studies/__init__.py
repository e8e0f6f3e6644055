"""Questions that take many runs.

The modules:

    calibration   which readings recover a planted rank
    distillation  the same with a model: students of teacher prompts of known rank
    coverage      how often the interval of a functional rank contains the truth
    capacity      scores over the number of trained parameters; d90
    null_size     how often verdicts are wrong without a task, and how often they find an effect
    parameters    how many parameters each method trains
"""

from rankprobe.studies.calibration import calibrate
from rankprobe.studies.capacity import capacity, d90
from rankprobe.studies.distillation import calibrate_model
from rankprobe.studies.parameters import trainable_parameters

__all__ = [
    "calibrate",
    "calibrate_model",
    "capacity",
    "d90",
    "trainable_parameters",
]
