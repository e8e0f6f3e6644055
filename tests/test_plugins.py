"""Plugins: what an installed package adds shows up everywhere; one that cannot be used is named and left out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rankprobe as rp

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "rankprobe_example"
DRIVER = """
import json, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from rankprobe.cli import main
printed = {}
for line in json.loads(sys.argv[1]):
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(line.split())
        except SystemExit as stop:
            code = stop.code or 0
    printed[line] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(printed))
"""


def python(code: str, *arguments: str, plugins: Path | None, cwd: Path) -> str:
    """Run Python in a process of its own, as what plugins add is read once per process."""
    path = [str(ROOT), *([str(plugins)] if plugins else [])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "200", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands(*lines: str, plugins: Path | None, cwd: Path) -> dict[str, tuple[int, str, str]]:
    """Run commands in one process; by line: the exit code, standard output and standard error."""
    printed = json.loads(python(DRIVER, json.dumps(lines), plugins=plugins, cwd=cwd))
    return {line: tuple(found) for line, found in printed.items()}


# The example


QUICK = "--model random:tiny --prompt-length 8 --steps 3 --eval-every 3"
LINES = {
    "methods": ["gain", "P = diag(g) · P0, one trained number per prompt token"],
    "methods --json": ['"method": "gain"'],
    "tasks": ["evenness", "even, odd"],
    "tasks show evenness": ["Evenness", "40 examples", "source           number: forty two"],
    "train --help": ["--gain-start", "Initial gain of each prompt token [1.0]"],
    f"train --method gain --task evenness --gain-start 1.5 --name one {QUICK}": ["Evenness from file, 40 train, 15 dev"],
    f"train --method gain --task evenness --seed 1 --seed 2 {QUICK}": ["evenness-gain-random-tiny-s2-"],
    f"probe --task evenness --name two {QUICK}": ["Evenness from file"],
    "resume one": ["one  finished after 3 steps"],
    "runs": ["one finished Evenness"],
    "track one --to lines": ["one  lines  4 steps sent  runs/one.lines"],
    f"probe --task evenness --name three {QUICK} --report-to lines": ["Evenness from file"],
    "eval one two": ["Evenness validation"],
    "eval one --task cb": ["miniature CB validation"],
    "analyze one": ["top_share"],
    "analyze one --output readings.csv": ["readings.csv"],
    "truncate one --k 1": ["functional rank"],
    "plot fig9": ["figures/fig9.png"],
    "report --output report.html": ["report.html"],
    "env": ["rankprobe-example   0.1.0"],
}  # fmt: skip
REFUSED = {
    "train --method gain --gain-start 0": "error: gain_start is 0.0; expected greater than 0",
    "train --method dpt --gain-start 2": "error: method 'dpt' has no 'gain_start'; methods that have it: gain",
    "train --method gian": "error: unknown method 'gian'; did you mean 'gain'?",
    "probe --task evennes": "error: unknown task 'evennes'; did you mean 'evenness'?",
    "track one --to line": "error: unknown tracker 'line'; did you mean 'lines'?",
    "probe --task evenness --data hub": "error: task 'evenness' is not on the hub; leave out --data",
    "probe --task evenness --template authors": "error: task 'evenness' is not one of the DPT authors' tasks",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the example package, as pip installs it."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "example"  # a copy: setuptools writes beside the sources
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--no-index", "--target", folder, source], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def printed(installed, here):
    return commands(*LINES, *REFUSED, plugins=installed, cwd=here)


@pytest.mark.parametrize("line", LINES)
def test_the_example_shows_up(printed, line):
    code, out, err = printed[line]
    assert (code, err) == (0, "")
    for part in LINES[line]:
        assert part in out


@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_for_the_example_is_refused(printed, line):
    code, _, err = printed[line]
    assert code == 2
    assert err.startswith(REFUSED[line])
    assert len(err.splitlines()) == 1


def test_its_measure_is_logged_and_is_what_it_says(printed, here):
    frames = rp.load_runs(here / "runs")
    steps, spectra = (frame[frame["run_id"] == "one"] for frame in (frames.steps, frames.spectra))
    for matrix in ("P", "dP", "gaussian_P", "haar_dP"):
        assert f"{matrix}_top_share" in steps
    s = spectra[(spectra["matrix"] == "P") & (spectra["step"] == 3)]["value"]
    assert steps["P_top_share"].iloc[-1] == pytest.approx(s.max() / s.sum())
    P = rp.find_run("one", here / "runs").prompt()
    s = np.linalg.svd(P.astype(np.float64), compute_uv=False)
    readings = pd.read_csv(here / "readings.csv").query(
        "measure == 'top_share' and matrix == 'P' and prompt == 'final'"
    )
    assert readings["value"].item() == pytest.approx(s[0] / s.sum())
    assert readings[["gaussian", "signflip", "P0"]].notna().all(axis=None)


def test_its_tracker_gets_what_was_logged(printed, here):
    frames = rp.load_runs(here / "runs")
    for name in ("one", "three"):  # afterwards, and while it was trained
        lines = [json.loads(line) for line in (here / "runs" / f"{name}.lines").read_text().splitlines()]
        steps = frames.steps[frames.steps["run_id"] == name]
        assert [line["step"] for line in lines] == steps["step"].tolist() == [0, 1, 2, 3]
        shares = [line["steps/P_top_share"] for line in lines if "steps/P_top_share" in line]
        assert shares == steps["P_top_share"].dropna().tolist()


def test_its_method_trains_what_it_says(printed, here):
    run = rp.find_run("one", here / "runs")
    assert run.manifest["trainable"] == {"g": 8}
    assert run.manifest["versions"]["rankprobe-example"] == "0.1.0"
    assert run.manifest["config"]["gain_start"] == 1.5
    ratio = run.prompt() / run.prompt("P0")
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-5)
    assert np.ptp(ratio[:, 0]) > 0


def test_runs_stay_readable_without_the_package(printed, here):
    without = commands("runs", "analyze one", "plot fig9", "resume one", "eval one", plugins=None, cwd=here)
    for line in ("runs", "analyze one", "plot fig9", "resume one"):
        assert without[line][0] == 0, without[line]
    assert without["eval one"][::2] == (
        2,
        "error: unknown method 'gain' (valid: dept, dpt, finetune, probe, residual, subspace, ulpt, vanilla)\n",
    )


@pytest.mark.parametrize(
    "first", ["rankprobe_example.config", "rankprobe_example.method", "rankprobe_example.task"]
)
def test_modules_of_a_plugin_can_be_imported_first(installed, here, first):
    code = (
        f"import warnings; warnings.simplefilter('error'); import {first}\n"
        "from rankprobe.prompts import METHODS; from rankprobe.tasks import TASKS\n"
        "print('gain' in METHODS, 'evenness' in TASKS)"
    )
    assert python(code, plugins=installed, cwd=here) == "True True\n"


def test_its_rows_are_its_own_with_any_model(installed, here):
    code = (
        "from rankprobe.config import RunConfig\n"
        "for model in ('tiny', 't5-base'):\n"
        "    for data in ({}, {'data': 'bundled'}):\n"
        "        print(RunConfig.parse({'task': 'evenness', 'model': model, **data}).data)"
    )
    assert python(code, plugins=installed, cwd=here) == "None\n" * 4


def test_a_config_needs_no_torch(installed, here):
    code = "import sys, rankprobe.cli.app\nprint({'torch', 'transformers', 'sklearn'} & {*sys.modules})"
    assert python(code, plugins=installed, cwd=here) == "set()\n"


def test_the_page_shows_the_example_as_it_is():
    page = (ROOT / "docs" / "plugins.md").read_text()
    files = "\n".join(path.read_text() for path in [*EXAMPLE.glob("*/*.py"), EXAMPLE / "pyproject.toml"])
    shown = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)
    assert len(shown) == 6
    for code in shown:
        assert code in files, code


# Plugins that cannot be used


MODULE = """
from pathlib import Path
from typing import ClassVar, Literal
import numpy as np
from pydantic import Field
from rankprobe.prompts import MethodConfig
from rankprobe.tasks import Task
from rankprobe.trackers import Tracker

