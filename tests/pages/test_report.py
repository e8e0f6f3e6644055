"""A report is one file: it needs nothing else, shows hostile names as text, and is the same for the same runs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from conftest import quick

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.errors import RankprobeError
from rankprobe.pages.details import RANKS
from rankprobe.pages.overview import overview
from rankprobe.pages.subjects import subjects
from rankprobe.pages.write import MAX_DETAILED
from rankprobe.plots.inline import MAX_POINTS, MAX_ROWS
from rankprobe.reports import pooled_verdicts
from rankprobe.runs.replication import ReplicationFile, save_replication
from rankprobe.runs.task_rank import TaskRankFile, save_task_rank

HOSTILE = "<script>alert(1)</script> & \" ' {{ 7*7 }} $(id) \u202e"
VOID = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """The elements of a page, as a browser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.raw = {"style": [], "script": []}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]].append(data)
        else:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


REPLICATED = {
    "disjoint": False,
    "kinds": [
        {"kind": kind, "pairs": 3, "cv_rank": rank, "low": low, "high": high, "replicate_edge": 1.0}
        | {"agreement": agreement}
        for kind, rank, low, high, agreement in (
            ("same start", 3.33, 2.1, 4.4, 0.93),
            ("different starts", 2.0, 1.0, 3.0, 0.9),
            ("shuffled labels", 1.0, 0.0, 2.5, 0.41),
        )
    ],
    "verdict": "above",
}
NEEDED = {
    "model": "tiny",
    "data": "CB",
    "metric": "accuracy",
    "seeds": [1, 2, 3],
    "n_rows": 28,
    "n_questions": 28,
    "max_k": 8,
    "share": 0.95,
    "confidence": 0.95,
    "baseline": 50.0,
    "vanilla": 90.0,
    "gain": 40.0,
    "gain_lower": 30.0,
    "needed_rank": 3,
    "decisions": [
        {
            "k": 3,
            "chosen_rank": 3,
            "score": 91.0,
            "margin": 2.0,
            "lower": 0.5,
            "certified": True,
            "tries": 7,
            "reached": 4,
        }
        | {"rate_low": 0.2, "rate_high": 0.9}
    ],
    "tries": [],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three seeds of the probe, one truncated; a run of dpt; one that failed; one that cannot be read."""
    root = tmp_path_factory.mktemp("report") / "runs"
    for seed in (1, 2, 3):
        rp.train(quick(method="probe", seed=seed, model="tiny"), runs_dir=root, name=f"probe-{seed}")
    rp.train(quick(method="dpt", bottleneck=2, model="tiny"), runs_dir=root, name="dpt")
    run = rp.find_run("probe-1", root)
    from rankprobe.evaluation import save_truncation

    save_truncation(run, rp.truncate(run, ks=[1, 4]))
    save_replication(run, ReplicationFile.parse(REPLICATED))
    save_task_rank(run, TaskRankFile.parse(NEEDED))
    shutil.copytree(root / "dpt", root / "failed")
    rp.find_run("failed", root).update({"status": "failed", "error": "the loss is not finite"})
    (root / "damaged").mkdir()
    (root / "damaged" / "manifest.json").write_text("{")
    (root / "plans").mkdir()
    plan = {
        "name": "p",
        "scale": "",
        "title": "Planned",
        "draws": ["fig3", "table2"],
        "command": "rankprobe sweep p.toml",
    }
    (root / "plans" / "p.plan.json").write_text(
        json.dumps(plan | {"run_ids": ["probe-1", "probe-2", "probe-3", "lost"]})
    )
    return root


@pytest.fixture(scope="module")
def one(folder, tmp_path_factory):
    return rp.find_run("probe-1", folder).report(tmp_path_factory.mktemp("one") / "report.html")


@pytest.fixture(scope="module")
def many(folder, tmp_path_factory):
    return rp.report(folder, tmp_path_factory.mktemp("many") / "report.html")


@pytest.fixture(params=["one", "many"])
def page(request):
    return Page(request.getfixturevalue(request.param).read_text())


def test_nothing_is_loaded_and_only_our_style_and_script_may_run(page):
    assert not {"img", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    for tag, attributes in page.attributes:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#"), attributes
    (policy,) = [a["content"] for _, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for name, texts in page.raw.items():
        assert len(texts) == 1
        expected = base64.b64encode(hashlib.sha256(texts[0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{expected}'" in policy


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = [a["id"] for _, a in page.attributes if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.attributes:
        for name in ("aria-labelledby", "for", "data-filters", "data-copies", "data-figure"):
            assert set((attributes.get(name) or "").split()) <= set(ids), (name, attributes)
        for reference in re.findall(r"url\(#([^)]+)\)", " ".join(str(v) for v in attributes.values())):
            assert reference in ids
        if attributes.get("href"):
            assert attributes["href"].removeprefix("#") in ids


def test_every_figure_has_a_title_a_description_and_its_data(page):
    figures = [a for tag, a in page.attributes if tag == "svg"]
    assert figures
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in figures)
    assert page.tags.count("desc") == page.words.count("Data of this figure") == len(figures)


def test_a_run_shows_its_findings_readings_and_ranks(one, folder):
    page, run = Page(one.read_text()), rp.find_run("probe-1", folder)
    for sentence in rp.findings([run])[1:]:
        assert " ".join(sentence.split()) in page.words
    for words in (
        "miniature tasks of rankprobe's own, not SuperGLUE",
        "positive entries of σ",
        "Gaussian twin",
        "one seed: no verdict",
        "outside its calibration",
        "Every measure next to its nulls",
        *RANKS,
        "invalid answers",
        "The words nearest to each prompt token",
        "same start 3.30 2.10 4.40 0.93 inside 3",
        "shuffled labels 1.00 0.00 2.50 0.41 outside 3",
        "The task needs at most rank 3 (certified on 28 rows and 3 seeds; vanilla 90.0, baseline 50.0)",
        "3 yes 91.00 2.00 0.50 7 4",
        "prompt_length 8 100",
        "@inproceedings{xiao2023decomposed",
        r"\begin{table}",
    ):
        assert words in page.words, words


def test_a_folder_shows_groups_failures_what_is_missing_and_the_tables(many):
    words = Page(many.read_text()).words
    assert "6 runs" not in words
    assert "probe on miniature CB, tiny (rankprobe's own), seeds 1, 2, 3" in words
    assert "Planned: 1 planned run is missing. Train: rankprobe sweep p.toml" in words
    assert "failed failed the loss is not finite" in words
    assert "damaged" in words
    assert "rankprobe resume" in words
    assert "After Table 2 of Xiao et al." in words


def test_groups_that_differ_in_a_setting_have_different_labels(folder, tmp_path):
    for name, changes in (
        ("a", {}),
        ("b", {"steps": 7}),
        ("c", {"dtype": "bfloat16"}),
        ("d", {"eval_every": 2}),
    ):
        shutil.copytree(folder / "dpt", tmp_path / name)
        run = rp.find_run(name, tmp_path)
        run.update({"config": run.manifest["config"] | {"seed": ord(name)} | changes})
    found = subjects([tmp_path])
    table = overview(found, pooled_verdicts(found.groups)).groups
    settings, seeds = ([name for name, _ in table.columns].index(name) for name in ("settings", "seeds"))
    assert [(row[settings].text, row[seeds].text) for _, rows in table.groups for row in rows] == [
        ("dtype = float32, steps = 6", "2"),
        ("dtype = float32, steps = 7", "1"),
        ("dtype = bfloat16, steps = 6", "1"),
    ]


def test_a_functional_rank_of_the_best_prompt_is_called_so(folder, tmp_path):
    shutil.copytree(folder / "probe-1", tmp_path / "best")
    shutil.copytree(folder / "dpt", tmp_path / "none")
    path = tmp_path / "best" / "truncation.json"
    row = {"matrix": "P", "prompt": "best", "functional_rank": 3.0, "below": 2.0, "low": 2.0, "high": 4.0}
    path.write_text(json.dumps({"functional_rank": [row]}))
    words = Page(rp.report(tmp_path, tmp_path / "r.html").read_text()).words
    for sentence in (
        "The functional rank of the best prompt is 3 (2–4) of P",
        "was measured on 1 of 2 runs, of the best prompt on 1 of these, and is defined on 1; from 3 to 3",
        "3.0 (best prompt)",
        "P best 3.00 2 4",
        "The rank that the final prompt uses is not measured yet. Measure it: rankprobe truncate",
    ):
        assert sentence in words, sentence


def test_singular_values_are_counted_from_1(folder):
    figure = rp.find_run("probe-1", folder).plot.spectra()
    assert {min(line.get_xdata()) for axes in figure.axes for line in axes.lines} == {1}


def test_the_same_runs_give_the_same_bytes(folder, tmp_path, many):
    first = many.read_bytes()
    assert rp.report(folder, many).read_bytes() == first


def test_a_run_is_small(one, many):
    assert one.stat().st_size < 500_000
    assert many.stat().st_size < 5 * 500_000


def test_hostile_names_labels_and_settings_stay_text(folder, tmp_path):
    name = "<b onclick='x'>&amp;;{{ 7*7 }}"
    shutil.copytree(folder / "probe-1", tmp_path / name)
    run = rp.find_run(name, tmp_path)
    manifest = run.manifest
    run.update(
        {
            "backbone": manifest["backbone"] | {"label": HOSTILE},
            "data": manifest["data"] | {"label": HOSTILE},
            "config": manifest["config"] | {"targets": HOSTILE},
            "status": "failed",
            "error": HOSTILE,
            "versions": {"torch": HOSTILE},
        }
    )
    shutil.copytree(tmp_path / name, tmp_path / "other")
    text = rp.report(tmp_path, tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert "b" not in page.tags
    assert "{{ 7*7 }}" in page.words
    assert "<script>alert(1)</script>" in page.words
    assert "\u202e" not in text
    assert "\\u202e" in page.words
    html = rp.find_run(name, tmp_path)._repr_html_() + rp.load_runs(tmp_path)._repr_html_()
    assert "<script" not in html
    assert "<b " not in html


def test_long_curves_are_thinned(folder):
    from matplotlib.figure import Figure

    from rankprobe.plots.inline import inline

    figure = Figure()
    axes = figure.add_subplot()
    x = list(range(3000))
    axes.plot(x, x, label="a", color="#123456")
    axes.fill_between(x, [v - 1 for v in x], [v + 1 for v in x], color="#123456", alpha=0.2)
    figure.legend()
    shown = inline(figure, "f")
    (line,) = axes.lines
    assert len(line.get_xdata()) == MAX_POINTS
    assert line.get_xdata()[[0, -1]].tolist() == [0, 2999]
    ((_, table),) = shown.tables
    assert len(table) == MAX_ROWS
    assert list(table) == ["x", "a", "a, least", "a, greatest"]
    assert table.iloc[-1].tolist() == [2999, 2999, 2998, 3000]
    assert shown.thinned


def test_saved_svg_files_have_a_title_a_description_and_ids_of_their_own(folder, tmp_path):
    frames = rp.load_runs(folder, only=["probe-1", "probe-2"])
    for name in ("fig3", "fig9"):
        rp.plots.save(rp.plots.FIGURES[name](frames), name, frames, tmp_path)
    ids = []
    for name in ("fig3", "fig9"):
        root = ElementTree.parse(tmp_path / f"{name}.svg").getroot()
        assert root.get("role") == "img"
        assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]
        assert "entries of σ over step" in root[0].text
        ids += [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_more_groups_than_fit_are_compared_in_tables(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("rankprobe.pages.write.MAX_DETAILED", 1)
    text = rp.report(folder, tmp_path / "r.html").read_text()
    assert 'id="g1"' not in text
    assert 'id="groups"' in text
    assert MAX_DETAILED > 1


def test_watching_writes_until_the_run_has_ended(folder, tmp_path, monkeypatch):
    shutil.copytree(folder / "dpt", tmp_path / "going-on")
    run, written, waits = rp.find_run("going-on", tmp_path), [], []
    monkeypatch.setattr(rp.Run, "status", property(lambda _: "finished" if waits else "running"))
    monkeypatch.setattr("rankprobe.pages.write.time.sleep", waits.append)
    run.report(tmp_path / "r.html", watch=3, on_write=lambda path: written.append(path.read_text()))
    assert waits == [3]
    first, last = written
    assert '<meta http-equiv="refresh" content="3">' in first
    assert "Training is not finished" in first
    assert 'http-equiv="refresh"' not in last


def test_the_command_writes_a_report(folder, tmp_path, capsys):
    output = tmp_path / "out" / "r.html"
    with pytest.raises(SystemExit) as stop:
        main(["report", "probe-1", "--runs-dir", str(folder), "--output", str(output)])
    assert not stop.value.code
    assert capsys.readouterr().out.strip() == str(output)
    assert f"rankprobe report probe-1 --runs-dir {folder} --output {output}" in Page(output.read_text()).words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prob-1"], "unknown run 'prob-1'; did you mean 'probe-1'?"),
        (["EMPTY"], "no runs in"),
        (["--output", "EMPTY"], "is a folder"),
        (["--output", "OTHER"], "exists and is not a report"),
        (["probe-1", "COPY"], "two runs are named 'probe-1'"),
        (["DAMAGED"], "nothing to report"),
    ],
)
def test_bad_input_gives_one_line(folder, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.html").write_text("<p>mine</p>")
    shutil.copytree(folder / "probe-1", tmp_path / "copies" / "probe-1")
    shutil.copytree(folder / "damaged", tmp_path / "d" / "damaged")
    places = {
        "EMPTY": tmp_path / "empty",
        "OTHER": tmp_path / "other.html",
        "COPY": tmp_path / "copies",
        "DAMAGED": tmp_path / "d",
    }
    words = [str(places.get(word, word)) for word in arguments]
    output = [] if "--output" in words else ["--output", str(tmp_path / "r.html")]
    with pytest.raises(SystemExit) as stop:
        main(["report", *words, "--runs-dir", str(folder), *output])
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "r.html").exists()
    assert (tmp_path / "other.html").read_text() == "<p>mine</p>"


def test_watch_needs_a_time(folder):
    with pytest.raises(RankprobeError, match="watch is 0; expected a number of seconds above zero"):
        rp.report(folder, watch=0)


def test_notebooks_show_runs_frames_tables_and_figures(folder):
    run = rp.find_run("probe-1", folder)
    shown = run._repr_html_()
    assert "probe-1: finished at step 6 of 6" in shown
    assert "rankprobe&#x27;s own, not SuperGLUE" in shown
    assert "positive entries of σ" in shown
    with pytest.warns(UserWarning, match="damaged"):
        frames = rp.load_runs(folder)
    assert "<td>probe-2</td>" in frames._repr_html_()
    assert "<th scope='col'>train</th>" in rp.reports.TABLES["table2"](frames)._repr_html_()
    for name in ("emergence", "signs", "ranks", "spectra", "scores", "truncation"):
        assert getattr(run.plot, name)().axes, name
    with pytest.raises(RankprobeError, match="rankprobe truncate"):
        rp.find_run("probe-2", folder).plot.truncation()
    assert "damaged" in rp.Run(folder / "damaged")._repr_html_()
    assert os.environ.get("HF_HUB_OFFLINE")
