"""TensorBoard: event files in the folder `tensorboard` of the run folder, written again from the start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
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
        hparams = import_module("tensorboard.plugins.hparams.summary_v2")
        writer = import_module("tensorboard.summary.writer.event_file_writer")
        self._event = import_module("tensorboard.compat.proto.event_pb2").Event
        folder = run.path / "tensorboard"
        if folder.is_symlink():
            raise RankprobeError(f"{folder} is a symbolic link; put a folder there, or remove it")
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.place = str(folder)
        self._step = 0
        self._writer = writer.EventFileWriter(str(folder))
        known = {name: value for name, value in run.config.items() if value is not None}
        event = self._new_event()
        # By way of its bytes: it is of a class of TensorFlow where that is installed.
        event.summary.ParseFromString(hparams.hparams_pb(known, trial_id=run.id).SerializeToString())
        self._writer.add_event(event)
        self._writer.flush()

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._step = point.step
            event = self._new_event()
            for tag, value in point.values.items():
                event.summary.value.add(tag=tag, simple_value=value)
            self._writer.add_event(event)
        self._writer.flush()

    def finish(self, status: str, findings: Sequence[str], report: Path | None) -> None:
        self._write_text("status", status)
        if findings:
            self._write_text("findings", "\n".join(f"- {markdown(sentence)}" for sentence in findings))
        self._writer.close()

    def _new_event(self) -> Any:
        return self._event(wall_time=time.time(), step=self._step)

    def _write_text(self, tag: str, text: str) -> None:
        """Write a text in Markdown."""
        metadata = import_module("tensorboard.plugins.text.metadata")
        tensors = import_module("tensorboard.util.tensor_util")
        event = self._new_event()
        event.summary.value.add(
            tag=tag,
            metadata=metadata.create_summary_metadata(display_name="", description=""),
            tensor=tensors.make_tensor_proto([text]),
        )
        self._writer.add_event(event)
