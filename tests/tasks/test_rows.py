"""Rows as people have them: folders of the hub, of save_to_disk, and files of spreadsheets in any country."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from conftest import quick
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

import rankprobe as rp
from rankprobe.backbone.load import load_tokenizer
from rankprobe.backbone.tokenizers import unknown_id
from rankprobe.cli import main
from rankprobe.cli.use import _read_requests
from rankprobe.data.description import describe_task
from rankprobe.errors import RankprobeError
from rankprobe.settings import read_toml
from rankprobe.tasks import TASKS, get_task, load_split
from rankprobe.tasks.cb import CB
from rankprobe.tasks.readers import read_rows
from rankprobe.training.manifest import unknown_note
from rankprobe.training.session import open_session

NAMES = list(CB.labels)
ROWS = {
    "premise": [f"The man {i} ran." for i in range(6)],
    "hypothesis": ["He ran."] * 6,
    "label": [i % 3 for i in range(6)],
}


def cb_rows(names=NAMES) -> Dataset:
    features = Features(
        {"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(names=names)}
    )
    return Dataset.from_dict(ROWS, features=features)


def loaded(data, task="cb", split="train"):
    return [(e.fields, e.label) for e in load_split(TASKS[task], split, str(data)).examples]


@pytest.fixture
def expected(tmp_path):
    folder = tmp_path / "expected" / "CB"
    folder.mkdir(parents=True)
    rows = [
        {**dict(zip(ROWS, each, strict=True)), "label": NAMES[each[2]]}
        for each in zip(*ROWS.values(), strict=True)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return loaded(folder.parent)


def test_the_hubs_folder_as_it_was_downloaded(tmp_path, expected):
    folder = tmp_path / "super_glue" / "cb"
    folder.mkdir(parents=True)
    cb_rows().to_parquet(folder / "train-00000-of-00001.parquet")
    assert loaded(tmp_path / "super_glue") == loaded(folder) == expected
    several = tmp_path / "several" / "cb"
    several.mkdir(parents=True)
    for part in range(3):
        cb_rows().select(range(2 * part, 2 * part + 2)).to_parquet(
            several / f"train-0000{part}-of-00003.parquet"
        )
    assert loaded(several.parent) == expected
    (several / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(RankprobeError, match="expected all parts of 'train'"):
        loaded(several.parent)
    huge = tmp_path / "huge" / "cb" / f"train-0-of-{10**15}.jsonl"
    huge.parent.mkdir(parents=True)
    huge.touch()
    with pytest.raises(RankprobeError, match="expected all parts of 'train'"):
        loaded(huge.parent)


def test_what_save_to_disk_wrote(tmp_path, expected):
    DatasetDict(train=cb_rows(), validation=cb_rows()).save_to_disk(tmp_path / "saved")
    assert loaded(tmp_path / "saved") == loaded(tmp_path / "saved", split="validation") == expected


def test_two_files_that_could_be_the_split(tmp_path):
    for suffix in ("csv", "jsonl"):
        (tmp_path / f"train.{suffix}").write_text("")
    with pytest.raises(RankprobeError, match=r"has train.jsonl and train.csv, and each could be the split"):
        loaded(tmp_path)


def csv(tmp_path, raw: bytes, name="train.csv"):
    (tmp_path / name).write_bytes(raw)
    return [row for _, row in read_rows(tmp_path / name, get_task("cb"))]


TEXT = "premise;hypothesis;label\nHe said; she left;He left;0\n".replace("said; she", "said, she")


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("above", ["", "sep={}\n", '"sep={}"\r\n'])
def test_csv_of_any_country(tmp_path, separator, encoding, above):
    line = separator.join(["premise", "hypothesis", "label"]) + "\r\n"
    line += separator.join(['"Größe, 1;5|2\t3"', "Größe", "1"]) + "\r\n" + separator * 2 + "\r\n"
    (row,) = csv(tmp_path, (above.format(separator) + line).encode(encoding))
    assert row == {"premise": "Größe, 1;5|2\t3", "hypothesis": "Größe", "label": "1"}


@pytest.mark.parametrize(
    ("raw", "row"),
    [
        (b"premise, hypothesis, label\nA ran, He ran, 1\n", {"premise": "A ran", "hypothesis": "He ran", "label": "1"}),
        (b'premise,hypothesis,label\n"A\nran",He ran,1\n', {"premise": "A\nran", "hypothesis": "He ran", "label": "1"}),
        (b"premise,hypothesis,label,,\nA,B,1,,\n,,,,\n", {"premise": "A", "hypothesis": "B", "label": "1"}),
        (b"premise\rA\r", {"premise": "A"}),
    ],
)  # fmt: skip
def test_csv_with_blanks_breaks_and_empty_columns(tmp_path, raw, row):
    if b"hypothesis" in raw:
        assert csv(tmp_path, raw) == [row]
    else:
        with pytest.raises(
            RankprobeError, match="expected the columns premise, hypothesis, label, separated by comma"
        ):
            csv(tmp_path, raw)


def test_a_long_document_in_a_field(tmp_path):
    (row,) = csv(tmp_path, b"premise,hypothesis,label\n" + b"word " * 100_000 + b",B,1\n")
    assert len(row["premise"]) > 400_000


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("premise;hypothesis;label\nGröße;B;1\n".encode("latin-1"), r"train.csv:2: not CSV in UTF-8 \(.*\); save it as UTF-8"),
        (b"premise:hypothesis:label\nA:B:1\n", "the first line is 'premise:hypothesis:label'; expected the columns premise"),
        (b"premise,hypothesis,label\nA,B\n", "train.csv:2: the row has 2 columns, but the header has 3"),
        (b"premise,premise,hypothesis,label\nA,B,C,1\n", "the header has 'premise' 2 times"),
    ],
)  # fmt: skip
def test_csv_that_is_ambiguous(tmp_path, raw, message):
    with pytest.raises(RankprobeError, match=message):
        csv(tmp_path, raw)


def test_other_suffixes(tmp_path, expected):
    frame = pd.DataFrame({**ROWS, "label": [NAMES[i] for i in ROWS["label"]]})
    for name, text in (
        ("train.tsv", frame.to_csv(sep="\t", index=False)),
        ("train.json", frame.to_json(orient="records")),
        ("train.JSON", frame.to_json(orient="records", lines=True)),
    ):
        path = tmp_path / name
        path.write_text(text)
        assert [e.fields for _, row in read_rows(path, CB) for e in CB.examples(row, "")] == [
            f for f, _ in expected
        ]
        path.unlink()


@pytest.mark.parametrize("label", [0.0, "0.0", 0, "0", "entailment", "Entailment ", "ENTAILMENT"])
def test_labels_of_superglue(label):
    assert CB.label_id(label, "") == 0


@pytest.mark.parametrize("label", [None, float("nan"), 0.5, "0.5", -1, 3, True, ""])
def test_what_is_no_label(label):
    with pytest.raises(RankprobeError, match="x:1: label .* is not one of CB's labels"):
        CB.label_id(label, "x:1")


def own(folder, labels, rows, template="review: {review}", suffix="jsonl"):
    """A task of one's own with these [labels] and rows."""
    table = "".join(f'"{key}" = "{answer}"\n' for key, answer in labels.items())
    for split in ("train", "val"):
        if suffix == "parquet":
            rows.to_parquet(folder / f"{split}.parquet")
        else:
            (folder / f"{split}.{suffix}").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = f'train = "train.{suffix}"\nvalidation = "val.{suffix}"\n'
    (folder / "t.toml").write_text(f'template = "{template}"\ntarget = "label"\n{files}[labels]\n{table}')
    return get_task(str(folder / "t.toml"))


