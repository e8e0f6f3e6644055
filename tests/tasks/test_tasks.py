"""Rows become the text, labels and scores that the paper's code gives; bad rows are named."""

from __future__ import annotations

import json
import re

import pytest

from rankprobe.bundled import FOLDER
from rankprobe.errors import RankprobeError
from rankprobe.tasks import TASKS, get_task, load_split
from rankprobe.tasks.cb import CB

GOOD = {"premise": "It rained.", "hypothesis": "it was wet", "label": "entailment", "idx": 0}


def folder(tmp_path, lines, split="train"):
    (tmp_path / "CB").mkdir(exist_ok=True)
    path = tmp_path / "CB" / f"{split}.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_cb_as_text(tmp_path):
    folder(tmp_path, [GOOD, {**GOOD, "label": 2}])
    first, second = load_split(CB, "train", str(tmp_path)).examples
    assert CB.source(first.fields) == "premise: It rained. hypothesis: it was wet"
    assert [CB.target(e, "digits") for e in (first, second)] == ["0", "2"]
    assert [CB.target(e, "words") for e in (first, second)] == ["entailment", "neutral"]


def test_label_names_and_ids_load_alike(tmp_path):
    folder(tmp_path, [{**GOOD, "label": name} for name in CB.labels])
    named = load_split(CB, "train", str(tmp_path))
    folder(tmp_path, [{**GOOD, "label": i} for i in range(3)])
    assert load_split(CB, "train", str(tmp_path)).fingerprint == named.fingerprint


def test_the_tasks_own_folder_will_do(tmp_path):
    folder(tmp_path, [GOOD])
    assert load_split(CB, "train", str(tmp_path / "CB")).examples == (
        load_split(CB, "train", str(tmp_path)).examples
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"premise": "p", "label": "neutral"}, "no field 'hypothesis'; CB rows need premise, hypothesis, label, but this row has premise, label"),
        ({"premise": "p", "hypothesis": "h"}, "no field 'label'; CB rows need premise, hypothesis, label"),
        ({**GOOD, "label": "maybe"}, "label 'maybe' is not one of CB's labels: 'entailment' (0), 'contradiction' (1), 'neutral' (2)"),
        ({**GOOD, "label": 3}, "label 3 is not one of CB's labels"),
        ({**GOOD, "label": True}, "label True is not one of CB's labels"),
        ({**GOOD, "label": -1}, "label -1 is not one of CB's labels"),
        ({**GOOD, "premise": 5}, "field 'premise' is 5; expected text"),
        ('["a list"]\n', "expected an object with fields, got list"),
        ("{broken\n", "not a line of JSON in UTF-8"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, message):
    path = folder(tmp_path, [GOOD, "\n", line])
    with pytest.raises(RankprobeError, match=re.escape(f"{path}:3: {message}")):
        load_split(CB, "train", str(tmp_path))


def test_wrong_encoding(tmp_path):
    path = folder(tmp_path, [GOOD])
    path.write_bytes(path.read_bytes() + '{"premise": "café"}\n'.encode("latin-1"))
    with pytest.raises(RankprobeError, match=re.escape(f"{path}:2: not a line of JSON in UTF-8")):
        load_split(CB, "train", str(tmp_path))


def test_missing_folder_file_and_rows(tmp_path):
    with pytest.raises(
        RankprobeError,
        match=r"is not a folder; give 'bundled', 'bundled-500', 'hub', or a folder that holds CB",
    ):
        load_split(CB, "train", str(tmp_path / "nowhere"))
    with pytest.raises(RankprobeError, match=r"no train.jsonl for CB in .*layout of the official"):
        load_split(CB, "train", str(tmp_path))
    folder(tmp_path, [])
    with pytest.raises(RankprobeError, match=r"train.jsonl: no rows; expected CB examples"):
        load_split(CB, "train", str(tmp_path))


def test_hub_rows_load_as_folder_rows(tmp_path, monkeypatch):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features(
        premise=Value("string"),
        hypothesis=Value("string"),
        idx=Value("int32"),
        label=ClassLabel(names=CB.labels),
    )
    parquet = tmp_path / "hub.parquet"
    Dataset.from_list([{**GOOD, "label": 0}], features=features).to_parquet(str(parquet))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(parquet))
    folder(tmp_path, [GOOD])
    hub, local = load_split(CB, "train", "hub"), load_split(CB, "train", str(tmp_path))
    assert hub.examples == local.examples
    assert hub.origin == "aps/super_glue@3de24cf8022e94f4ee4b9d55a6f539891524d646"

    shuffled = features.copy()
    shuffled["label"] = ClassLabel(names=["neutral", "contradiction", "entailment"])
    Dataset.from_list([{**GOOD, "label": 0}], features=shuffled).to_parquet(str(parquet))
    with pytest.raises(RankprobeError, match="class ids stand for"):
        load_split(CB, "train", "hub")


def test_hub_without_network_says_what_to_do():
    with pytest.raises(
        RankprobeError,
        match=r"data set 'aps/super_glue' is not in the cache and the hub cannot be reached .*"
        r"give a local folder: --data FOLDER with CB/train.jsonl",
    ):
        load_split(CB, "train", "hub")


def test_unknown_task_names_the_nearest():
    with pytest.raises(
        RankprobeError, match=re.escape("unknown task 'cbb'; did you mean 'cb'? (valid: boolq, cb,")
    ):
        get_task("cbb")


@pytest.mark.parametrize("name", TASKS)
def test_the_miniature_is_never_called_superglue(name):
    task = TASKS[name]
    for data in ("bundled", "bundled-500", str(FOLDER)):
        assert load_split(task, "validation", data).label == f"miniature {task.title}"


def test_the_longer_validation_split():
    steady, plain = (load_split(CB, "validation", data).examples for data in ("bundled-500", "bundled"))
    assert (len(steady), len(plain)) == (500, 56)
    assert steady[:56] == plain
    assert load_split(CB, "train", "bundled-500").examples == load_split(CB, "train", "bundled").examples


# Rows, and lessons among them, in the official release; ReCoRD is a sample.
OFFICIAL = {
    "boolq": (9427, 3270, 9427),
    "cb": (250, 56, 250),
    "copa": (400, 100, 400),
    "multirc": (27243, 4848, 27243),
    "record": (32, 32, 44),
    "rte": (2490, 277, 2490),
    "wic": (5428, 638, 5428),
    "wsc": (554, 104, 259),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_rows(name, superglue):
    """The counts of the paper's Table 2."""
    task = TASKS[name]
    train, validation = (load_split(task, split, str(superglue)) for split in ("train", "validation"))
    lessons = sum(len(task.training_examples(example)) for example in train.examples)
    assert (len(train.examples), len(validation.examples), lessons) == OFFICIAL[name]
    assert train.label == task.title
