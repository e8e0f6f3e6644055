"""The training loop.

The modules, in the order in which a run meets them:

    api           probe, train, train_cohort, resume
    resume        which runs go on, from which step, in which pass
    cohort        opens the runs of one pass
    session       what they share: backbone, data, schedule
    run_state     one run: its method, its twins, its best prompt, its progress
    optimization  from gradients to updates
    gradients     what the gradients of a run look like, and what its twins get in their place
    twins         the noise twins
    loop          the steps, for all members of a cohort
    memory        how many members fit into one pass
    free_memory   free memory of a device
    peak_memory   peak memory of a computation
    recorder      what is measured and logged after each step
    checkpoints   saves and restores a run
    manifest      what the manifest of a new run says
"""

from rankprobe.runs.step_record import Hook, StepRecord
from rankprobe.training.api import probe, resume, train, train_cohort
from rankprobe.training.session import Session, open_session

__all__ = [
    "Hook",
    "Session",
    "StepRecord",
    "open_session",
    "probe",
    "resume",
    "train",
    "train_cohort",
]
