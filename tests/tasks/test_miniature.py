"""The bundled rows are what their recipe gives, share no sentence, and cannot be answered without reading."""

from __future__ import annotations

import json
import re

import pytest

from experiments.miniature.rows import WRITERS
from experiments.miniature.world import SHARES, Speaker, owner
from experiments.miniature.write import SIZES, write
from experiments.pretrain.corpus import MIXTURES, pair, speaker
from rankprobe.bundled import FOLDER
from rankprobe.tasks import TASKS, baseline_scores, load_split

# Short phrases with a gap or without a fact belong to nobody: MultiRC's questions and answers, ReCoRD's queries.
SENTENCES = {
    "boolq": ("question", "passage"),
    "cb": ("premise", "hypothesis"),
    "copa": ("premise", "choice1", "choice2"),
    "multirc": ("paragraph",),
    "record": ("passage",),
    "rte": ("premise", "hypothesis"),
    "wic": ("sentence1", "sentence2"),
    "wsc": ("text",),
}


def sentences(text):
    """The sentences of a text, without case, end marks and stars."""
    parts = re.split(r"[.?!]\s*|\b[a-z]+\d?:", text)
    return {part.strip(" *\n").replace("*", "").lower() for part in parts} - {""}


def of_rows(examples, name):
    return set().union(*(sentences(e.fields[field]) for e in examples for field in SENTENCES[name]))


def shipped(split):
    data = "bundled" if split == "train" else "bundled-500"
    return set().union(*(of_rows(load_split(t, split, data).examples, name) for name, t in TASKS.items()))


def test_the_recipe_reproduces_the_bundled_rows(tmp_path):
    write(tmp_path)
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*.jsonl")}
    assert made == {p.relative_to(FOLDER): p.read_bytes() for p in FOLDER.rglob("*.jsonl")}
    assert len(made) == 3 * len(TASKS)


def test_a_longer_validation_split_begins_with_the_bundled_rows(tmp_path):
    write(tmp_path, 600)
    for name, task in TASKS.items():
        made, known = (
            [(folder / task.folder / f"{split}.jsonl").read_text() for split in splits]
            for folder, splits in ((tmp_path, ("train", "val")), (FOLDER, ("train", "val500")))
        )
        assert made[0] == known[0]
        assert made[1].startswith(known[1])
        assert len(load_split(task, "validation", str(tmp_path)).examples) > 500, name
        assert len(made[1].splitlines()) == (600 // 7 if name == "multirc" else 600)


def test_no_sentence_is_shared():
    """Between train, validation and pretraining; and the check would see one that is."""
    train, validation = shipped("train"), shipped("validation")
    say = speaker("train")
    pretraining = set()
    for mixture in MIXTURES:
        for _ in range(8000):
            _, source, target = pair(say, mixture)
            pretraining |= sentences(f"{source}. {target or ''}")
    assert not train & validation
    assert not (train | validation) & pretraining
    say = Speaker("val", "another stream")
    for name, task in TASKS.items():
        again = [e for _ in range(500) for e in task.examples(WRITERS[name](say), "here")]
        assert of_rows(again, name) & validation, name


def test_every_sentence_has_one_owner():
    keys = [f"sentence {i}" for i in range(10_000)]
    assert [owner(key) for key in keys] == [owner(key) for key in keys]
    counts = {side: sum(owner(key) == side for key in keys) for side in SHARES}
    assert all(abs(counts[side] / 100 - share) < 2 for side, share in SHARES.items())


@pytest.mark.parametrize("name", TASKS)
def test_bundled_rows(name):
    task = TASKS[name]
    for split, data, count in (
        ("train", "bundled", SIZES[name][0]),
        ("validation", "bundled", SIZES[name][1]),
        ("validation", "bundled-500", 500),
    ):
        examples = load_split(task, split, data).examples
        assert len(examples) == count or name == "multirc"
        texts = [task.source(example.fields) for example in examples]
        assert len(set(texts)) > 0.97 * len(texts)  # MultiRC draws an answer twice now and then
        if task.labels:
            most = max(sum(e.label == i for e in examples) for i in range(len(task.labels)))
            assert most / len(examples) < 0.75
    lines = (FOLDER / task.folder / "val500.jsonl").read_text().splitlines()
    assert [json.loads(line)["idx"] for line in lines] == list(range(len(lines)))


@pytest.mark.parametrize("name", ["boolq", "cb", "copa", "rte", "wic", "wsc"])
def test_words_alone_do_not_answer(name):
    """A bag of words and word pairs stays within 15 points of the majority rate."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    task = TASKS[name]
    train, validation = (load_split(task, split, "bundled-500").examples for split in ("train", "validation"))
    words = CountVectorizer(ngram_range=(1, 2))
    counts = words.fit_transform([task.source(example.fields) for example in train])
    model = LogisticRegression(C=0.3, max_iter=500).fit(counts, [example.label for example in train])
    unseen = words.transform([task.source(example.fields) for example in validation])
    score = 100 * model.score(unseen, [example.label for example in validation])
    assert score < baseline_scores(task, validation, "digits")["accuracy"] + 15
