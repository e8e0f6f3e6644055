"""The figures of one run: `run.plot.emergence()` and others."""

from __future__ import annotations

from matplotlib.figure import Figure

from rankprobe.plots.emergence import fig3, fig9, ranks
from rankprobe.plots.over_training import scores, spectra_over_steps
from rankprobe.plots.truncation import truncation
from rankprobe.runs import Frames, Run, frames_of


class RunPlots:
    """The figures of one run. Each method reads the logs anew, so they can be used while the run goes on.

    Args:
        run: the run. `Run.plot` makes this object.
        look: `screen` or `paper`.
    """

    def __init__(self, run: Run, look: str = "screen") -> None:
        self._run, self._look = run, look

    def emergence(self) -> Figure:
        """Signs of σ and rank of P over training, with noise twins: the paper's Figure 9.

        Raises:
            RankprobeError: the run has not logged a step.
        """
        return fig9(self._frames(), look=self._look)

    def signs(self) -> Figure:
        """Positive and negative entries of σ over training, with noise twins: the paper's Figure 3.

        Raises:
            RankprobeError: the run has no diagonal, or has not logged a step.
        """
        return fig3(self._frames(), look=self._look)

    def ranks(self) -> Figure:
        """Numerical and effective rank of P over training, with noise twins.

        Raises:
            RankprobeError: the run has not logged a step.
        """
        return ranks(self._frames(), look=self._look)

    def spectra(self) -> Figure:
        """Singular values of P and ΔP at four steps, with the noise twins at the last.

        Raises:
            RankprobeError: the run has not logged a spectrum.
        """
        return spectra_over_steps(self._frames(), look=self._look)

    def scores(self) -> Figure:
        """Dev score over training, with the baseline and invalid answers.

        Raises:
            RankprobeError: the run was not evaluated yet.
        """
        return scores(self._frames(), look=self._look)

    def truncation(self) -> Figure:
        """Dev score over the number of singular directions kept.

        Raises:
            RankprobeError: `rankprobe truncate` has not been run on this run.
        """
        return truncation(self._frames(), look=self._look)

    def _frames(self) -> Frames:
        return frames_of([self._run])
