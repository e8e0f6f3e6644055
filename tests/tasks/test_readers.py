"""The same rows in the release's JSONL and as the hub's columns in CSV and Parquet give the same examples."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from test_forms import FORMS

from rankprobe.errors import RankprobeError
from rankprobe.tasks import TASKS, load_split
from rankprobe.tasks.readers import read_rows

NESTED = {"record"}  # the hub's columns hold lists, which CSV cannot


@pytest.mark.parametrize("name", FORMS)
def test_every_format_gives_the_same_examples(name, tmp_path):
    task, (official, hub, *_) = TASKS[name], FORMS[name]
    folders = {
        form: tmp_path / form / folder
        for form, folder in (("jsonl", task.folder), ("csv", name), ("parquet", ""))
    }
    for folder in folders.values():
        folder.mkdir(parents=True)
    (folders["jsonl"] / "val.jsonl").write_text(json.dumps(official) + "\n")
    pd.DataFrame(hub).to_parquet(folders["parquet"] / "validation.parquet")
    expected = load_split(task, "validation", str(tmp_path / "jsonl")).examples
    assert load_split(task, "validation", str(tmp_path / "parquet")).examples == expected
    pd.DataFrame(hub).to_csv(folders["csv"] / "validation.csv", index=False)
    if name in NESTED:
        with pytest.raises(
            RankprobeError, match=r"validation.csv:6: field 'entities' is .*; expected a list"
        ):
            load_split(task, "validation", str(tmp_path / "csv"))
    else:
        assert load_split(task, "validation", str(tmp_path / "csv")).examples == expected


def test_the_official_layout_comes_before_others(tmp_path):
    row = FORMS["cb"][0]
    (tmp_path / "CB").mkdir()
    (tmp_path / "CB" / "val.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "val.jsonl").write_text(json.dumps({**row, "premise": "Another."}) + "\n")
    (example,) = load_split(TASKS["cb"], "validation", str(tmp_path)).examples
    assert example.fields["premise"] == "P."


def test_a_byte_order_mark_is_no_part_of_the_first_field(tmp_path):
    for name, text in (("rows.jsonl", '{"a": 1}\n'), ("rows.csv", "a\n1\n")):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        ((_, row),) = read_rows(tmp_path / name)
        assert row.keys() == {"a"}


def test_unknown_format(tmp_path):
    with pytest.raises(
        RankprobeError, match=r"rows.xlsx: unknown format; expected one of .jsonl, .csv, .parquet, .tsv"
    ):
        read_rows(tmp_path / "rows.xlsx")


def test_a_field_of_csv_may_be_a_long_document(tmp_path):
    text = "a" * 200_000
    (tmp_path / "rows.csv").write_text(f"source,target\n{text},b\n")
    ((_, row),) = read_rows(tmp_path / "rows.csv")
    assert row == {"source": text, "target": "b"}
