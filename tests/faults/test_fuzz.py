"""For any bytes, a reader returns a value or raises a RankprobeError of one or two lines.

`RANKPROBE_FUZZ=2000 pytest tests/faults/test_fuzz.py` tests 2000 inputs per reader.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import bad_files
import pyarrow as pa
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankprobe.cli.options import build_config
from rankprobe.errors import RankprobeError
from rankprobe.pages import report
from rankprobe.reports import findings, model_card
from rankprobe.runs import Run, load_runs, read_prompts
from rankprobe.runs.lock import writer_of
from rankprobe.runs.replication import read_replication
from rankprobe.runs.task_rank import read_task_rank
from rankprobe.sweeps import configs_of, load_spec
from rankprobe.tasks import TASKS, load_harness_task, load_split, load_task

EXAMPLES = int(os.environ.get("RANKPROBE_FUZZ", "150"))
CONFIG = """seed = 1
task = "cb"
targets = "yes,no,maybe"
shots = 8
model = "random:tiny"
device_map = "0=20GiB,cpu=8GiB"
method = "dpt"
bottleneck = 4
learning_rate = 0.3
"""
SPEC = """title = "x"
draws = ["fig3"]
[settings]
method = "dpt"
seed = [1, 2]
[[grid]]
bottleneck = 4
[scale.bundled]
steps = 3
"""
TASK = bad_files.TASK + 'long_field = "text"\nmetrics = ["accuracy"]\n[labels]\n1 = "bad"\n2 = "good"\n'
RECORD = {
    "passage": {"text": "Ada met Bo.", "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 9}]},
    "qas": [{"query": "@placeholder met Bo.", "answers": [{"start": 0, "end": 2, "text": "Ada"}]}],
}
MULTIRC = {
    "passage": {
        "text": "<b>Sent 1: </b>Ada met Bo.<br>",
        "questions": [{"question": "Who?", "answers": [{"text": "Ada", "label": 1}]}],
    }
}
WSC = {
    "text": "Ada met Bo and she smiled.",
    "target": {"span1_text": "Ada", "span2_text": "she", "span1_index": 0, "span2_index": 4},
    "label": True,
}
CUT = {"run_id": "right", "prompt": "final", "model": "tiny", "data": "CB", "order": "singular"}
CUT |= {"matrix": "P", "kept": "top"}
SCORED = {"k": 2, "split": "validation", "scoring": "greedy", "metric": "accuracy", "value": 60.0}
LEAST = {"below": 1.0, "low": 1.0, "high": 3.0}
TRUNCATION = {
    "curves": [CUT | SCORED | {"n_examples": 56, "n_invalid": 0, "baseline": 50.0}],
    "functional_rank": [CUT | {"functional_rank": 2.0} | LEAST | {"defined": 1.0, "resampled": [2.0, None]}],
    "profile": [CUT | {"share": 0.5, "k": 2.0} | LEAST],
}
REPLICATED = {
    "disjoint": False,
    "kinds": [
        {
            "kind": "same start",
            "pairs": 3,
            "cv_rank": 2.0,
            "low": 1.0,
            "high": 3.0,
            "replicate_edge": 2.0,
            "agreement": 0.9,
        }
    ],
    "verdict": "above",
}

NEEDED = {
    "model": "tiny", "data": "CB", "metric": "accuracy", "seeds": [1], "n_rows": 28, "n_questions": 28, "max_k": 8,
    "share": 0.95, "confidence": 0.95, "baseline": 50.0, "vanilla": 90.0, "gain": 40.0, "gain_lower": 30.0,
    "needed_rank": 2,
    "functional": [{"seed": 1, "run_id": "right", "functional_rank": 3.0, "low": None, "high": 4.0}],
    "decisions": [{"k": 2, "chosen_rank": 2, "score": 90.0, "margin": 2.0, "lower": 0.5, "certified": True, "tries": 1, "reached": 1,
                   "rate_low": 0.025, "rate_high": 1.0}],
    "tries": [{"k": 2, "kind": "healed", "seed": 1, "learning_rate": 0.1, "start": None, "run_id": "x",
               "selection": 90.0, "report": None, "reached": True, "chosen": True}],
}  # fmt: skip
CLASSES = ClassLabel(names=list(TASKS["cb"].labels))


@dataclass(frozen=True)
class Reader:
    """A reader and the file it reads; `whole` is the correct content if `bad_files` does not write the file."""

    read: Callable[[Path], Any]
    file: str
    whole: bytes | None = None


def rows(task: str, suffix: str, row: dict[str, Any] | None = None) -> Reader:
    name = f"rows/{task}/{TASKS[task].folder}/train{suffix}"
    whole = (json.dumps(row) + "\n").encode() * 2 if row else None
    return Reader(lambda folder: load_split(TASKS[task], "train", str(folder / "rows" / task)), name, whole)


def arrow() -> bytes:
    """Return rows with class ids in the format of `save_to_disk`."""
    features = Features({**dict.fromkeys(("premise", "hypothesis"), Value("string")), "label": CLASSES})
    rows = Dataset.from_list([bad_files.ROW] * 2, features=features)
    with BytesIO() as content, pa.ipc.new_stream(content, rows.data.table.schema) as stream:
        stream.write_table(rows.data.table)
        stream.close()
        return content.getvalue()


READERS = {
    "config": Reader(lambda folder: build_config({}, folder / "c.toml"), "c.toml", CONFIG.encode()),
    "spec": Reader(lambda folder: configs_of(load_spec(folder / "s.toml")), "s.toml", SPEC.encode()),
    "task": Reader(lambda folder: load_task(folder / "t.toml"), "t.toml", TASK.encode()),
    "harness": Reader(lambda folder: load_harness_task(folder / "t.yaml"), "t.yaml", bad_files.YAML.encode()),
    "jsonl": rows("cb", ".jsonl", bad_files.ROW),
    "nested": rows("record", ".jsonl", RECORD),
    "questions": rows("multirc", ".jsonl", MULTIRC),
    "spans": rows("wsc", ".jsonl", WSC),
    "csv": Reader(
        lambda folder: load_split(TASKS["rte"], "train", str(folder / "csv")),
        "csv/train.csv",
        b'premise,hypothesis,label\n"It rained, much.",it was wet,entailment\na,b,1\n',
    ),
    "parquet": Reader(
        lambda folder: load_split(TASKS["cb"], "train", str(folder / "parquet" / "right")),
        "parquet/right/CB/train.parquet",
    ),
    "semicolons": Reader(
        lambda folder: load_split(TASKS["rte"], "train", str(folder / "semicolons")),
        "semicolons/train.csv",
        'sep=;\npremise;hypothesis;label\n"It rained; much.";it was wet;entailment\na;b;1\n'.encode("utf-16"),
    ),
    "json": Reader(
        lambda folder: load_split(TASKS["cb"], "train", str(folder / "json")),
        "json/train.json",
        json.dumps([bad_files.ROW] * 2, indent=1).encode(),
    ),
    "arrow": Reader(
        lambda folder: load_split(TASKS["cb"], "train", str(folder / "arrow")),
        "arrow/train/data-00000-of-00001.arrow",
        arrow(),
    ),
    "npy": Reader(lambda folder: read_prompts(folder / "prompt/right.npy"), "prompt/right.npy"),
    "safetensors": Reader(
        lambda folder: read_prompts(folder / "prompt/right.safetensors"), "prompt/right.safetensors"
    ),
    "adapter": Reader(lambda folder: read_prompts(folder / "tasks"), "tasks/adapter_config.json"),
    "weights": Reader(lambda folder: read_prompts(folder / "tasks"), "tasks/adapter_model.safetensors"),
    "pickle": Reader(lambda folder: read_prompts(folder / "bin"), "bin/adapter_model.bin"),
    "zip": Reader(lambda folder: read_prompts(folder / "prompt/zip"), "prompt/zip"),
    "legacy": Reader(lambda folder: read_prompts(folder / "prompt/legacy"), "prompt/legacy"),
    "npz": Reader(lambda folder: read_prompts(folder / "prompt/right.npz"), "prompt/right.npz"),
    "prompt": Reader(lambda folder: read_prompts(folder / "run/right"), "run/right/prompt.safetensors"),
    "log": Reader(
        lambda folder: load_runs(folder / "run"),
        "run/right/steps.jsonl",
        b'{"step": 0, "loss": 1.5, "n_positive": 8}\n{"step": 1, "loss": 1.25, "n_positive": 7}\n',
    ),
    "manifest": Reader(lambda folder: load_runs(folder / "run"), "run/right/manifest.json"),
    "card": Reader(lambda folder: model_card(Run(folder / "run/right")), "run/right/manifest.json"),
    "scores": Reader(
        lambda folder: model_card(Run(folder / "run/right")),
        "run/right/evals.jsonl",
        b'{"step": 2, "split": "validation", "scoring": "greedy", "metric": "accuracy", "value": 50.0, '
        b'"baseline": 41.0, "n_examples": 56, "n_invalid": 0}\n',
    ),
    "heartbeat": Reader(
        lambda folder: writer_of(folder / "run/right"),
        "run/right/heartbeat.json",
        json.dumps(
            {"host": "gpu7", "boot": None, "pid": 4321, "started": "2026-01-01T00:00:00+00:00", "key": "0"}
        ).encode(),
    ),
    "truncation": Reader(
        lambda folder: (load_runs(folder / "run"), findings([Run(folder / "run/right")] * 2)),
        "run/right/truncation.json",
        json.dumps(TRUNCATION).encode(),
    ),
    "truncation of the best prompt": Reader(
        lambda folder: (load_runs(folder / "run"), findings([Run(folder / "run/right")] * 2, which="best")),
        "run/right/truncation_best.json",
        json.dumps(
            {name: [{**row, "prompt": "best"} for row in rows] for name, rows in TRUNCATION.items()}
        ).encode(),
    ),
    "replication": Reader(
        lambda folder: read_replication(Run(folder / "run/right")),
        "run/right/replication.json",
        json.dumps(REPLICATED).encode(),
    ),
    "needed": Reader(
        lambda folder: read_task_rank(Run(folder / "run/right")),
        "run/right/taskrank.json",
        json.dumps(NEEDED).encode(),
    ),
}

REPORTED = {
    "manifest.json": None,
    "steps.jsonl": None,
    "evals.jsonl": b'{"step": 1, "epoch": 1.0, "split": "validation", "metric": "accuracy", "value": 60.0, '
    b'"n_examples": 56, "n_invalid": 0, "baseline": 50.0}\n',
    "spectra.jsonl": b'{"step": 1, "matrix": "P", "index": 0, "value": 2.5}\n'
    b'{"step": 1, "matrix": "P", "index": 1, "value": 0.5}\n',
    "truncation.json": None,
    "truncation_best.json": None,
    "replication.json": None,
    "taskrank.json": None,
}
"""The files of a run that a report reads; None: `READERS` have the content."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    bad_files.make(folder)
    shutil.copytree(folder / "runs/right", folder / "run/right")
    manifest = folder / "run/right/manifest.json"
    unsealed = {key: value for key, value in json.loads(manifest.read_text()).items() if key != "sha256"}
    manifest.write_text(json.dumps(unsealed))
    P, columns, lines = torch.ones(5, 8), torch.ones(2, 5, 1), torch.ones(2, 1, 8)
    config = {"peft_type": "MULTITASK_PROMPT_TUNING", "num_virtual_tokens": 5}
    weights = {"prompt_embeddings": P, "prefix_task_cols": columns, "prefix_task_rows": lines}
    bad_files.adapter(folder / "tasks", config, weights)
    bad_files.adapter(folder / "bin", {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5}, None)
    torch.save({"prompt_embeddings": P}, folder / "bin/adapter_model.bin")
    for reader in READERS.values():
        if reader.whole is not None:
            (folder / reader.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / reader.file).write_bytes(reader.whole)
    for name, content in REPORTED.items():
        if content is not None:
            (folder / "run/right" / name).write_bytes(content)
    return folder


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("\ud800\n"),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Draw `whole` truncated, with changed bytes, lines or JSON values; or random bytes."""
    kinds = ["bytes", "cut", "flip", "insert", "lines", *(["value"] * 3 if whole.startswith(b"{") else [])]
    kind = draw(st.sampled_from(kinds))
    at = st.integers(0, len(whole) - 1)
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "cut":
        return whole[: draw(at)]
    if kind == "flip":
        raw = bytearray(whole)
        for place in draw(st.lists(at, min_size=1, max_size=8)):
            raw[place] = draw(st.integers(0, 255))
        return bytes(raw)
    if kind == "insert":
        start = draw(at)
        return whole[:start] + draw(st.binary(max_size=20)) + whole[start:]
    if kind == "lines":
        lines = whole.splitlines(keepends=True)
        return b"".join(draw(st.permutations(lines))[: draw(st.integers(0, len(lines)))])
    first, _, rest = whole.partition(b"\n")
    tree = json.loads(first)
    node, key = draw(st.sampled_from(list(nodes(tree))))
    node[key] = draw(VALUES)
    return json.dumps(tree).encode() + b"\n" + rest


def nodes(tree: Any) -> Any:
    """Yield every position in a JSON value, as container and key."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from nodes(value)


