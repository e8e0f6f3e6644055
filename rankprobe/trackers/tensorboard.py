"""TensorBoard: event files in the folder `tensorboard` of the run folder, written again from the start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from rankprobe.errors import RankprobeError
from rankprobe.text import markdown
from rankprobe.trackers.base import Point, TrackedRun, Tracker


@final
class TensorBoard(Tracker):
    """Scalars (float32, as TensorBoard keeps them), settings as hyperparameters, findings as text."""

    requires = ("tensorboard", "tensorboard")
    takes_report = False

    def __init__(self, run: TrackedRun) -> None:
        from tensorboard.plugins.hparams import summary_v2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = run.path / "tensorboard"
        if folder.is_symlink():
            raise RankprobeError(f"{folder} is a symbolic link; put a folder there, or remove it")
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.place = str(folder)
        self.step = 0
        self._writer = EventFileWriter(str(folder))
        known = {name: value for name, value in run.config.items() if value is not None}
        self._write(summary_v2.hparams_pb(known, trial_id=run.id))
        self._writer.flush()

    def log(self, points: Sequence[Point]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for point in points:
            self.step = point.step
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in point.values.items()]
            self._write(Summary(value=values))
        self._writer.flush()

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        self._write(_text("status", status))
        if findings:
            self._write(_text("findings", "\n".join(f"- {markdown(sentence)}" for sentence in findings)))
        self._writer.close()

    def _write(self, summary: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        # hparams_pb returns the class of TensorFlow where that is installed, so by way of its bytes.
        event = Event(wall_time=time.time(), step=self.step)
        event.summary.ParseFromString(summary.SerializeToString())
        self._writer.add_event(event)


def _text(tag: str, text: str) -> Any:
    """A summary of the text plugin, in Markdown."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    value = Summary.Value(
        tag=tag,
        metadata=metadata.create_summary_metadata(display_name="", description=""),
        tensor=make_tensor_proto([text]),
    )
    return Summary(value=[value])
