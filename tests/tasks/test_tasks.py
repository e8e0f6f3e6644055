"""Rows become the text, labels and scores that the paper's code gives; bad rows are named."""

from __future__ import annotations

import json
import re

import pytest

from rankprobe.errors import RankprobeError
from rankprobe.tasks import INVALID, TASKS, get_task, load_split, majority_scores, score
from rankprobe.tasks.cb import CB
from rankprobe.tasks.sources import BUNDLED

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
    assert [CB.targets("digits")[e.label] for e in (first, second)] == ["0", "2"]
    assert [CB.targets("words")[e.label] for e in (first, second)] == ["entailment", "neutral"]


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
        ({"premise": "p", "label": "neutral"}, "no field 'hypothesis'; CB rows have premise, hypothesis, label"),
        ({"premise": "p", "hypothesis": "h"}, "no field 'label'; CB rows have premise, hypothesis, label"),
        ({**GOOD, "label": "maybe"}, "label 'maybe' is not one of CB's: 'entailment' (0), 'contradiction' (1), 'neutral' (2)"),
        ({**GOOD, "label": 3}, "label 3 is not one of CB's"),
        ({**GOOD, "label": True}, "label True is not one of CB's"),
        ({**GOOD, "label": -1}, "label -1 is not one of CB's"),
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
        RankprobeError, match=r"is no folder; give 'bundled', 'hub', or a folder that holds CB"
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


def test_scores_by_hand():
    gold = [0, 0, 1, 2]
    assert score(["accuracy"], gold, [0, 1, 1, INVALID], 3) == {"accuracy": 50.0}
    # F1: entailment 2/3, contradiction 2/3, neutral 0
    assert score(["macro_f1"], gold, [0, 1, 1, INVALID], 3)["macro_f1"] == pytest.approx(100 * 4 / 9)
    assert score(CB.metrics, gold, gold, 3) == {"accuracy": 100.0, "macro_f1": 100.0}


def test_majority_is_that_of_the_split():
    assert majority_scores(CB.metrics, [1, 1, 1, 0], 3) == pytest.approx(
        {"accuracy": 75.0, "macro_f1": 100 * (6 / 7) / 3}
    )


def test_unknown_task_names_the_nearest():
    with pytest.raises(RankprobeError, match=re.escape("unknown task 'cbb'; did you mean 'cb'? (valid: cb)")):
        get_task("cbb")


@pytest.mark.parametrize("name", TASKS)
def test_bundled_rows(name):
    train, validation = (load_split(TASKS[name], split, "bundled") for split in ("train", "validation"))
    assert (len(train.examples), len(validation.examples)) == (250, 56)
    assert train.label == "miniature CB"
    assert load_split(TASKS[name], "train", str(BUNDLED)).label == "miniature CB"
    seen = {example.fields["premise"] for example in train.examples}
    assert not seen & {example.fields["premise"] for example in validation.examples}


def test_official_rows(superglue):
    train, validation = (load_split(CB, split, str(superglue)) for split in ("train", "validation"))
    assert (len(train.examples), len(validation.examples)) == (250, 56)  # the paper's Table 2
    assert train.label == "CB"
    gold = [example.label for example in validation.examples]
    assert majority_scores(CB.metrics, gold, 3)["accuracy"] == 50.0
