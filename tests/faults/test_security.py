"""What files, names and servers of strangers cannot do. SECURITY.md names the tests of this file.

The canary is a file that hostile input creates if its code runs.
"""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import quick
from pyarrow import parquet
from stand_in_hub import client_of, serving

import rankprobe as rp
from rankprobe.backbone import load_backbone
from rankprobe.bundled import FOLDER as BUNDLED_ROWS
from rankprobe.cli import main
from rankprobe.errors import RankprobeError, first_line
from rankprobe.hub import hub_place
from rankprobe.runs import CHECKPOINTS, Run, load_runs
from rankprobe.runs.checkpoint import checkpoint_path, last_checkpoint, load_checkpoint, save_checkpoint
from rankprobe.runs.files import write_atomically
from rankprobe.runs.provenance import git_commit

ROOT = Path(__file__).parents[2]
QUICK = ["--steps", "2", "--prompt-length", "4", "--batch-size", "4"]
TOKEN = "hf_" + "NeverWriteThisDown" * 2
PASSWORD = "NorThisPassword"


class Hostile:
    """An object whose pickle creates the canary when it is loaded."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), "w")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory inside an empty one, so that files written outside it are seen."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "CANARY"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run; `copied` gives each test its own copy."""
    return rp.train(quick(steps=2), runs_dir=tmp_path_factory.mktemp("trained"), name="one")


@pytest.fixture
def copied(trained, here):
    shutil.copytree(trained.path, here / "runs" / "one")
    return Run(here / "runs" / "one")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a complete model; `folder` gives each test its own copy."""
    saved = tmp_path_factory.mktemp("model")
    small = load_backbone("random:tiny")
    small.model.save_pretrained(saved)
    small.tokenizer.save_pretrained(saved)
    return saved


@pytest.fixture
def folder(model, here):
    shutil.copytree(model, here / "model")
    return here / "model"


def files(folder):
    """Return every file below a folder, with its content."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def refused(capfd, *command, code=2):
    """Return the command's error message; check that it has one or two lines, the right exit code, no traceback."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in command])
    output = capfd.readouterr().err
    assert stop.value.code == code, output
    assert "Traceback" not in output
    assert 1 <= len(output.splitlines()) <= 2, output
    return output


def edit_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# Files that carry code


def adapter(here):
    (here / "adapter").mkdir()
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    (here / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    return here / "adapter" / "adapter_model.bin"


def as_zip(value, path):
    torch.save({"prompt_embeddings": value}, path)


def as_legacy(value, path):
    torch.save({"prompt_embeddings": value}, path, _use_new_zipfile_serialization=False)


def as_pickle(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


WAYS = [as_zip, as_legacy, as_pickle]


@pytest.mark.parametrize("write", WAYS)
def test_the_weapon_works(write, tmp_path, canary):
    """Without this, the tests below would prove nothing."""
    write(Hostile(canary), tmp_path / "weapon")
    if write is as_pickle:
        pickle.loads((tmp_path / "weapon").read_bytes()).close()
    else:
        torch.load(tmp_path / "weapon", weights_only=False)["prompt_embeddings"].close()
    assert canary.exists()


@pytest.mark.parametrize("write", WAYS)
@pytest.mark.parametrize("command", [["analyze"], ["atlas"], ["train", "--method", "vanilla", *QUICK, "--init", "saved", "--init-from"]])  # fmt: skip
def test_a_pickle_as_adapter(write, command, here, canary, capfd):
    write(Hostile(canary), adapter(here))
    output = refused(capfd, *command, here / "adapter")
    assert "adapter_model.bin' cannot be read (Weights only load failed: it holds more than tensors" in output
    assert "trust" not in output  # the message of torch explains how to load it anyway
    assert not canary.exists()
    assert not (here / "runs").exists()


def test_pickles_in_numpy_files(here, canary, capfd):
    np.save(here / "object.npy", np.array([[Hostile(canary)]], dtype=object), allow_pickle=True)
    as_pickle(Hostile(canary), here / "pickle.npy")
    for name in ("object.npy", "pickle.npy"):
        assert f"{name}' cannot be read (" in refused(capfd, "analyze", name)
    np.savez(here / "many.npz", a=np.array([Hostile(canary)], dtype=object))
    (here / "many.npz").rename(here / "many.npy")
    assert "many.npy' is NpzFile; expected a matrix" in refused(capfd, "analyze", "many.npy")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["p", "p.pt", "p.bin", "p.pkl", "p.safetensors", "p.npz"])
@pytest.mark.parametrize("write", WAYS)
def test_a_pickle_under_other_names(write, name, here, canary, capfd):
    write(Hostile(canary), here / name)
    assert f"'{name}' cannot be read (Weights only load failed" in refused(capfd, "analyze", name)
    refused(capfd, "probe", "--factor-init", "svd", "--init", "saved", "--init-from", name, *QUICK)
    assert not canary.exists()


def test_a_pickle_in_a_run_folder(copied, here, canary, capfd):
    config = json.dumps(copied.manifest["config"])
    as_zip(Hostile(canary), copied.path / "prompt.safetensors")
    assert "prompt.safetensors cannot be read" in refused(capfd, "analyze", "runs/one")
    assert "prompt.safetensors cannot be read" in refused(capfd, "export", "one", "out")
    copied.update({"status": "killed"})
    for path in (copied.path / CHECKPOINTS).iterdir():
        as_zip(Hostile(canary), path)
    assert "is damaged" in refused(capfd, "resume", "one")
    assert not canary.exists()
    assert json.dumps(copied.manifest["config"]) == config


@pytest.mark.parametrize("write", WAYS)
def test_a_pickle_as_model(write, folder, here, canary, capfd):
    (folder / "model.safetensors").unlink()
    write(Hostile(canary), folder / "pytorch_model.bin")
    output = refused(capfd, "probe", "--model", "model", *QUICK)
    assert "(its weights are a pickle of more than tensors, which could run code)" in output
    assert not canary.exists()
    assert not (here / "runs").exists()


def test_a_model_folder_with_an_adapter(folder, here, canary, capfd):
    """The adapter's weights, and the modules that its config names."""
    (here / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()")
    lora = {"peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": 4, "target_modules": ["q"]}
    lora |= {"base_model_name_or_path": "/", "megatron_core": "evil", "megatron_config": {"a": 1}}
    lora |= {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}}
    (folder / "adapter_config.json").write_text(json.dumps(lora))
    as_zip(Hostile(canary), folder / "adapter_model.bin")
    refused(capfd, "probe", "--model", "model", *QUICK)
    assert not canary.exists()


