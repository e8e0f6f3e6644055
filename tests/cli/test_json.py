"""--json: the documents, their schema, and a standard output that holds nothing else."""

from __future__ import annotations

import json
import math
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import jsonschema
import numpy as np
import pandas as pd
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

import rankprobe as rp
from rankprobe.bundled import FOLDER
from rankprobe.cli import main
from rankprobe.cli.app import app
from rankprobe.cli.machine import document, json_value
from rankprobe.evaluation.evaluate import evaluate_runs
from rankprobe.runs.task_rank import TaskRankFile
from rankprobe.trackers import TRACKERS, Tracker

SCHEMA = json.loads((FOLDER / "output.schema.json").read_text())
SPEC = """title = "x"
draws = ["fig3"]
[settings]
model = "random:tiny"
prompt_length = 6
steps = 2
batch_size = 8
seed = [1, 2]
"""
COMMANDS = {
    "sweep": ["sweep own.toml --dry-run", "sweep own.toml"],
    "runs": ["runs", "runs --runs-dir nothing"],
    "eval": ["eval RUN1 RUN2 --ensemble"],
    "truncate": ["truncate RUN1 --k 1 --k 3"],
    "analyze": ["analyze RUN1 RUN2 --directions 2 --output out.csv", "analyze p.npy"],
    "tasks": ["tasks"],
    "tasks show": ["tasks show cb", "tasks show wsc --targets words"],
    "methods": ["methods"],
    "env": ["env"],
    "replicate": ["replicate RUN1 --pairs 2 --output pairs.csv"],
    "taskrank": ["taskrank RUN1"],
    "atlas": ["atlas m p.npy --sources sources.toml --directions 2 --output atlas"],
    "report": ["report RUN1 --output page.html"],
    "track": ["track RUN1 RUN2 --to fake"],
}
"""The commands that print JSON; the first fills the folder. A new one is one line here."""


OUTCOME = {
    "model": "tiny", "data": "miniature CB", "metric": "accuracy", "seeds": [1], "n_rows": 28, "n_questions": 28,
    "max_k": 6, "share": 0.95, "confidence": 0.95, "baseline": 50.0, "vanilla": 90.0, "gain": 40.0,
    "gain_lower": 30.0, "needed_rank": 2,
    "functional": [{"seed": 1, "run_id": "one", "functional_rank": 3.0, "low": None, "high": 4.0}],
    "decisions": [{"k": 2, "chosen_rank": 2, "score": 90.0, "margin": 2.0, "lower": 0.5, "certified": True, "tries": 1, "reached": 1,
                   "rate_low": 0.025, "rate_high": 1.0}],
    "tries": [{"k": 2, "kind": "cut", "seed": 1, "learning_rate": None, "start": None, "run_id": None,
               "selection": 90.0, "report": None, "reached": True, "chosen": True}],
}  # fmt: skip
"""Of a taskrank, which takes long."""
SOURCES = """[kinds]
one = ["t0", "t1", "t2"]
two = ["t3", "t4", "t5"]
[[source]]
repository = "r"
revision = "1"
licence = "MIT"
[[source.prompts]]
model = "m"
path = ["m/{task}.npy"]
"""


class FakeTracker(Tracker):
    """A tracker that needs no package."""

    takes_report = False

    def __init__(self, run):
        self.place = f"fake:{run.id}"

    def log(self, points):
        pass

    def finish(self, status, findings, report):
        pass


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    (folder / "own.toml").write_text(SPEC)
    (folder / "nothing").mkdir()
    draw = np.random.default_rng(0).standard_normal
    np.save(folder / "p.npy", draw((5, 8)))
    (folder / "sources.toml").write_text(SOURCES)
    (folder / "m").mkdir()
    for task in range(6):
        np.save(folder / f"m/T{task}.npy", draw((6, 8)))
    return folder