def labels_of(task):
    return [e.label for e in load_split(task, "train", None).examples]


@pytest.mark.parametrize(
    ("true", "false"), [(True, False), ("true", "false"), ("TRUE", "FALSE"), ("True", "False")]
)
def test_booleans_match_those_of_toml(tmp_path, true, false):
    rows = [{"review": "warm", "label": true}, {"review": "cold", "label": false}]
    assert labels_of(own(tmp_path, {"true": "good", "false": "bad"}, rows)) == [0, 1]


def test_numbers_are_their_text(tmp_path):
    rows = [
        {"age": 41, "weight": 1.5, "new": True, "label": 1.0},
        {"age": 7, "weight": 2.0, "new": False, "label": 0},
    ]
    task = own(tmp_path, {"0": "bad", "1": "good"}, rows, "{age} {weight} {new}")
    examples = load_split(task, "train", None).examples
    assert [task.source(e.fields) for e in examples] == ["41 1.5 true", "7 2.0 false"]
    assert [e.label for e in examples] == [1, 0]
    for value in (None, float("nan"), [1], {"a": 1}):
        with pytest.raises(RankprobeError, match="x:1: field 'age' is .*; expected text or a number"):
            task.examples({**rows[0], "age": value}, "x:1")
    with pytest.raises(RankprobeError, match="x:1: field 'label' is None; expected one of 0, 1"):
        task.examples({**rows[0], "label": None}, "x:1")