CODE = {"config.json": ["AutoConfig", "AutoModelForSeq2SeqLM"], "tokenizer_config.json": ["AutoTokenizer"]}


@pytest.mark.parametrize("name", CODE)
def test_code_in_a_model_folder(name, folder, here, canary, capfd, monkeypatch):
    """The code is not run, and the user is not asked; the test would answer yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Evil: pass")
    edit_json(folder / "config.json", **({"model_type": "evil"} if name == "config.json" else {}))
    values = {kind: "evil.Evil" if kind != "AutoTokenizer" else ["evil.Evil", None] for kind in CODE[name]}
    edit_json(
        folder / name, auto_map=values, **({} if name == "config.json" else {"tokenizer_class": "Evil"})
    )
    with pytest.raises(SystemExit):
        main(["probe", "--model", "model", *QUICK])
    assert "Traceback" not in capfd.readouterr().err
    assert not canary.exists()


def test_a_pickle_in_a_parquet_file(here, canary, capfd):
    """Old releases of Arrow unpickled columns whose metadata named an extension type."""
    hidden = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Hostile(canary)),
    }
    columns = [pa.field("source", pa.string(), metadata=hidden), pa.field("target", pa.string())]
    table = pa.table([["a", "b"], ["c", "d"]], schema=pa.schema(columns))
    parquet.write_table(table, here / "rows.parquet")
    (here / "task.toml").write_text(
        'template = "{source}"\ntarget = "target"\ntrain = "rows.parquet"\nvalidation = "rows.parquet"'
    )
    with pytest.raises(SystemExit):
        main(["tasks", "show", "task.toml"])
    capfd.readouterr()
    assert not canary.exists()


def test_the_libraries_are_those_that_refuse():
    """torch before 2.6 ran pickles despite weights_only (CVE-2025-32434); pyarrow before 14.0.1 ran pickles in
    Parquet files (CVE-2023-47248)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", each).groups() for each in project["dependencies"])
    assert tuple(map(int, least["torch"].split("."))) >= (2, 6)
    assert tuple(map(int, least["pyarrow"].split("."))) >= (15,)


