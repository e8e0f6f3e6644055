"""Many runs: a plan (list of configs), packed into cohorts, and the engine that trains them."""

from rankprobe.sweeps.engine import run_all
from rankprobe.sweeps.plan import grid, pack

__all__ = ["grid", "pack", "run_all"]