class Track(Tracker):
    "Sends nothing."

class Base(MethodConfig):
    "Trains nothing."
    method_class: ClassVar[str] = "nowhere:Nothing"

class Unbuilt(Base):
    "Cannot be built."
    name: Literal["unbuilt"] = "unbuilt"

class Taken(Unbuilt):
    "Has a setting of all runs."
    name: Literal["taken"] = "taken"
    steps: int = Field(default=1, description="Other steps")

class Typed(Unbuilt):
    "Has a setting of another method, with another type."
    name: Literal["typed"] = "typed"
    bottleneck: str = Field(default="x", description="Another bottleneck")

class Silent(Unbuilt):
    "Has a setting without description."
    name: Literal["silent"] = "silent"
    extra: int = 1

class Classless(Unbuilt):
    "Has no method class."
    method_class: ClassVar[str] = ""
    name: Literal["classless"] = "classless"

class Mute(Unbuilt):
    name: Literal["mute"] = "mute"

def task(name, **changes):
    usual = dict(folder="x", title="X", template="x: {x}", long_field="x", truncation_side="left", labels=("a", "b"),
                 metrics=("accuracy",), files={"train": Path("a"), "validation": Path("b")})
    return Task(name=name, **{**usual, **changes})

right, other = task("right"), task("else")
fileless, metric, field = task("fileless", files={}), task("metric", metrics=("acuracy",)), task("field", long_field="y")