# Our own code

MODULES = {"cPickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve"}
CALLS = re.compile(
    r"(builtins\.)?(eval|exec|compile|__import__)|os\.(system|popen|exec\w+|spawn\w+|posix_spawn\w*)"
    r"|pty\.spawn|subprocess\.(getoutput|getstatusoutput)|yaml\.(unsafe_|full_)?load(_all)?"
    r"|(pandas\.)?read_pickle|torch\.(jit\.load|hub\.load\w*)|shutil\.unpack_archive|.*\.extract(all)?"
    r"|runpy\.\w+"
)
SAFE = {"allow_pickle": False, "shell": False, "trust_remote_code": False, "weights_only": True}
"""Options that may only have this value, as a literal."""
REQUIRED = {"torch.load": "weights_only", "numpy.load": "allow_pickle"}
"""Calls that must give this option."""


def dangers(source):
    """Return what could run code from a file in the source of a module, as `line: name`."""
    tree = ast.parse(source)
    names = aliases(tree)
    return [f"{node.lineno}: {each}" for node in ast.walk(tree) for each in found(node, names)]


def aliases(tree):
    """Return the full names of the names that a module imports."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom):
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return known


def found(node, names):
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names if each.name.split(".")[0] in MODULES)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
        # torch.load raises UnpicklingError; importing this exception is harmless.
        yield from (f"{node.module}.{e.name}" for e in node.names if e.name != "UnpicklingError")
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                yield from unsafe(key.value, value)
    elif isinstance(node, ast.Call):
        called = dotted(node.func, names)
        if CALLS.fullmatch(called):
            yield called
        for keyword in node.keywords:
            yield from unsafe(keyword.arg, keyword.value)
        if called in REQUIRED and REQUIRED[called] not in [keyword.arg for keyword in node.keywords]:
            yield f"{called} without {REQUIRED[called]}"


def unsafe(option, value):
    if option in SAFE and not (isinstance(value, ast.Constant) and value.value is SAFE[option]):
        yield option


def dotted(node, names):
    """Return the full name of a called function: `numpy.load` for `np.load`; `.load` for an expression."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", sorted((ROOT / "rankprobe").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))  # fmt: skip
def test_no_module_runs_what_it_reads(path):
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "eval(text)", "exec(text)", "import builtins\nbuiltins.exec(text)", "compile(text, '', 'exec')",
        "__import__(name)", "import pickle", "import pickle as p", "from pickle import loads",
        "from pickle import UnpicklingError, loads", "import dill", "import joblib", "import marshal",
        "import os\nos.system(text)", "from os import system as run\nrun(text)", "import os\nos.popen(text)",
        "import os\nos.execv(text, [])", "import subprocess\nsubprocess.run(text, shell=True)",
        "import subprocess\nsubprocess.run(text, shell=chosen)", "import subprocess\nsubprocess.getoutput(text)",
        "options = {'shell': True}", "import torch\ntorch.load(path)",
        "import torch as t\nt.load(path, weights_only=False)", "from torch import load as read\nread(path)",
        "import torch\ntorch.load(path, **options)", "import torch\ntorch.jit.load(path)",
        "import numpy as np\nnp.load(path)", "import numpy\nnumpy.load(path, allow_pickle=True)",
        "from numpy import load\nload(path, allow_pickle=True)", "read(path, allow_pickle=True)",
        "import pandas\npandas.read_pickle(path)", "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "options = {'trust_remote_code': True}", "options = dict(trust_remote_code=trusted)",
        "import yaml\nyaml.load(text)", "import yaml\nyaml.unsafe_load(text)",
        "import tarfile\ntarfile.open(path).extractall()", "import shutil\nshutil.unpack_archive(path)",
    ],
)  # fmt: skip
def test_the_checker_finds(bad):
    assert dangers(bad)


def test_the_checker_lets_pass():
    good = """
from pickle import UnpicklingError
import numpy as np, os, subprocess, torch, yaml
from safetensors.torch import load
model.eval()
load(raw)
np.load(path, allow_pickle=False)
torch.load(path, map_location="cpu", weights_only=True)
subprocess.run(["git", "status"], shell=False)
AutoModel.from_pretrained(name, trust_remote_code=False)
yaml.safe_load(text)
"""
    assert dangers(good) == []