@pytest.fixture(scope="module")
def documents(here):
    """What each command prints, by its words: (name, document, standard error)."""
    printed = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setattr("rankprobe.studies.task_rank.taskrank", lambda *_, **__: TaskRankFile.parse(OUTCOME))
        patch.setitem(TRACKERS._all, "fake", FakeTracker)
        for name, lines in COMMANDS.items():
            for line in lines:
                printed[line] = (name, *run(line))
    return printed


def run(line: str, code: int = 0) -> tuple[dict, str]:
    """Run a command with --json; return its document and what is on standard error."""
    out, err = run_raw(f"{line} --json", code)
    return json.loads(out, parse_constant=pytest.fail), err


def run_raw(line: str, code: int = 0) -> tuple[str, str]:
    words = line.split()
    if "RUN1" in words:
        ids = dict(zip(("RUN1", "RUN2"), sorted(run.id for run in rp.list_runs("runs")), strict=True))
        words = [ids.get(word, word) for word in words]
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main(words)
    assert (stop.value.code or 0) == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def check(printed: dict, name: str) -> None:
    schema = {"$ref": f"#/$defs/{name.replace(' ', '%20')}", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(printed)


@pytest.mark.parametrize("line", [line for lines in COMMANDS.values() for line in lines])
def test_a_document_follows_its_schema(documents, line):
    name, printed, _ = documents[line]
    assert printed["command"] == name
    assert printed["rankprobe"] == rp.__version__
    check(printed, name)
    jsonschema.Draft202012Validator(SCHEMA).validate(printed)  # and no other command's


def test_the_schema_refuses_what_it_does_not_describe(documents):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name, printed, _ in documents.values():
        for wrong in (printed | {"more": 1}, {key: printed[key] for key in list(printed)[:-1]}):
            with pytest.raises(jsonschema.ValidationError):
                check(wrong, name)


def test_every_command_with_the_flag_is_in_the_schema_and_in_these_tests():
    def names(command, words=()):
        if any(parameter.name == "as_json" for parameter in command.params):
            yield " ".join(words)
        for name, child in getattr(command, "commands", {}).items():
            yield from names(child, (*words, name))

    having = set(names(typer.main.get_command(app)))
    assert having == set(COMMANDS)
    assert having == {name for name in SCHEMA["$defs"] if name != "run"}
    assert len(SCHEMA["oneOf"]) == len(having)


def test_numbers_are_those_of_the_library(here, documents, monkeypatch):
    monkeypatch.chdir(here)
    runs = rp.list_runs("runs")
    scores = documents["eval RUN1 RUN2 --ensemble"][1]["scores"]
    assert scores == evaluate_runs(sorted(runs, key=lambda run: run.id), ensemble=True).to_dict("records")
    rows = documents["runs"][1]["runs"]
    frame = rp.load_runs("runs").runs
    assert [row["run_id"] for row in rows] == frame["run_id"].tolist()
    assert [row["n_positive"] for row in rows] == frame["n_positive"].tolist()
    assert [row["reported"]["last"] for row in rows] == frame["last"].tolist()
    assert all(row["stop_after"] is None and row["steps"] == 2 for row in rows)
    readings = documents["analyze RUN1 RUN2 --directions 2 --output out.csv"][1]["readings"]
    written = pd.read_csv(here / "out.csv")
    np.testing.assert_allclose([row["value"] for row in readings], written["value"], rtol=1e-12)
    states = {line: [row["state"] for row in documents[line][1]["runs"]] for line in COMMANDS["sweep"]}
    assert list(states.values()) == [["unfinished"] * 2, ["finished"] * 2]


def test_outcomes_of_studies_are_those_of_their_files(here, documents, monkeypatch):
    monkeypatch.chdir(here)
    (needed,) = (documents[line][1] for line in COMMANDS["taskrank"])
    assert needed["outcome"] == OUTCOME
    (replicated,) = (documents[line][1] for line in COMMANDS["replicate"])
    pd.testing.assert_frame_equal(pd.DataFrame(replicated["pairs"]), pd.read_csv(here / "pairs.csv"))
    saved = json.loads((here / replicated["path"] / "replication.json").read_text())
    means = {row["kind"]: row["mean"] for row in replicated["summary"] if row["reading"] == "cv_rank"}
    assert means == {row["kind"]: row["cv_rank"] for row in saved["kinds"]}
    assert (replicated["verdict"], replicated["files"]) == (saved["verdict"], ["pairs.csv"])
    (atlas,) = (documents[line][1] for line in COMMANDS["atlas"])
    table = pd.read_csv(here / "atlas/atlas.csv")
    assert [row["P_erank_rv"] for row in atlas["prompts"]] == pytest.approx(table["P_erank_rv"].tolist())
    assert (
        json_value(json.loads((here / "atlas/atlas.json").read_text())["directions"]) == atlas["directions"]
    )
    assert len(atlas["directions"]) == 3
    assert all((here / file).is_file() for file in [*atlas["files"], "page.html"])
    assert [documents[line][1]["files"] for line in COMMANDS["report"]] == [["page.html"]]
    (tracked,) = (documents[line][1]["tracked"] for line in COMMANDS["track"])
    assert len({row["run_id"] for row in tracked}) == 2
    assert [row["place"] for row in tracked] == [f"fake:{row['run_id']}" for row in tracked]
    assert [(row["last_step"], row["n_sent"], row["error"]) for row in tracked] == [(2, 3, None)] * 2


def test_tables_for_people_are_not_printed_and_progress_goes_to_standard_error(documents):
    quiet = [
        line for name in ("runs", "eval", "tasks", "tasks show", "methods", "env") for line in COMMANDS[name]
    ]
    assert [documents[line][2] for line in quiet] == [""] * len(quiet)
    assert "2/2 runs finished" in documents["sweep own.toml"][2]
    assert documents["analyze RUN1 RUN2 --directions 2 --output out.csv"][1]["files"] == ["out.csv"]


def test_what_a_library_prints_goes_to_standard_error(here, monkeypatch):
    monkeypatch.chdir(here)
    monkeypatch.setattr("rankprobe.runs.list_rows", lambda *_: sys.stdout.write("chatter\n") and [])
    printed, err = run("runs")
    assert printed["runs"] == []
    assert err == "chatter\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("runs --runs-dir gone --json", "error: no folder 'gone' with runs"),
        ("tasks --json show cb", "error: --json goes last, as in: rankprobe tasks show cb --json"),
        ("probe --json", "error: No such option: --json"),
    ],
)
def test_bad_input_leaves_standard_output_empty(here, monkeypatch, line, message):
    monkeypatch.chdir(here)
    out, err = run_raw(line, code=2)
    assert out == ""
    assert err.startswith(message)