@pytest.mark.parametrize("name", READERS)
def test_correct_files_are_read(place, name):
    READERS[name].read(place)


def read_damaged(path: Path, read: Callable[[], Any], examples: int, seconds: int) -> None:
    """Damage `path` in `examples` ways; each time `read` must return, or refuse in one or two lines, in time."""
    whole = path.read_bytes()

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=1000 * seconds,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(whole))
    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read()
        except RankprobeError as error:
            assert 1 <= len(str(error).splitlines()) <= 2  # noqa: PT017

    try:
        attempt()
    finally:
        path.write_bytes(whole)


left_out_warnings = pytest.mark.filterwarnings(
    "ignore:left out", "ignore:.*incomplete last line left out", "ignore:Detected pickle protocol"
)


@left_out_warnings
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(place, name):
    reader = READERS[name]
    read_damaged(place / reader.file, lambda: reader.read(place), EXAMPLES, seconds=10)


@left_out_warnings
@pytest.mark.parametrize("name", REPORTED)
def test_a_report_of_a_damaged_run_is_a_whole_page_or_refused(place, name):
    run, page = place / "run/right", place / "page.html"

    def read() -> None:
        page.unlink(missing_ok=True)
        report(run, page)
        text = page.read_text()
        assert text.startswith("<!DOCTYPE html>")
        assert text.rstrip().endswith("</html>")
        assert text.count("<script") == text.count("</script>") <= 1

    read_damaged(run / name, read, max(1, EXAMPLES // 75), seconds=60)