def test_the_page_names_tests_that_are_here():
    named = re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) > 15
    assert [name for name in named if name not in globals()] == []


# Names and paths


@pytest.mark.parametrize("name", ["../out", "a/b", "a/../../out", "..", ".", ".hidden", "/tmp/out-of-here"])
def test_a_run_name_stays_in_its_folder(name, here, capfd):
    with pytest.raises(RankprobeError, match="is no plain folder name"):
        rp.train(quick(), runs_dir=here / "runs", name=name)
    assert "is no plain folder name" in refused(capfd, "probe", "--name", name, *QUICK)
    assert not files(here.parent)


def test_a_run_has_a_name(here):
    with pytest.raises(RankprobeError, match="is no plain folder name"):
        rp.train(quick(), runs_dir=here / "runs", name="")


def test_hostile_names_in_a_manifest_are_text(copied, here, canary, capfd):
    """In every place where a reader might treat them as a path, a command or markup."""
    bad = f"../../../out $(touch {canary}) `touch {canary}` \\write18{{touch {canary}}} [link]"
    manifest = copied.manifest
    config = manifest["config"] | {"targets": bad, "model": bad}
    copied.update(
        {
            "config": config,
            "backbone": manifest["backbone"] | {"label": bad},
            "data": manifest["data"] | {"label": bad, "source": bad, "origin": {"train": bad}},
            "notes": [bad],
            "cohort": ["../../../out", bad],
            "name": bad,
        }
    )
    before = files(here.parent)
    for command in (
        ["runs"],
        ["plot", "fig3", "--output", "drawn"],
        ["analyze", "one", "--output", "drawn/table.csv", "--plot", "drawn/spectra.png"],
        ["atlas", "runs/one", "--output", "drawn"],
        ["export", "one", "drawn/adapter"],
        ["table", "table2", "--format", "latex"],
        ["table", "table1"],
        ["report", "one", "--output", "drawn/report.html"],
        ["resume", "one"],
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert "Traceback" not in capfd.readouterr().err
    new = files(here.parent).keys() - before.keys()
    assert {path.relative_to(here).parts[0] for path in new} == {"drawn"}
    assert len(list((here / "drawn").iterdir())) >= 6
    assert load_runs(here / "runs").runs["model_label"].tolist() == [bad]


def test_a_hostile_plan_is_shown_and_not_followed(copied, here, canary, capfd):
    plan = {
        "name": "../../out",
        "scale": "../../out",
        "title": "t",
        "draws": ["../../out", "/out", "fig3", "table1"],
        "command": f"touch {canary}; $(touch {canary})",
        "run_ids": ["../../out", f"; touch {canary}", "one"],
    }
    (here / "runs" / "plans").mkdir()
    (here / "runs" / "plans" / "p.json").write_text(json.dumps(plan))
    with pytest.raises(SystemExit) as stop:
        main(["plot", "--output", "drawn"])
    assert f"runs are missing; train them with: touch {canary}" in capfd.readouterr().err
    assert not stop.value.code
    assert {path.name for path in (here / "drawn").iterdir()} >= {"fig3.png", "fig3.json"}
    for command in (
        ["table", "table1"],
        ["plot", "../../out"],
        ["report", "runs", "--output", "drawn/r.html"],
    ):
        with pytest.raises(SystemExit):
            main(command)
    assert not canary.exists()
    assert not list(here.parent.glob("*out*"))


def test_a_task_file_may_name_any_rows_and_nothing_else(here, tmp_path, capfd):
    """Paths outside its folder are allowed, because rows are often elsewhere. The content is rows or an error."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"source": "a", "target": "b"}\n' * 2)
    for place in ("../rows.jsonl", str(rows)):
        (here / "t.toml").write_text(
            f'template = "{{source}}"\ntarget = "target"\ntrain = "{place}"\nvalidation = "{place}"'
        )
        with pytest.raises(SystemExit) as stop:
            main(["tasks", "show", "t.toml"])
        assert not stop.value.code
    (here / "secret.csv").write_text("user,password\nme,sesame\n")
    for place, message in (
        ("/etc/passwd", "/etc/passwd: unknown format; expected one of .jsonl, .csv, .parquet"),
        ("/dev/zero", "no such file"),
        ("secret.csv", "no field 'source'"),
    ):
        (here / "t.toml").write_text(
            f'template = "{{source}}"\ntarget = "target"\ntrain = "{place}"\nvalidation = "{place}"'
        )
        output = refused(capfd, "tasks", "show", "t.toml")
        assert message in output
        assert "root" not in output
        assert "sesame" not in output


@pytest.mark.parametrize("template", ["{source.__class__}", "{source[0]}", "{0.__init__}"])
def test_a_template_names_fields_alone(template, here, capfd):
    (here / "t.toml").write_text(
        f'template = "{template}"\ntarget = "target"\ntrain = "a.csv"\nvalidation = "a.csv"'
    )
    assert re.search("has no fields|is not a valid template", refused(capfd, "tasks", "show", "t.toml"))


@pytest.mark.parametrize(
    "lines",
    [
        "doc_to_text: \"{{cycler.__init__.__globals__.os.mkdir('ran')}}\"",
        "doc_to_text: \"{{source}}{% for x in range(9) %}{% include 'a.csv' %}{% endfor %}\"",
        "doc_to_text: !function ran.text",
        "doc_to_text: '{{source}}'\nprocess_docs: !function ran.docs",
        "doc_to_text: '{{source}}'\ntask: !!python/object/apply:os.mkdir [ran]",
        "doc_to_text: '{{source}}'\ninclude: ran.yaml",
    ],
)
def test_a_task_file_of_lm_eval_runs_nothing(lines, here, capfd):
    (here / "ran.py").write_text("import os\nos.mkdir('ran')\n")
    (here / "t.yaml").write_text(f"doc_to_target: target\n{lines}\n")
    assert "t.yaml" in refused(capfd, "tasks", "show", "t.yaml")
    assert not (here / "ran").exists()


def test_a_spec_cannot_choose_where_its_plan_is_written(here, capfd):
    (here / "spec.toml").write_text(
        'title = "t"\n[settings]\nmodel = "random:tiny"\nprompt_length = 4\nsteps = 1\n[scale."/../../../out"]\nseed = 1\n'
    )
    (here / "runs" / "plans" / "spec.").mkdir(parents=True)  # as an archive from a stranger might contain it
    with pytest.raises(SystemExit):
        main(["sweep", "spec.toml"])
    capfd.readouterr()
    assert not list(here.parent.rglob("out*"))


def test_a_checkpoint_cannot_cut_other_files(copied, here, capfd):
    """A checkpoint contains the length of each log; a resume truncates the logs to it."""
    mine = here / "mine.jsonl"
    mine.write_text("precious\n")
    copied.update({"status": "interrupted"})
    folder = copied.path / CHECKPOINTS
    step = last_checkpoint(folder)
    tensors, facts = load_checkpoint(folder, step)
    logs = facts["logs"] | {"../../mine": 0, str(mine.with_suffix("")): 0}
    checkpoint_path(folder, step).unlink()
    save_checkpoint(folder, step, tensors, facts | {"logs": logs})
    with pytest.raises(SystemExit):
        main(["resume", "one"])
    capfd.readouterr()
    assert mine.read_text() == "precious\n"


def test_writing_follows_no_link(here):
    """A run folder from a stranger may contain one, under the temporary name of a file."""
    mine = here / "mine"
    mine.write_text("precious")
    for name in (".manifest.json.partial", ".manifest.json.0123456789ab.partial"):
        (here / name).symlink_to(mine)
    write_atomically(here / "manifest.json", b"{}")
    assert mine.read_text() == "precious"
    assert (here / "manifest.json").read_bytes() == b"{}"


@pytest.mark.parametrize("log", ["steps", "spectra", "evals"])
def test_a_log_that_is_a_link_is_not_cut(log, copied, here, capfd):
    mine = here / "mine.jsonl"
    mine.write_text("precious\n" * 1000)
    copied.update({"status": "interrupted"})
    (copied.path / f"{log}.jsonl").symlink_to(mine)
    (copied.path / f"{log}.parquet").unlink(missing_ok=True)
    with pytest.raises(SystemExit) as stop:
        main(["resume", "one"])
    assert stop.value.code
    assert "Traceback" not in capfd.readouterr().err
    assert mine.read_text() == "precious\n" * 1000


def test_a_run_name_is_no_pattern(here):
    """The remains of a killed process are removed, and nothing else."""
    mine = here / "runs" / ".git.d"
    mine.mkdir(parents=True)
    (mine / "precious").write_text("")
    rp.train(quick(steps=1), runs_dir=here / "runs", name="*")
    assert (mine / "precious").exists()


def test_the_commands_of_a_git_folder_are_not_run(here, canary):
    """A manifest contains the commit of the working directory, which may come from a stranger."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=e"]
    (here / "file").write_text("")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "m"]):
        subprocess.run([*git, *words], check=True, cwd=here)
    subprocess.run([*git, "config", "core.fsmonitor", f"touch {canary}; false"], check=True, cwd=here)
    assert re.fullmatch("[0-9a-f]{40}", git_commit() or "")
    assert not canary.exists()


