"""A folder of wrong files, one for each kind of error, with one correct run and one correct file per format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from conftest import quick
from safetensors.torch import save_file

import rankprobe as rp
from rankprobe.bundled import FOLDER

ROW = {"premise": "It rained.", "hypothesis": "it was wet", "label": "neutral"}
LINE = json.dumps(ROW).encode() + b"\n"
P = np.random.default_rng(0).standard_normal((5, 128)).astype(np.float32)
DEEP = 50_000
"""Depth of nested brackets: deeper than any reader goes."""

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{7:064d}\nsize 15236903\n"
"""The content of a file in a clone without Git LFS."""

YAML = """task: own
dataset_path: json
dataset_kwargs: {data_files: {train: train.csv, validation: train.csv}}
output_type: multiple_choice
doc_to_text: "t: {{text}}"
doc_to_target: stars
doc_to_choice: [bad, good, better]
"""
"""A task file of lm-eval."""
TASK = 'template = "t: {text}"\ntarget = "stars"\ntrain = "train.csv"\nvalidation = "train.csv"\n'


def make(here: Path) -> None:
    """Write all files into `here`."""
    _files(here)
    _configs(here / "config")
    _specs(here / "spec")
    _tasks(here / "task")
    _rows(here)
    _prompts(here / "prompt")
    _adapters(here / "adapter")
    _models(here)
    _runs(here)


def _write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _files(here: Path) -> None:
    (here / "runs" / "taken").mkdir(parents=True)
    (here / "a_folder").mkdir()
    (here / "taken.toml").mkdir()
    _write(
        here,
        {
            "a_file": "",
            "taken.csv": "",
            "taken.png": "",
            "in/nothing": "",
            "in/blank": "one\n\ntwo\n",
            "in/deep": '{"premise": ' + "[" * DEEP + "\n",
            "in/torn": '{"premise": "a", \n',
            "in/field": '{"premise": "a"}\n',
            "in/number": '{"premise": 1, "hypothesis": "b"}\n',
            "in/half": '{"premise": "\\ud800", "hypothesis": "b"}\n',
            "in/text": "It rained.\n",
            "in/bytes": b"\xff\xfe\n",
            "in/lfs": LFS,
        },
    )


def _configs(folder: Path) -> None:
    _write(
        folder,
        {
            "syntax.toml": "seed = = 3",
            "key.toml": "learning_rat = 3\n",
            "method.toml": 'method = "vanilla"\nbottleneck = 3\n',
            "kind.toml": 'seed = "three"\n',
            "list.toml": "epochs = [1, 2]\n",
            "section.toml": "training = 3\n",
            "table.toml": "[training]\nlearning_rate = 3\n",
            "renamed.toml": 'form = "authors"\n',
            "name.toml": "method = 3\n",
            "nan.toml": "learning_rate = nan\n",
            "twice.toml": "seed = 1\nseed = 2\n",
            "tables.toml": "[[task]]\nname = 'cb'\n",
            "latin.toml": "# \xe9\nseed = 1\n".encode("latin-1"),
            "nul.toml": b"seed = 1\0\n",
            "utf16.toml": "seed = 1\n".encode("utf-16"),
            "binary.toml": bytes(range(256)),
            "deep.toml": "seed = " + "[" * DEEP,
            "digits.toml": "seed = " + "9" * 5000,
            "lfs.toml": LFS,
        },
    )


def _specs(folder: Path) -> None:
    _write(
        folder,
        {
            "empty.toml": "",
            "key.toml": "title = 'x'\ngrids = []\n",
            "kind.toml": "title = 3\n",
            "grid.toml": "title = 'x'\n[grid]\nseed = 1\n",
            "axis.toml": "title = 'x'\n[settings]\nseed = []\n",
            "value.toml": "title = 'x'\n[settings]\nsteps = [1, 0]\n",
            "setting.toml": "title = 'x'\n[settings]\nsede = 1\n",
            "scales.toml": "title = 'x'\n[scale.a]\n[scale.b]\n",
            "task.toml": "title = 'x'\n[settings]\ntask = 'cbb'\n",
            "latin.toml": "title = '\xe9'\n".encode("latin-1"),
            "deep.toml": "title = " + "[" * DEEP,
            "lfs.toml": LFS,
            "right.toml": "title = 'x'\n[settings]\nsteps = 2\n",
        },
    )


def _tasks(folder: Path) -> None:
    labels = '[labels]\n1 = "bad"\n2 = "good"\n'
    _write(
        folder,
        {
            "empty.toml": "",
            "syntax.toml": "template",
            "kind.toml": TASK.replace('"stars"', "3") + labels,
            "key.toml": TASK + "label = 1\n",
            "fields.toml": TASK.replace("{text}", "text"),
            "brace.toml": TASK.replace("{text}", "{text"),
            "spec.toml": TASK.replace("{text}", "{text:d}"),
            "long.toml": TASK + 'long_field = "txt"\n',
            "metric.toml": TASK + 'metrics = ["acuracy"]\n' + labels,
            "one.toml": TASK + '[labels]\n1 = "bad"\n',
            "gone.toml": TASK.replace("train.csv", "gone.csv"),
            "other.toml": TASK.replace("train.csv", "train.xlsx"),
            "label.toml": TASK + '[labels]\n3 = "bad"\n4 = "good"\n',
            "latin.toml": "# \xe9".encode("latin-1"),
            "lfs.toml": LFS,
            "list.yaml": "[a]",
            "syntax.yaml": "a: [",
            "latin.yaml": "# \xe9".encode("latin-1"),
            "deep.yaml": "a: " + "[" * DEEP,
            "lfs.yaml": LFS,
            "bomb.yaml": "a: &a [x]\nb: [*a, *a]\n",
            "filter.yaml": YAML.replace("{{text}}", "{{text|upper}}"),
            "process.yaml": YAML + "process_docs: !function utils.docs\n",
            "beside.yaml": YAML.replace("train.csv", "nothing.csv").replace("task: own\n", ""),
            "train.csv": "text,stars\nfine,2\n",
            "train.xlsx": "",
            "half/train.jsonl": '{"source": "a", "target": "b"}\n',
            "blank/train.jsonl": '{"source": "a", "target": ""}\n',
            "blank/val.jsonl": '{"source": "a", "target": ""}\n',
        },
    )


def _rows(here: Path) -> None:
    """Folders with rows of CB; where the format allows, the first row is correct."""
    changed = {
        "field": {k: v for k, v in ROW.items() if k != "premise"},
        "label": {**ROW, "label": "perhaps"},
        "float": {**ROW, "label": 0.5},
        "number": {**ROW, "premise": 3},
        "none": {**ROW, "hypothesis": None},
        "half": {**ROW, "premise": "\ud800"},
        "secret": {**ROW, "label": -1},
    }
    lines = {
        **{name: json.dumps(row).encode() for name, row in changed.items()},
        "newline": b'{"pre\\nmise": "a"}',
        "torn": LINE[:20],
        "list": b"[1, 2]",
        "scalar": b"3",
        "latin": '{"premise": "\xe9"}'.encode("latin-1"),
        "binary": bytes(range(256)),
        "deep": b"[" * DEEP,
        "digits": b'{"label": ' + b"9" * 5000 + b"}",
    }
    for suffix in (".jsonl", ".csv", ".parquet"):
        _write(here / "lfs", {f"{suffix[1:]}/CB/train{suffix}": LFS, f"{suffix[1:]}/CB/val.jsonl": LINE})
    _write(here / "jsonl", {f"{name}/CB/train.jsonl": LINE + line + b"\n" for name, line in lines.items()})
    _write(here / "jsonl", {f"{name}/CB/val.jsonl": LINE for name in lines})
    _write(here / "jsonl", {"empty/CB/train.jsonl": "", "blank/CB/train.jsonl": "\n\n"})
    (here / "jsonl/directory/CB/train.jsonl").mkdir(parents=True)

    header, row = "premise,hypothesis,label\n", "It rained.,it was wet,neutral\n"
    tables = {
        "empty": "",
        "header": header,
        "column": "premise,label\na,neutral\n",
        "short": f"{header}{row}a,b\n",
        "long": f"{header}{row}a,b,neutral,c\n",
        "label": f"{header}{row}a,b,maybe\n",
        "quote": f'{header}{row}"a,b,neutral\n',
        "nul": f"{header}{row}a\0,b,neutral\n",
        "latin": f"{header}{row}\xe9,b,neutral\n".encode("latin-1"),
        "separator": f"{header}{row}".replace(",", ":"),
        "mixed": f"{header.replace(',', ';')}{row}",
        "named": f"sep=|\n{header}{row}",
        "doubled": f"premise,{header}a,{row}",
        "utf16": f"{header}{row}".encode("utf-16-le"),
    }
    _write(here / "csv", {f"{name}/CB/train.csv": text for name, text in tables.items()})
    _write(here / "csv", {f"{name}/CB/val.jsonl": LINE for name in tables})
    _write(
        here / "json", {"open/CB/train.json": b"[" + LINE, "columns/CB/train.json": '{"premise": {"0": "a"}}'}
    )
    _write(here / "json", {f"{name}/CB/val.jsonl": LINE for name in ("open", "columns")})
    _write(here / "layout", {f"several/CB/train{suffix}": LINE for suffix in (".jsonl", ".json")})
    _write(here / "layout", {f"parts/cb/train-{part}-of-00003.jsonl": LINE for part in ("00000", "00002")})
    _write(here / "layout", {"arrow/train/data-00000-of-00001.arrow": b"no Arrow"})

    folder = here / "parquet"
    for name in ("right", "columns", "label", "empty"):
        (folder / name / "CB").mkdir(parents=True)
    rows = pd.DataFrame([ROW] * 100)
    rows.to_parquet(folder / "right/CB/train.parquet")
    rows.drop(columns="premise").to_parquet(folder / "columns/CB/train.parquet")
    rows.assign(label=7).to_parquet(folder / "label/CB/train.parquet")
    rows[:0].to_parquet(folder / "empty/CB/train.parquet")
    raw = (folder / "right/CB/train.parquet").read_bytes()
    _write(
        folder,
        {
            "truncated/CB/train.parquet": raw[: len(raw) // 2],
            "flipped/CB/train.parquet": bytes([*raw[:4], *(byte ^ 0xFF for byte in raw[4:200]), *raw[200:]]),
            "text/CB/train.parquet": "premise,hypothesis,label\n",
            "nothing/CB/train.parquet": "",
        },
    )


def _prompts(folder: Path) -> None:
    folder.mkdir()
    arrays = {
        "right": P,
        "vector": P[0],
        "cube": np.stack([P, P]),
        "complex": P.astype(complex),
        "nan": np.where(P > 2, np.nan, P),
        "infinite": np.where(P > 2, np.inf, P),
        "norows": P[:0],
        "text": np.array([["a", "b"]]),
        "wide": np.ones((3, 4), dtype=np.float32),
        "huge": np.full((3, 4), 1e300),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    raw = (folder / "right.npy").read_bytes()
    _write(
        folder,
        {"torn.npy": raw[:100], "nothing.npy": "", "words.npy": "1.0 2.0\n", "zip.npy": b"PK\x03\x04torn"},
    )
    _write(folder, {"nul.npy": raw.replace(b"}", b"\0", 1), "open.npy": raw.replace(b"}", b" ", 1)})

    save_file({"prompt": torch.from_numpy(P)}, folder / "right.safetensors")
    raw = (folder / "right.safetensors").read_bytes()
    save_file({}, folder / "none.safetensors")
    save_file({"prompt": torch.ones(3)}, folder / "vector.safetensors")
    save_file({"prompt": torch.ones(3, 4, dtype=torch.bool)}, folder / "bool.safetensors")
    save_file({"a": torch.ones(3, 4), "b": torch.ones(3, 4)}, folder / "two.safetensors")
    weight = torch.from_numpy(P)
    torch.save({"weight": weight, "bias": torch.ones(3)}, folder / "zip")
    torch.save(weight, folder / "legacy", _use_new_zipfile_serialization=False)
    np.savez_compressed(folder / "right.npz", prompt=P)
    for name, saved in {
        "two.pt": {"a": weight, "b": weight},
        "stack.pt": torch.stack([weight, weight]),
        "vector.pt": {"bias": torch.ones(3)},
        "number.pt": 3,
        "module.pt": torch.nn.Linear(3, 4),
        "bool.pt": weight > 0,
        "complex.pt": weight.to(torch.complex64),
        "nan.pt": weight / 0,
        "sparse.pt": weight.to_sparse(),
    }.items():
        torch.save(saved, folder / name)
    torch.save(weight, folder / "protocol.pt", pickle_protocol=4)
    _write(folder, {"torn.pt": (folder / "zip").read_bytes()[:400], "nothing.pt": "", "lfs": LFS})
    _write(
        folder,
        {
            "torn.safetensors": raw[:-40],
            "header.safetensors": (2**60).to_bytes(8, "little") + raw[8:],
            "nothing.safetensors": "",
            "shape.safetensors": raw.replace(b"[5,128]", b"[7,128]"),
            "dtype.safetensors": raw.replace(b'"F32"', b'"F33"'),
            "text.txt": "a prompt",
        },
    )


def _adapters(folder: Path) -> None:
    right = {"prompt_embeddings": torch.from_numpy(P)}
    for name, config, weights in (
        ("kind", {"peft_type": "LORA"}, right),
        ("prefix", {"peft_type": "PREFIX_TUNING"}, right),
        ("width", {"peft_type": "P_TUNING", "token_dim": 64}, right),
        ("many/one", {}, right),
        ("many/two", {}, right),
        ("kindless", {"peft_type": None}, right),
        ("sizeless", {"num_virtual_tokens": "5"}, right),
        ("negative", {"num_virtual_tokens": -5}, right),
        ("rows", {"num_virtual_tokens": 4}, right),
        ("weightless", {}, None),
        ("key", {}, {"other": torch.ones(5, 4)}),
        ("vector", {}, {"prompt_embeddings": torch.ones(5)}),
        ("scalar", {}, {"prompt_embeddings": torch.tensor(1.0)}),
        ("multitask", {"peft_type": "MULTITASK_PROMPT_TUNING"}, right),
        (
            "factors",
            {"peft_type": "MULTITASK_PROMPT_TUNING"},
            {**right, "prefix_task_cols": torch.ones(2, 3, 1), "prefix_task_rows": torch.ones(2, 2, 128)},
        ),
    ):
        adapter(folder / name, {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, **config}, weights)
    _write(
        folder,
        {
            "syntax/adapter_config.json": "{",
            "list/adapter_config.json": "[]",
            "latin/adapter_config.json": b"\xff",
            "deep/adapter_config.json": "[" * DEEP,
            "configless/adapter_model.safetensors": "",
            "bin/adapter_config.json": json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5}),
            "bin/adapter_model.bin": "torn",
            "short/adapter_config.json": json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5}),
            "short/adapter_model.bin": "M",
            "lfs/adapter_config.json": json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5}),
            "lfs/adapter_model.safetensors": LFS,
            "lfsconfig/adapter_config.json": LFS,
            "pickle/adapter_config.json": json.dumps({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5}),
        },
    )
    torch.save({"prompt_embeddings": Path("x")}, folder / "pickle/adapter_model.bin")


def adapter(folder: Path, config: Mapping[str, Any], weights: dict[str, torch.Tensor] | None) -> None:
    """Write a PEFT adapter with this config, and these weights if any."""
    _write(folder, {"adapter_config.json": json.dumps(config)})
    if weights:
        save_file(weights, folder / "adapter_model.safetensors")


def _models(here: Path) -> None:
    """Folders of broken tokenizers and models, made from the bundled ones."""
    tiny = FOLDER / "tiny"
    config = (tiny / "config.json").read_text()
    settings = (tiny / "tokenizer_config.json").read_text()
    _write(
        here / "tokenizer",
        {
            "empty/readme": "",
            "syntax/tokenizer.json": "{",
            "syntax/tokenizer_config.json": settings,
            "shape/tokenizer.json": "{}",
            "shape/tokenizer_config.json": settings,
            "list/tokenizer.json": (tiny / "tokenizer.json").read_bytes(),
            "list/tokenizer_config.json": "[]",
            "absent/tokenizer_config.json": settings,
            "vocabulary/tokenizer.json": '{"added_tokens": [], "model": {"type": "Unigram", "vocab": 3}}',
            "vocabulary/tokenizer_config.json": settings,
            "lfs/tokenizer.json": LFS,
            "lfs/tokenizer_config.json": settings,
            "lfstext/tokenizer.json": (tiny / "tokenizer.json").read_bytes(),
            "lfstext/tokenizer_config.json": settings,
            "lfstext/vocab.txt": LFS,
        },
    )
    _write(
        here / "model",
        {
            "empty/readme": "",
            "syntax/config.json": "{",
            "kind/config.json": '{"model_type": "t6"}',
            "list/config.json": "[]",
            "weightless/config.json": config,
            "torn/config.json": config,
            "torn/model.safetensors": (tiny / "model.safetensors").read_bytes()[:1000],
            "lfs/config.json": config,
            "lfs/model.safetensors": LFS,
            "lfsbin/config.json": config,
            "lfsbin/pytorch_model.bin": LFS,
            "lfsconfig/config.json": LFS,
            "odd/config.json": json.dumps({**json.loads(config), "d_model": "wide"}),
            "bits/config.json": json.dumps(
                {
                    **json.loads(config),
                    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
                }
            ),
            "empty.gguf": "",
            "torn.gguf": b"GGUF\x03\x00\x00\x00" + b"\xff" * 64,
            "lfs.gguf": LFS,
            "bitsword/config.json": json.dumps({**json.loads(config), "quantization_config": "four"}),
            "startless/config.json": json.dumps({**json.loads(config), "decoder_start_token_id": None}),
            "startless/model.safetensors": (tiny / "model.safetensors").read_bytes(),
            "startless/tokenizer.json": (tiny / "tokenizer.json").read_bytes(),
            "startless/tokenizer_config.json": settings,
        },
    )


def _runs(here: Path) -> None:
    """Two correct runs, and folders of damaged runs."""
    right = rp.train(quick(steps=2, eval_every=2), runs_dir=here / "runs", name="right").path
    rp.train(quick(steps=2, eval_every=2, method="dept"), runs_dir=here / "runs", name="dept")
    manifest = json.loads((right / "manifest.json").read_text())
    manifest.pop("sha256", None)  # without a checksum, edited manifests are read as they are
    config = manifest["config"]

    def changed(**changes: Any) -> str:
        return json.dumps({**manifest, **changes})

    for name, text in {
        "syntax": "{",
        "empty": "",
        "object": "{}",
        "list": "[]",
        "null": "null",
        "number": "3",
        "latin": b"\xff",
        "deep": "[" * DEEP,
        "configless": changed(config=None),
        "dataless": json.dumps({k: v for k, v in manifest.items() if k != "data"}),
        "strange": changed(data="cb", progress=[1]),
        "readings": changed(readings=None),
        "half": changed(config={**config, "data": "\udcff"}),
        "statusless": json.dumps({k: v for k, v in manifest.items() if k != "status"}),
        "method": changed(config={k: v for k, v in config.items() if k != "prompt_length"}),
        "unknown": changed(config={**config, "method": "dptt"}, status="interrupted"),
        "key": changed(config={**config, "colour": 1}, status="interrupted"),
        "stepless": changed(),
        "gone": changed(config={**config, "data": "/gone"}, status="interrupted"),
        "task": changed(config={**config, "task": "cbb"}, status="interrupted"),
        "backbone": changed(backbone={**manifest["backbone"], "fingerprint": "0"}),
        "unfinished": changed(status="interrupted"),
        "device": changed(config={**config, "device": "cuda:99"}, status="interrupted"),
    }.items():
        _write(here / "manifest" / name / "run", {"manifest.json": text})
    (here / "manifest/folder/run/manifest.json").mkdir(parents=True)

    for name, files in {
        "prompt": {"prompt.safetensors": "torn"},
        "promptless": {"prompt.safetensors": None},
        "steps": {"steps.parquet": "torn"},
        "spectra": {"spectra.parquet": "torn"},
        "jsonl": {"steps.jsonl": b'{"step": 1}\nnot a row\n'},
        "rows": {"steps.jsonl": b"3\n"},
        "cut": {"truncation.json": "{"},
        "lfs": {"prompt.safetensors": LFS},
        "lfslog": {"spectra.parquet": LFS},
        "lfsrows": {"steps.jsonl": LFS},
        "lfsmanifest": {"manifest.json": LFS},
        "cutbest": {"truncation_best.json": "{"},
        "cutlist": {"truncation.json": "[]"},
        "cutkind": {
            "truncation.json": '{"functional_rank": [{"matrix": "P", "functional_rank": 1, "order": 3}]}'
        },
        "needed": {"taskrank.json": "{}"},
        "replicated": {"replication.json": '{"disjoint": false, "kinds": [], "verdict": ""}'},
        "lost": {"manifest.json": changed(status="interrupted"), "evals.parquet": None},
        "changed": {
            "manifest.json": changed(status="interrupted"),
            "steps.parquet": None,
            "steps.jsonl": b'{"step": 1}\n' * 9999,
        },
        "heartbeat": {"manifest.json": changed(status="interrupted"), "heartbeat.json/x": ""},
        "checkpoint": {
            "manifest.json": changed(status="interrupted"),
            **{str(path.relative_to(right)): "torn" for path in right.glob("checkpoint/*")},
        },
    }.items():
        run = here / "damaged" / name / "run"
        shutil.copytree(right, run)
        for file, content in files.items():
            if content is None:
                (run / file).unlink()
            else:
                _write(run, {file: content})
    _write(here / "plans" / "plans", {"x.plan.json": "{"})
    _write(here / "planlist" / "plans", {"x.plan.json": "[]"})
    _write(here / "planlfs" / "plans", {"x.plan.json": LFS})
