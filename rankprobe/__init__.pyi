from . import plots, rank, reports, studies, sweeps
from .config import RunConfig
from .errors import RankprobeError, RunFailed, RunInterrupted
from .evaluation import evaluate_runs, export_run, neighbors, predict, truncate
from .pages import report
from .reports import analyze, findings
from .runs import Frames, Run, find_run, list_runs, load_runs, read_prompts
from .studies import Replication, replicate, taskrank
from .trackers import track
from .training import StepRecord, probe, resume, train, train_cohort

__version__: str
__all__ = [
    "Frames",
    "RankprobeError",
    "Replication",
    "Run",
    "RunConfig",
    "RunFailed",
    "RunInterrupted",
    "StepRecord",
    "analyze",
    "evaluate_runs",
    "export_run",
    "find_run",
    "findings",
    "list_runs",
    "load_runs",
    "neighbors",
    "plots",
    "predict",
    "probe",
    "rank",
    "read_prompts",
    "replicate",
    "report",
    "reports",
    "resume",
    "studies",
    "sweeps",
    "taskrank",
    "track",
    "train",
    "train_cohort",
    "truncate",
]
