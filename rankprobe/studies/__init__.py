"""Questions that take many runs.

The modules:

    calibration   which readings recover a planted rank
    grid          the same over signal-to-noise, spectra and noises, with pairs of replicates
    distillation  the same with a model: students of teacher prompts of known rank
    task_rank     the rank that a task needs: cut, healed and restarted prompts of rank k
    needed_search  the search of the least k, from scores of rows
    needed_calibration  the needed rank of imitating teachers of known rank
    coverage      how often the interval of a functional rank contains the truth
    replicate     the reproducible rank: in how many directions independent trainings agree
    capacity      scores over the number of trained parameters; d90
    null_size     how often verdicts are wrong without a task, and how often they find an effect
    parameters    how many parameters each method trains

`python -m rankprobe.studies` prints the tables of the docs that no command of `rankprobe` prints.
"""

from rankprobe.studies.calibration import calibrate
from rankprobe.studies.capacity import capacity, d90
from rankprobe.studies.distillation import calibrate_model
from rankprobe.studies.grid import calibrate_grid
from rankprobe.studies.needed_calibration import calibrate_needed
from rankprobe.studies.parameters import trainable_parameters
from rankprobe.studies.replicate import Replication, replicate
from rankprobe.studies.task_rank import taskrank

__all__ = [
    "Replication",
    "calibrate",
    "calibrate_grid",
    "calibrate_model",
    "calibrate_needed",
    "capacity",
    "d90",
    "replicate",
    "taskrank",
    "trainable_parameters",
]