CLASSES = Features({"review": Value("string"), "label": ClassLabel(names=["neg", "pos"])})


@pytest.mark.parametrize("keys", [("neg", "pos"), ("0", "1")])
def test_class_labels_by_name_or_id(tmp_path, keys):
    rows = Dataset.from_dict({"review": ["a", "b"], "label": [1, 0]}, features=CLASSES)
    assert labels_of(
        own(tmp_path, dict(zip(keys, ("bad", "good"), strict=True)), rows, suffix="parquet")
    ) == [1, 0]


def test_class_labels_that_are_ambiguous(tmp_path):
    features = Features({"review": Value("string"), "label": ClassLabel(names=["1", "0"])})
    rows = Dataset.from_dict({"review": ["a", "b"], "label": [1, 0]}, features=features)
    task = own(tmp_path, {"0": "bad", "1": "good"}, rows, suffix="parquet")
    with pytest.raises(
        RankprobeError, match=r"can be names or ids of the classes 0 = 1, 1 = 0; use names or ids only"
    ):
        labels_of(task)


def test_a_class_label_in_the_template(tmp_path):
    features = Features({"topic": ClassLabel(names=["sport", "art"]), "label": Value("string")})
    rows = Dataset.from_dict({"topic": [1, 0], "label": ["x", "y"]}, features=features)
    task = own(tmp_path, {"x": "bad", "y": "good"}, rows, "topic: {topic}", "parquet")
    assert [e.fields["topic"] for e in load_split(task, "train", None).examples] == ["art", "sport"]


@pytest.mark.parametrize("name", TASKS)
def test_targets_that_have_no_effect_are_refused_or_noted(name):
    task = TASKS[name]
    task.check_targets("digits")
    assert task.notes("digits") == []
    if name in ("wsc", "record"):
        with pytest.raises(
            RankprobeError, match=f"targets is 'yes,no', but {task.title} takes its answers from the"
        ):
            task.check_targets("yes,no")
        (note,) = task.notes("words")
        assert note.startswith(f"targets words has no effect: {task.title} takes its answers from the")
    else:
        assert task.notes("words") == []


def test_targets_beside_labels_of_ones_own(tmp_path):
    task = own(tmp_path, {"0": "bad", "1": "good"}, [{"review": "warm", "label": 1}])
    with pytest.raises(
        RankprobeError, match=r"targets is 'a,b', but t takes its answers from \[labels\] of its TOML"
    ):
        task.check_targets("a,b")
    with pytest.raises(RankprobeError, match=r"leave out --targets"):
        open_session([quick(task=str(tmp_path / "t.toml"), targets="a,b")])


def test_a_kind_of_targets_without_effect_is_noted(tmp_path):
    run = rp.train(quick(task="wsc", targets="words", steps=1), runs_dir=tmp_path)
    assert any("targets words has no effect" in note for note in run.manifest["notes"])


def test_a_sheet_of_a_task_notes_targets_without_effect(capsys):
    with pytest.raises(SystemExit):
        main(["tasks", "show", "wsc", "--targets", "words"])
    assert "targets words has no effect: WSC takes its answers from the noun" in capsys.readouterr().out


def test_a_byte_order_mark_in_standard_input():
    assert list(_read_requests(["\ufeffThe man ran.\n", "He left.\n"])) == ["The man ran.", "He left."]


