"""rankprobe measures the intrinsic rank of soft prompts, and says how far a reading can be trusted.

The subpackages, in the order in which data flows:

    config      the settings of a run
    prompts     the methods that are trained: probe, DPT, vanilla and residual prompt tuning, fine-tuning, …
    backbone    the frozen language model: load it, splice a prompt into it, score, decode
    tasks       SuperGLUE from the hub, a folder, or the bundled miniature; tasks of your own
    data        rows to batches
    rank        rank measures of matrices, and their nulls
    training    the training loop
    evaluation  trained prompts: score, predict, truncate
    runs        the run folder, and how to read it back into pandas frames
    sweeps      many runs
    trackers    what experiment trackers get of a run folder
    studies     questions that need many runs: planted ranks, distillation, capacity
    reports     readings next to their nulls, tables, findings in words
    plots       figures from frames
    pages       a report of runs as one HTML file
    cli         the command line

Quick start:

    >>> import rankprobe as rp
    >>> run = rp.probe(task="cb", model="t5-base", seed=1)  # doctest: +SKIP
    >>> frames = rp.load_runs("runs")  # doctest: +SKIP
    >>> rp.rank.measure(run.prompt())  # doctest: +SKIP

Names are imported on first use, so reading runs or printing help does not import torch.
"""

import lazy_loader

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