def summed(s, shape): return s.sum()
def infinite(s, shape): return 1 / s.sum(-1)
def one(s, shape): return s.sum(-1) * 0 + 1
def mixed(s, shape): return s.sum(-1) / (s.sum() or 1)
def length(s, shape): return s.sum(-1)
"""
WRONG = {
    "method": {
        "dpt": ("module:Unbuilt", "rankprobe has a method of this name"),
        "Odd-name": ("module:Unbuilt", "a name has small letters, digits and _, and starts with a letter"),
        "gone": ("nowhere:Config", "ModuleNotFoundError: No module named 'nowhere'"),
        "lost": ("module:Nothing", "AttributeError: module 'module' has no attribute 'Nothing'"),
        "torn": ("torn:Config", "SyntaxError: invalid syntax (torn.py, line 1)"),
        "leaving": ("leaving:Config", "SystemExit: 3"),
        "loud": ("loud:Config", r"ValueError: two \x1b[1m"),
        "number": ("module:np", "expected a subclass of rankprobe.prompts.MethodConfig"),
        "renamed": ("module:Unbuilt", "its config needs the field name: Literal['renamed'] = 'renamed'"),
        "taken": ("module:Taken", "all runs have a setting steps; rename that of method 'taken'"),
        "typed": ("module:Typed", "method 'dpt' has a setting bottleneck of another type"),
        "silent": ("module:Silent", "its setting extra needs a description, which --help shows"),
        "classless": ("module:Classless", "its config needs method_class, such as 'package.module:Class'"),
        "mute": ("module:Mute", "its config needs a docstring, which `rankprobe methods` shows"),
    },
    "task": {
        "cb": ("module:right", "rankprobe has a task of this name"),
        "function": ("module:task", "expected an instance of rankprobe.tasks.Task"),
        "other": ("module:other", "its name is 'else'; give both the same name"),
        "fileless": ("module:fileless", "its files are those of []; expected ['train', 'validation']"),
        "metric": ("module:metric", "unknown metric 'acuracy'; did you mean 'accuracy'?"),
        "field": ("module:field", "its long_field 'y' is no field of its template"),
    },
    "measure": {
        "erank_rv": ("module:length", "rankprobe has a measure of this name"),
        "signflip_edge": ("module:length", "rankprobe has a measure of this name"),
        "constant": ("module:np.pi", "TypeError: 'float' object is not callable"),
        "summed": ("module:summed", "expected a finite number for each spectrum along the last axis, 0 for zeros"),
        "infinite": ("module:infinite", "expected a finite number for each spectrum along the last axis"),
        "one": ("module:one", "expected a finite number for each spectrum along the last axis, 0 for zeros"),
        "mixed": ("module:mixed", "a stack of spectra gives other numbers than each of them alone"),
    },
    "tracker": {
        "wandb": ("module:Track", "rankprobe has a tracker of this name"),
        "function": ("module:task", "expected a subclass of rankprobe.trackers.Tracker"),
        "other_class": ("module:Base", "expected a subclass of rankprobe.trackers.Tracker"),
    },
}  # fmt: skip
READ = """
import json, warnings
from rankprobe.config import RunConfig
from rankprobe.prompts import METHODS
from rankprobe.rank import MEASURES
from rankprobe.tasks import TASKS
from rankprobe.trackers import TRACKERS
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    names = {r.kind: [*r.added] for r in (METHODS, TASKS, MEASURES, TRACKERS)}
print(json.dumps([names, [str(each.message) for each in caught]]))
"""


def pretend_installed(folder: Path, package: str, points: dict[str, dict[str, str]], **modules: str) -> Path:
    """Write what pip leaves of a package: its modules and the metadata with entry points, by kind and name."""
    metadata = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        line
        for kind, values in points.items()
        for line in (f"[rankprobe.{kind}s]", *(f"{name} = {value}" for name, value in values.items()), "")
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A folder with a package most of which cannot be used, and one with the same names."""
    folder = tmp_path_factory.mktemp("wrong")
    points = {kind: {name: value for name, (value, _) in each.items()} for kind, each in WRONG.items()}
    points["method"] |= {"unbuilt": "module:Unbuilt"}
    points["task"] |= {"right": "module:right"}
    points["measure"] |= {"length": "module:length"}
    points["tracker"] |= {"silent": "module:Track"}
    modules = {
        "module": MODULE,
        "torn": "def",
        "leaving": "raise SystemExit(3)",
        "loud": r"raise ValueError('two \x1b[1m\nlines')",
    }
    pretend_installed(folder, "rp-wrong", points, **modules)
    again = {"measure": {"length": "module:length"}, "task": {"right": "module:right"}}
    return pretend_installed(folder, "rp-zwrong", again)


