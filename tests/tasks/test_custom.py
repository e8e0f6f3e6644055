"""A task of the user's own: from a TOML file and rows in any format, to examples and scores."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from rankprobe.errors import RankprobeError
from rankprobe.tasks import baseline_scores, get_task, load_split, score

STARS = """
template = "review: {review}"
target = "stars"
train = "train.csv"
validation = "dev.csv"
[labels]
1 = "bad"
5 = "good"
"""
CSV = 'review,stars\n"fine, really",5\nawful,1\nbad,1\n'

ANSWERS = """
template = "q: {question} context: {context}"
target = "answer"
train = "train.jsonl"
validation = "dev.jsonl"
long_field = "context"
"""
ROWS = [
    {"question": "who?", "context": "Ann ran.", "answer": "Ann"},
    {"question": "when?", "context": "At noon.", "answer": ["at noon", "noon"]},
]


@pytest.fixture
def stars(tmp_path):
    (tmp_path / "stars.toml").write_text(STARS)
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text(CSV)
    return tmp_path / "stars.toml"


@pytest.fixture
def answers(tmp_path):
    (tmp_path / "answers.toml").write_text(ANSWERS)
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path / "answers.toml"


def test_labels(stars):
    task = get_task(str(stars))
    split = load_split(task, "train", "bundled")
    assert (split.source, split.label, task.metrics) == ("file", "stars", ("accuracy",))
    assert [task.source(e.fields) for e in split.examples][:2] == ["review: fine, really", "review: awful"]
    for targets in ("digits", "words"):  # the file's own answers
        assert [task.target(e, targets) for e in split.examples] == ["good", "bad", "bad"]
    found = score(task, split.examples, ["good", "good", "meh"], "digits")
    assert (found.values, found.n_invalid) == ({"accuracy": pytest.approx(100 / 3)}, 1)
    assert baseline_scores(task, split.examples, "digits") == {"accuracy": pytest.approx(200 / 3)}


def test_the_authors_have_no_such_task(stars):
    with pytest.raises(RankprobeError, match="task 'stars' is not one of the DPT authors'"):
        get_task(str(stars)).as_authors()


def test_free_text(answers):
    task = get_task(str(answers))
    examples = load_split(task, "validation", "bundled").examples
    assert [task.target(e, "digits") for e in examples] == ["Ann", "at noon"]
    found = score(task, examples, ["ann", "noon sharp"], "digits").values
    assert found["exact_match"] == 50.0
    assert found["token_f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert found["rouge_l"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert score(task, examples, ["", ""], "digits").values == {"exact_match": 0, "token_f1": 0, "rouge_l": 0}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_any_format_and_a_folder_in_place_of_the_files(stars, tmp_path, suffix):
    task, folder = get_task(str(stars)), tmp_path / "elsewhere"
    folder.mkdir()
    frame = pd.DataFrame({"review": ["fine, really", "awful", "bad"], "stars": [5, 1, 1]})
    if suffix == ".csv":
        frame.to_csv(folder / "train.csv", index=False)
    elif suffix == ".jsonl":
        frame.to_json(folder / "train.jsonl", orient="records", lines=True)
    else:
        frame.to_parquet(folder / "train.parquet")
    expected = load_split(task, "train", "bundled").examples
    assert load_split(task, "train", str(folder)).examples == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("template = ", "is not TOML"),
        (STARS.replace("target", "taregt"), "stars.toml: unknown setting 'taregt'; did you mean 'target'?"),
        (STARS.replace("[labels]", 'metrics = "accuracy"\n[labels]'), "stars.toml: metrics is 'accuracy'; expected a list"),
        (STARS.replace('template = "review: {review}"', ""), "the key 'template' is missing"),
        (STARS.replace("{review}", "review"), "has no fields; expected one or more, as in 'premise: {premise}'"),
        (STARS.replace("{review}", "{review"), "is not a valid template"),
        (STARS.replace("{review}", "{0}"), "has no fields"),
        (STARS.replace('5 = "good"', '5 = "bad"'), "[labels] has 'bad', 'bad'; expected two or more different answers"),
        (STARS.replace("[labels]", 'metrics = ["rouge_l"]\n[labels]'), "unknown metric 'rouge_l'"),
        (STARS.replace("[labels]", 'long_field = "text"\n[labels]'), "unknown long_field 'text'"),
    ],
)  # fmt: skip
def test_a_file_that_describes_no_task(tmp_path, text, message):
    (tmp_path / "stars.toml").write_text(text)
    with pytest.raises(RankprobeError, match=re.escape(message)):
        get_task(str(tmp_path / "stars.toml"))


@pytest.mark.parametrize("line", ["sep=;", "SEP=;", '"Sep=;"'])
def test_a_first_line_may_name_the_separator_in_any_case(stars, tmp_path, line):
    (tmp_path / "train.csv").write_text(f"{line}\nreview;stars\nfine, really;5\n")
    (example,) = load_split(get_task(str(stars)), "train", None).examples
    assert (example.fields, example.label) == ({"review": "fine, really"}, 1)


def test_files_and_rows_that_do_not_fit(stars, answers, tmp_path):
    with pytest.raises(RankprobeError, match=r"cannot be read \(No such file"):
        get_task(str(tmp_path / "none.toml"))
    task = get_task(str(stars))
    for text, message in (
        ("review,stars\nfine,3\n", "train.csv:2: field 'stars' is '3'; expected one of 1, 5"),
        (
            "review,rating\nfine,3\n",
            "train.csv:2: no field 'stars'; stars rows need review, stars, but this row has review, rating",
        ),
        ("review,stars\nfine\n", "train.csv:2: the row has 1 columns, but the header has 2"),
        (
            "review,stars\nfine,5,6\n",
            "train.csv:2: the row has 3 columns, but the header has 2",
        ),
        ("review;stars\nfine,5\n", "1 columns, but the header has 2 (separator: semicolon)"),
        ("sep=^\nreview^stars\nfine\n", "1 columns, but the header has 2 (separator: '^')"),
        ('review,stars\n"fine,5\n', "train.csv:2: not CSV in UTF-8"),
        ("", "train.csv: no rows; expected stars examples"),
    ):
        (tmp_path / "train.csv").write_text(text)
        with pytest.raises(RankprobeError, match=re.escape(message)):
            load_split(task, "train", "bundled")
    (tmp_path / "train.csv").write_bytes("review,stars\ncafé,5\n".encode("latin-1"))
    with pytest.raises(RankprobeError, match=r"train.csv:2: not CSV in UTF-8"):
        load_split(task, "train", "bundled")
    (tmp_path / "train.csv").unlink()
    with pytest.raises(RankprobeError, match=r"train.csv: no such file"):
        load_split(task, "train", "bundled")
    with pytest.raises(RankprobeError, match="task 'stars' is not on the hub"):
        load_split(task, "train", "hub")
    (tmp_path / "train.jsonl").write_text('{"question": "q", "context": "c", "answer": ""}\n')
    with pytest.raises(RankprobeError, match=re.escape("field 'answer' is ''; expected text, or a list")):
        load_split(get_task(str(answers)), "train", "bundled")
    (tmp_path / "train.jsonl").unlink()
    (tmp_path / "train.parquet").write_text("no Parquet")
    with pytest.raises(RankprobeError, match="cannot be read as Parquet"):
        load_split(task, "train", str(tmp_path))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_folder_of_pairs(tmp_path, suffix, monkeypatch):
    folder = tmp_path / "titles"
    folder.mkdir()
    with pytest.raises(
        RankprobeError,
        match=r"titles' has no train rows; expected train.jsonl, .csv, .parquet, .tsv, .json, .arrow with",
    ):
        get_task(str(folder))
    frame = pd.DataFrame({"source": ["Ann ran, and fell.", "Bob sat."], "target": ["Ann", "Bob"]})
    for stem in ("train", "validation"):
        path = folder / f"{stem}{suffix}"
        if suffix == ".csv":
            frame.to_csv(path, index=False)
        elif suffix == ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path)
    monkeypatch.chdir(folder)
    task = get_task(".")
    for name in ("train", "validation"):
        split = load_split(task, name, "bundled")
        assert (split.label, split.source) == ("titles", "file")
        pairs = [(task.source(e.fields), task.target(e, "digits")) for e in split.examples]
        assert pairs == list(frame.itertuples(index=False, name=None))
    assert score(task, split.examples, ["Ann", "no"], "digits").values["exact_match"] == 50


def test_a_folder_does_not_hide_a_task(tmp_path, monkeypatch):
    (tmp_path / "cb").mkdir()
    monkeypatch.chdir(tmp_path)
    assert get_task("cb").title == "CB"


def test_it_trains(answers, tmp_path, monkeypatch):
    import rankprobe as rp

    monkeypatch.chdir(tmp_path)
    run = rp.probe(task="answers.toml", model="random:tiny", steps=2, prompt_length=4)
    assert run.id.startswith("answers-probe-random-tiny")
    evals = run.log("evals")
    assert set(evals["metric"]) == {"exact_match", "token_f1", "rouge_l"}
    assert evals["n_examples"].eq(2).all()
    monkeypatch.chdir("/")  # the config keeps the absolute path
    assert rp.load_runs(tmp_path / "runs").runs["task"].tolist() == [str(tmp_path / "answers.toml")]
