"""What a hook sees after each training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StepRecord:
    """One step of one run. All values are copies.

    Attributes:
        run_id: the run.
        step: optimizer updates so far.
        total_steps: updates of the whole run.
        row: the row that is about to be written to `steps`; columns of a diverged noise twin are None.
        evals: the rows of `evals` if this step was evaluated, else empty.
        prompt: P after the update, (n, d), on the CPU.
        factors: the parameters of the method by name, on the CPU.
    """

    run_id: str
    step: int
    total_steps: int
    row: Mapping[str, Any]
    evals: Sequence[Mapping[str, Any]]
    prompt: Tensor
    factors: Mapping[str, Tensor]


Hook = Callable[[StepRecord], Mapping[str, float] | None]
"""Called after each step. Numbers that it returns become columns of the row; NaN and infinity become null.
A column must not have the name of a setting or of another column of the log or the frames."""