# Tokens

ADDRESS = f"https://user:{TOKEN}@huggingface.co/someone/small"


def secrets_in(folder, *texts):
    """Return the files, file names and texts that contain a token or password."""
    kept = [path for path, content in files(folder).items() if any(s.encode() in content for s in (TOKEN, PASSWORD))]  # fmt: skip
    names = [path for path in Path(folder).rglob("*") if TOKEN in path.name or PASSWORD in path.name]
    return kept + names + [text for text in texts if TOKEN in text or PASSWORD in text]


def test_the_search_for_secrets_finds(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "binary").write_bytes(b"\0" + TOKEN.encode() + b"\0")
    (tmp_path / f"{PASSWORD}.json").write_text("")
    assert len(secrets_in(tmp_path, f"x{PASSWORD}x", "clean")) == 3


def test_no_token_is_written_down(here, monkeypatch, capfd):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, TOKEN)
    from huggingface_hub import get_token

    assert get_token() == TOKEN  # the client of the hub would send it
    run = rp.train(quick(steps=2), runs_dir="runs", name="one")
    (here / "spec.toml").write_text(
        'title = "t"\n[settings]\nmodel = "random:tiny"\nprompt_length = 4\nsteps = 1\nseed = [1, 2]\n'
    )
    commands = {
        ("sweep", "spec.toml", "--set", "batch_size=4"): 0,
        ("probe", "--model", "someone/private", *QUICK): 2,
        ("probe", "--model", "random:tiny", "--factor-scale", "1e30", "--name", "failed", *QUICK): 1,
        ("env",): 0,
        ("runs",): 0,
        ("export", "one", "adapter"): 0,
        ("plot", "fig3"): 0,
    }
    for command, code in commands.items():
        with pytest.raises(SystemExit) as stop:
            main(list(command))
        assert (stop.value.code or 0) == code, command
    with pytest.raises(RankprobeError):
        main(["probe", "--model", "someone/private", *QUICK, "--debug"])
    output = capfd.readouterr()
    assert run.status == "finished"
    assert len(files(here)) > 20
    assert secrets_in(here, output.out, output.err) == []