def test_a_sweep_with_failed_runs_prints_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(SPEC.replace("seed = [1, 2]", "seed = 1\nfactor_scale = 1e30"))
    printed, err = run("sweep own.toml", code=1)
    check(printed, "sweep")
    (row,) = printed["runs"]
    assert row["state"] == "failed"
    assert "NaN or infinite" in row["reason"]
    assert "error: 1 of 1 runs failed in two attempts" in err


def test_values_have_a_form_in_json(tmp_path):
    frame = pd.DataFrame({"k": [1, 2], "low": [math.nan, 2.5], "name": ["σ", None]})
    value = {"rows": frame, "n": np.int64(3), "s": np.array([1.0, np.inf]), "path": tmp_path, "none": pd.NA}
    assert json_value(value) == {
        "rows": [{"k": 1, "low": None, "name": "σ"}, {"k": 2, "low": 2.5, "name": None}],
        "n": 3,
        "s": [1.0, None],
        "path": str(tmp_path),
        "none": None,
    }
    assert type(json_value(np.float64(0.5))) is float
    with pytest.raises(TypeError, match="set has no form in JSON"):
        json_value({"x": {1}})


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.floats(width=32).map(np.float32),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_any_value_gives_strict_json_in_ascii(value):
    text = document("runs", {"value": value})
    assert text.isascii()
    assert json.loads(text, parse_constant=pytest.fail)["value"] == json_value(value)


def test_version():
    assert run_raw("--version") == (f"rankprobe {rp.__version__}\n", "")
