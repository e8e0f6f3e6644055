"""Print what a tracker's own files hold of a run, as JSON: values by name and step, settings, end, artifacts.

Run as a program of its own: the packages of trackers may warn where they are imported.

    python read_back.py TRACKER RUN_ID FOLDER
"""

from __future__ import annotations

import json
import sqlite3
import struct
import sys
from pathlib import Path


def tensorboard(run_id: str, folder: Path) -> dict:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    files = list((folder / "runs" / run_id / "tensorboard").iterdir())
    events = EventAccumulator(str(files[0].parent), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    values = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    texts = {
        tag.removesuffix("/text_summary"): events.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        for tag in ("status", "findings")
        if tag in events.Tags()["tensors"]
    }
    started = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(started).session_start_info.hparams
    config = {name: getattr(value, value.WhichOneof("kind")) for name, value in hparams.items()}
    return {"values": values, "config": config, "copies": len(files), **texts}


def wandb(run_id: str, folder: Path) -> dict:
    from wandb.proto import wandb_internal_pb2

    files = list((folder / "wandb").glob(f"offline-run-*/run-{run_id}.wandb"))
    values: dict[str, list] = {}
    config, summary, artifacts, code = {}, {}, [], None
    for raw in records(files[-1].read_bytes()):
        record = wandb_internal_pb2.Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row = {
                item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item
            }
            step = row.get("_step", record.history.step.num)
            for name, value in row.items():
                if "/" in name:
                    values.setdefault(name, []).append([step, value])
        elif kind == "run":
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "summary":
            summary |= {item.key: json.loads(item.value_json) for item in record.summary.update}
        elif kind in ("artifact", "request") and record.artifact.name:
            artifacts.append(record.artifact.name)
        elif kind == "exit":
            code = record.exit.exit_code
    return {
        "values": values,
        "config": config,
        "copies": len(files),
        "status": summary.get("status"),
        "findings": summary.get("findings"),
        "artifacts": artifacts,
        "exit_code": code,
    }


def records(raw: bytes):
    """The records of a file in the log format of LevelDB, which W&B writes."""
    block, header, place, parts = 32768, 7, 7, []  # the file starts with a header of 7 bytes
    while place + header <= len(raw):
        if block - place % block < header:
            place += block - place % block
            continue
        length, kind = struct.unpack("<HB", raw[place + 4 : place + header])
        parts.append(raw[place + header : place + header + length])
        place += header + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield b"".join(parts)
            parts = []


def mlflow(run_id: str, folder: Path) -> dict:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rankprobe")
    found = client.search_runs([experiment.experiment_id], f"tags.`rankprobe.run_id` = '{run_id}'")
    run = found[0]
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {
        "values": {name: [[m.step, m.value] for m in history] for name, history in histories.items()},
        "config": run.data.params,
        "copies": len(found),
        "status": run.info.status,
        "findings": run.data.tags.get("mlflow.note.content"),
        "artifacts": [file.path for file in client.list_artifacts(run.info.run_id)],
    }


def trackio(run_id: str, folder: Path) -> dict:
    project = sqlite3.connect(folder / "trackio" / "rankprobe.db")
    values: dict[str, list] = {}
    rows = project.execute(
        "select run_id, step, metrics from metrics where run_name = ? order by step", [run_id]
    )
    ids = set()
    for own_id, step, metrics in rows:
        ids.add(own_id)
        for name, value in json.loads(metrics).items():
            values.setdefault(name, []).append([step, value])
    (config,) = project.execute("select config from configs where run_name = ?", [run_id]).fetchone()
    artifacts = [name for (name,) in project.execute("select name from artifacts")]
    return {"values": values, "config": json.loads(config), "copies": len(ids), "artifacts": artifacts}


if __name__ == "__main__":
    name, run_id, folder = sys.argv[1:]
    sys.stdout.write(json.dumps(globals()[name](run_id, Path(folder))))