def test_byte_order_marks(tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(b'\xef\xbb\xbfseed = 1\r\n[task]\r\nname = "cb"\r\n')
    assert read_toml(path, "config") == {"seed": 1, "task": {"name": "cb"}}
    path.write_bytes("seed = 1\n".encode("utf-16"))
    with pytest.raises(RankprobeError, match="it is UTF-16; save it as UTF-8"):
        read_toml(path, "config")
    (tmp_path / "train.jsonl").write_bytes(b'\xef\xbb\xbf{"premise": "a"}\n')
    assert [row for _, row in read_rows(tmp_path / "train.jsonl")] == [{"premise": "a"}]


def save_word_tokenizer(folder):
    """A tokenizer that knows a few words and nothing else."""
    words = ["<pad>", "</s>", "<unk>", *"the man ran he home".split()]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return str(folder)


def save_tokenizer_that_drops(folder):
    """A tokenizer that leaves out what it does not know: byte pairs without bytes and without an unknown piece."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Whitespace()
    trainer = BpeTrainer(vocab_size=60, special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(["the man ran home he"] * 5, trainer)
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return str(folder)


def test_text_that_the_tokenizer_leaves_out_is_said(tmp_path, capsys):
    rows = [
        {"source": text, "target": "home"} for text in ("the man", "the man\n\u200b", "the 家", "he ran 🙂")
    ]
    for split, part in (("train", rows), ("val", rows[:1])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    tokenizer = save_tokenizer_that_drops(tmp_path / "tokenizer")
    session = open_session([quick(task=str(tmp_path), tokenizer=tokenizer)])
    assert session.train.unknown_share == 0.5
    with pytest.raises(SystemExit):
        main(["tasks", "show", str(tmp_path), "--tokenizer", tokenizer])
    assert "2 rows (50%) with text that the tokenizer cannot represent" in capsys.readouterr().out


def test_the_unknown_piece_may_also_be_the_padding_piece(tmp_path):
    tokenizer = load_tokenizer(save_word_tokenizer(tmp_path))
    tokenizer.pad_token = tokenizer.unk_token
    assert unknown_id(tokenizer) == tokenizer.unk_token_id
    tokenizer.eos_token = tokenizer.unk_token  # as GPT-2's, which represents everything
    assert unknown_id(tokenizer) == -1


def test_text_that_the_tokenizer_cannot_represent_is_said(tmp_path, capsys):
    texts = ("the man ran", "the man ran 家 🙂", "he 家", "he ran")
    rows = [{"source": text, "target": "home"} for text in texts]
    for split, part in (("train", rows), ("val", rows[:1])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    tokenizer = save_word_tokenizer(tmp_path / "tokenizer")
    run = rp.train(quick(task=str(tmp_path), tokenizer=tokenizer, steps=1), runs_dir=tmp_path / "runs")
    assert run.manifest["data"]["unknown_share"] == {"train": 0.5, "validation": 0.0}
    (note,) = run.manifest["notes"]
    assert "part of the text in 50 % of the training rows and 0 % of the dev rows" in note
    assert "in 100 % of the training rows and 33.3 % of the dev rows" in unknown_note(1.0, 1 / 3)[0]
    with pytest.raises(SystemExit):
        main(["tasks", "show", str(tmp_path), "--tokenizer", tokenizer])
    assert "2 rows (50%) with text that the tokenizer cannot represent" in capsys.readouterr().out
    plain = rp.train(quick(steps=1), runs_dir=tmp_path / "runs")
    assert plain.manifest["data"]["unknown_share"] == {"train": 0.0, "validation": 0.0}
    (tmp_path / "train.jsonl").write_text(json.dumps({"source": "he ran", "target": "away"}) + "\n")
    run = rp.train(quick(task=str(tmp_path), tokenizer=tokenizer, steps=1), runs_dir=tmp_path / "again")
    assert run.manifest["data"]["unknown_share"]["train"] == 1.0  # a target counts, too


def test_label_texts_are_shown_with_their_tokens(capsys):
    """Words that begin with the same token are pointed out; after a space, as decoder-only models write them."""
    with pytest.raises(SystemExit):
        main(["tasks", "show", "cb", "--targets", "yes,no,maybe"])
    assert re.search(r"label texts +yes \(\d+ tokens?\), no \(\d+ tokens?\), maybe", capsys.readouterr().out)
    described = describe_task("cb", "bundled", "digits")
    assert described.answers == {"0": ["0"], "1": ["1"], "2": ["2"]}
    assert not any("same token" in note for note in described.notes)
    same = describe_task("cb", "bundled", "no,not,not so")
    (note,) = [note for note in same.notes if "begin with the same token" in note]
    assert "'not' and 'not so'" in note