@pytest.fixture(scope="module")
def caught(wrong, tmp_path_factory):
    return json.loads(python(READ, plugins=wrong, cwd=tmp_path_factory.mktemp("cwd")))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, each in WRONG.items() for name in each])
def test_what_cannot_be_used_is_named_with_package_and_reason(caught, kind, name):
    (message,) = [each for each in caught[1] if each.startswith(f"left out: {kind} '{name}' of")]
    reason = WRONG[kind][name][1]
    assert message.startswith(f"left out: {kind} '{name}' of the package 'rp-wrong' ({reason}")
    assert message.endswith("); update the package, or uninstall it")
    assert message.isprintable()


def test_the_rest_is_used_and_a_name_is_given_once(caught):
    names, messages = caught
    right = {"method": ["unbuilt"], "task": ["right"], "measure": ["length"], "tracker": ["silent"]}
    assert names == right
    assert len(messages) == sum(map(len, WRONG.values())) + 2
    for kind, name in (("task", "right"), ("measure", "length")):
        again = f"{kind} '{name}' of the package 'rp-zwrong' (another plugin has a {kind} of this name)"
        assert any(again in message for message in messages)


def test_the_commands_work_and_say_each_problem_once_on_one_line(wrong, tmp_path):
    np.save(tmp_path / "p.npy", np.eye(4, 6, dtype=np.float32))
    unbuilt, untracked = "train --method unbuilt --steps 1", "probe --report-to nothing"
    lines = ["tasks", "methods", "analyze p.npy", unbuilt, untracked, f"probe {QUICK}"]
    found = commands(*lines, plugins=wrong, cwd=tmp_path)
    codes = {line: code for line, (code, _, _) in found.items()}
    assert codes == {**dict.fromkeys(lines, 0), unbuilt: 2, untracked: 2}
    told = "".join(err for _, _, err in found.values())
    assert (
        "UserWarning: left out: method 'gone' of the package 'rp-wrong' (ModuleNotFoundError"
        in found["tasks"][2]
    )
    for kind, each in WRONG.items():
        for name in each:
            assert told.count(f"left out: {kind} '{name}' of the package") == 1
    assert "\x1b" not in told
    assert "left out: method 'unbuilt' of a plugin cannot be built" in found["methods"][2]
    assert "dpt" in found["methods"][1]
    assert found["train --method unbuilt --steps 1"][2].startswith(
        "error: method 'unbuilt' of a plugin cannot be imported (ModuleNotFoundError: No module named 'nowhere'); "
        "update its package, or uninstall it"
    )