@pytest.mark.parametrize(
    "command",
    [
        ["probe", "--model", ADDRESS, *QUICK],
        ["probe", "--model", f"user:{TOKEN}@huggingface.co/small", *QUICK],
        ["probe", "--model", "random:tiny", "--tokenizer", ADDRESS, *QUICK],
        ["tasks", "show", "cb", "--tokenizer", ADDRESS],
        ["sweep", "spec.toml", "--set", f"model={ADDRESS}"],
        ["sweep", "spec.toml", "--set", f"tokenizer={ADDRESS}"],
    ],
    ids=lambda command: " ".join(command[:2] + command[-2:-1]),
)
def test_a_token_in_an_address_is_not_repeated(command, here, capfd):
    (here / "spec.toml").write_text('title = "t"\n[settings]\nmodel = "random:tiny"\nsteps = 1\n')
    with pytest.raises(SystemExit) as stop:
        main(command)
    output = capfd.readouterr()
    assert stop.value.code == 2
    assert "set the token as HF_TOKEN" in output.err
    assert secrets_in(here, output.out, output.err) == []


class Echo(BaseHTTPRequestHandler):
    """A hub whose error message repeats the credentials it was sent."""

    def do_GET(self):
        credentials = self.headers.get("Authorization", "")
        self.server.received.append(credentials)
        self.send_response(403)
        self.send_header("X-Error-Message", f"no entry for {credentials} nor {TOKEN}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def echo():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads, server.received = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_token_that_the_hub_repeats(echo, here):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": f"http://user:{PASSWORD}@127.0.0.1:{echo.server_port}",
        "HF_HOME": str(here.parent / "cache"),
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    code = "from rankprobe.cli import main; main()"
    command = [sys.executable, "-c", code, "probe", "--model", "someone/private", *QUICK]
    done = subprocess.run(command, env=environment, cwd=here, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "the hub cannot be reached (" in done.stderr
    assert any(TOKEN in sent or sent for sent in echo.received)  # the hub was asked, with credentials
    assert secrets_in(here, done.stdout, done.stderr) == []


@pytest.mark.parametrize(
    "place",
    ["hub:", "hub:me", "hub:me/a/b", "hub:../x", "hub:me/..", "hub:me/p@", "hub:me/p@../../x", "hub:me/p@/etc",
     "hub:me/p@a/../../b", "hub:me/p@a//b", "hub:me/p@a\\b", "hub:me/p@a b", "hub:me/p:", "hub:me/ p", "hub:me/p\n",
     "hub:https://hub.co/me/p"],
)  # fmt: skip
def test_a_name_on_the_hub_stays_in_the_cache(place, here):
    with pytest.raises(RankprobeError, match="names no repository; expected hub:ORG/NAME"):
        hub_place(place)
    with pytest.raises(RankprobeError, match="names no repository"):
        quick(method="vanilla", init="saved", init_from=place)
    assert not list(here.iterdir())


@pytest.mark.parametrize("write", WAYS)
def test_a_pickle_on_the_hub_is_not_fetched(write, here, canary, capfd):
    config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": 3,
        "auto_mapping": {"parent_library": "antigravity"},
    }
    write(Hostile(canary), here / "adapter_model.bin")
    with serving() as hub, client_of(hub, here.parent / "cache"):
        content = {"adapter_config.json": json.dumps(config).encode()}
        hub.put("me/p", content | {"adapter_model.bin": (here / "adapter_model.bin").read_bytes()})
        assert "'hub:me/p' has no adapter_model.safetensors" in refused(capfd, "analyze", "hub:me/p")
        assert not [path for _, path in hub.requests if path.endswith(".bin")]
        hub.put("me/q", content | {"adapter_model.safetensors": (here / "adapter_model.bin").read_bytes()})
        assert "adapter_model.safetensors' cannot be read (" in refused(capfd, "analyze", "hub:me/q")
    assert not canary.exists()


def test_what_is_pushed_has_no_token_and_no_path(folder, here, monkeypatch):
    """Here the model, the tokenizer and the rows are folders of this machine."""
    for split in ("train", "val"):
        (here / "CB").mkdir(exist_ok=True)
        (here / "CB" / f"{split}.jsonl").write_bytes((BUNDLED_ROWS / "CB" / f"{split}.jsonl").read_bytes())
    settings = {"model": str(folder), "tokenizer": str(folder), "data": str(here), "steps": 2}
    rp.train(quick(**settings), runs_dir="runs", name="one")
    with serving() as hub, client_of(hub, here.parent / "cache", TOKEN):
        hub.token = TOKEN
        with pytest.raises(SystemExit) as stop:
            main(["export", "one", "adapter", "--push", "me/p"])
    assert not stop.value.code
    pushed = hub.repositories["me/p"].files("main")[1]
    assert len(pushed) == 3
    for name, content in pushed.items():
        for secret in (TOKEN, str(here), str(here.parent), socket.gethostname()):
            assert secret.encode() not in content, name
    assert json.loads(pushed["adapter_config.json"])["base_model_name_or_path"] == folder.name


def test_errors_of_clients_lose_their_secrets():
    error = OSError(f"403 for url 'https://user:{PASSWORD}@host/a@b' with {TOKEN}.\nmore")
    assert first_line(error) == "403 for url 'https://***@host/a@b' with ***"
    harmless = "hf_hub_download of 'someone/hf_model' from https://huggingface.co/a@b failed"
    assert first_line(OSError(harmless)) == harmless
