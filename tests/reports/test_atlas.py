"""The atlas finds prompts in any layout, names what it leaves out, and does not take a common start for a task."""

from __future__ import annotations

import json
import sys
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED
from safetensors.numpy import save_file

from rankprobe.cli import main
from rankprobe.errors import RankprobeError
from rankprobe.reports import atlas, load_sources, sources
from rankprobe.reports.atlas import DIRECTIONS, compare, compare_positions
from rankprobe.reports.sources import Sources, find_prompts

PROMPTS = SHARED / "prompts"


def matrix(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def listed(folder, kinds=None):
    return Sources.parse(
        {
            "kinds": kinds or {},
            "source": [
                {
                    "repository": "r",
                    "revision": "1",
                    "licence": "MIT",
                    "skip": ["*neuron*"],
                    "prompts": [
                        {"model": "special", "path": ["{task}_special/prompt*"]},
                        {"model": "none", "task": "random", "path": ["random*.npy"]},
                        {"model": "m", "path": ["m/{task}.npy", "{task}/prompt.pt"]},
                    ],
                }
            ],
        }
    )


def test_every_layout_gives_a_prompt_or_a_line(tmp_path):
    prompt = torch.from_numpy(matrix((8, 1024)))
    deep = {
        "model": {"prompt_model": {"soft.weight": prompt}},
        "optimizer": {"state": {}, "param_groups": []},
    }
    torch.save({**deep, "epoch": 3, "bias": torch.zeros(4)}, tmp_path / "nested.ckpt")
    torch.save(torch.from_numpy(matrix((100, 4096), 1)).half(), tmp_path / "wide")
    np.save(tmp_path / "batched.npy", matrix((1, 20, 64)))
    save_file({"prompt_embeddings": matrix((6, 16))}, tmp_path / "one.safetensors")
    adapter = tmp_path / "peft"
    adapter.mkdir()
    save_file({"prompt_embeddings": matrix((10, 16))}, adapter / "adapter_model.safetensors")
    config = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, "token_dim": 16}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    torch.save([prompt, prompt + 1], tmp_path / "several.pt")
    np.save(tmp_path / "stack.npy", matrix((3, 5, 16)))
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "README.md").write_text("text")
    (tmp_path / ".git").mkdir()
    np.save(tmp_path / ".git" / "hidden.npy", matrix((5, 16)))
    found = atlas([tmp_path], Sources())
    shapes = dict(
        zip(
            found.prompts["file"] + ":" + found.prompts["prompt"],
            zip(found.prompts["n"], found.prompts["d"], strict=True),
            strict=True,
        )
    )
    assert shapes == {
        "batched.npy:batched": (20, 64),
        "nested.ckpt:model.prompt_model.soft.weight": (8, 1024),
        "one.safetensors:prompt_embeddings": (6, 16),
        "peft:encoder": (5, 16),
        "peft:decoder": (5, 16),
        "wide:wide": (100, 4096),
    }
    lines = {line.partition(": ")[0]: line for line in found.left_out}
    assert set(lines) == {"several.pt", "stack.npy", "torn.npy"}
    assert "holds several prompts: 0 (8, 1024), 1 (8, 1024)" in lines["several.pt"]
    assert "save one of its 3 matrices" in lines["stack.npy"]
    assert list(found.directions) == DIRECTIONS
    assert found.directions.empty


def test_models_and_tasks_come_from_the_paths(tmp_path, monkeypatch):
    for name in (
        "m/SST2.npy",
        "m/other.npy",
        "x/IMDB_special/prompt.npy",
        "random1.npy",
        "own.npy",
        "neurons/a.npy",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, matrix((4, 8)))
    kinds = {"sentiment": ["sst2", "imdb"]}
    found, left_out = find_prompts([tmp_path], listed(tmp_path, kinds))
    assert {each.shown: (each.model, each.task, each.kind) for each in found} == {
        "m/SST2.npy": ("m", "sst2", "sentiment"),
        "m/other.npy": ("m", "other", ""),
        "x/IMDB_special/prompt.npy": ("special", "imdb", "sentiment"),
        "random1.npy": ("none", "random", ""),
        "own.npy": ("", "", ""),
    }
    assert left_out == []
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    found, left_out = find_prompts([tmp_path], Sources())
    assert not found
    assert len(left_out) == 6
    assert all("too large for a prompt" in line for line in left_out)


def test_a_file_that_was_named_is_an_error_and_one_that_was_found_is_a_line(tmp_path):
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(RankprobeError, match=r"torn.npy' cannot be read"):
        atlas([tmp_path / "torn.npy"], Sources())
    with pytest.raises(RankprobeError, match=r"no prompts in '.*' \(torn.npy: .*cannot be read"):
        atlas([tmp_path], Sources())


def test_copies_are_named_whatever_their_scale(tmp_path):
    P = matrix((6, 12))
    changed = P + 0.2 * matrix((6, 12), 1)
    for name, values in {
        "a": P,
        "b": 1e4 * P,
        "c": P,
        "d": changed,
        "e": 0 * P,
        "f": 0 * P,
        "g": P.T,
    }.items():
        np.save(tmp_path / f"{name}.npy", values)
    found = atlas([tmp_path], Sources()).prompts.set_index("task")
    assert found["copy_of"].to_dict() == {
        "a": "",
        "b": "a.npy",
        "c": "a.npy",
        "d": "",
        "e": "",
        "f": "e.npy",
        "g": "",
    }
    assert found["sha256"]["c"] == sha256(P.tobytes()).hexdigest()


def related(count, shared_start, shared_task, seed=0):
    """Prompts of two kinds: noise, rows that all have at the same position, and directions of their kind."""
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((24, 200)) * shared_start
    kinds = ["one", "two"] * (count // 2)
    directions = {kind: rng.standard_normal((2, 200)) * shared_task for kind in ("one", "two")}
    prompts = [
        start + rng.standard_normal((24, 2)) @ directions[kind] + rng.standard_normal((24, 200))
        for kind in kinds
    ]
    return prompts, kinds


def test_directions_of_related_tasks_are_found(monkeypatch):
    rows = compare(*related(8, shared_start=0, shared_task=1), k=2)
    assert [row["compared"] for row in rows] == ["P", "P - mean", "odd | even"]
    for row in rows:
        assert row["phi_related"] > 0.5 > 0.2 > row["phi_other"], row
        assert row["p_related"] < 0.05  # 8 prompts of 2 kinds: 35 ways to divide them
        assert row["p_shuffled"] == 0.01
        assert row["phi_shuffled"] == pytest.approx(row["phi_random"], abs=0.02)


def test_a_common_start_is_no_relation_and_odd_and_even_tokens_do_not_share_it():
    prompts, kinds = related(8, shared_start=3, shared_task=0)
    rows = {row["compared"]: row for row in compare(prompts, kinds, k=2)}
    assert rows["P"]["phi"] > 0.5
    assert rows["P"]["p_shuffled"] == 0.01
    for name in ("P - mean", "odd | even"):
        assert rows[name]["phi"] < 0.1, rows[name]
    assert all(row["p_related"] > 0.05 for row in rows.values())
    positions = compare_positions(prompts)
    assert positions["nearest_same"] == 1
    assert positions["cosine_same"] == pytest.approx(0.9, abs=0.02)
    assert abs(positions["cosine_other"]) < 0.02
    apart = compare_positions(related(4, shared_start=0, shared_task=0)[0])
    assert apart["nearest_same"] < 0.2


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collection")
    (folder / "m").mkdir()
    prompts, kinds = related(6, shared_start=0, shared_task=1)
    for i, P in enumerate(prompts):
        np.save(folder / "m" / f"T{i}.npy", P.astype(np.float32))
    lines = [f"{kind} = {[f't{i}' for i in range(6) if kinds[i] == kind]}" for kind in ("one", "two")]
    (folder / "sources.toml").write_text(
        "[kinds]\n" + "\n".join(lines) + '\n[[source]]\nrepository = "r"\nrevision = "1"\nlicence = "MIT"\n'
        '[[source.prompts]]\nmodel = "m$_1$"\npath = ["m/{task}.npy"]\n'
    )
    return folder


def test_the_command_writes_picture_and_tables_the_same_each_time(collection, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules[compare.__module__], "SHUFFLES", 9)
    written = []
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            main(
                [
                    "atlas",
                    str(collection),
                    "--sources",
                    str(collection / "sources.toml"),
                    "--directions",
                    "2",
                    "--output",
                    str(tmp_path),
                ]
            )
        assert not stop.value.code
        written.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {f"atlas.{kind}" for kind in ("png", "svg", "csv", "md", "json")}
    printed = capsys.readouterr().out
    assert "6 prompts, 6 of them distinct" in printed
    assert "6 pairs of one kind" in printed
    table = pd.read_csv(tmp_path / "atlas.csv")
    P = np.load(collection / "m" / "T0.npy")
    assert table["task"].tolist() == [f"t{i}" for i in range(6)]
    import rankprobe as rp

    assert table["P_erank_rv"][0] == pytest.approx(rp.rank.measure(P)["erank_rv"])
    assert table["P0_erank_rv"].isna().all()
    assert "no prompt is saved with its P0" in (tmp_path / "atlas.md").read_text()
    saved = json.loads((tmp_path / "atlas.json").read_text())
    assert len(saved["prompts"]) == 6
    assert saved["directions"][0]["prompts"] == 6


def test_a_prompt_that_is_saved_with_its_start_has_readings_of_it(tmp_path):
    save_file(
        {"final": matrix((6, 12)), "P0": np.outer(np.ones(6), matrix(12)).astype(np.float32)},
        tmp_path / "a.safetensors",
    )
    found = atlas([tmp_path], Sources()).prompts
    assert found["prompt"].tolist() == ["final"]
    assert found["P0_numerical_rank"].tolist() == [1]


@pytest.mark.skipif(not PROMPTS.exists(), reason=f"no public prompts in {PROMPTS}")
def test_the_public_prompts_are_those_of_the_committed_atlas(request):
    root = request.config.rootpath
    found, left_out = find_prompts([PROMPTS], load_sources(root / "experiments" / "atlas" / "sources.toml"))
    assert left_out == []
    assert all(each.model and each.task and each.kind for each in found)
    table = pd.read_csv(root / "figures" / "atlas.csv")
    assert [each.shown for each in found] == table["file"].tolist()
    measured = atlas([found[0].place, found[20].place], Sources()).prompts
    for row, i in zip(measured.to_dict("records"), (0, 20), strict=True):
        assert row["sha256"] == table["sha256"][i]
        assert row["P_rows_signflip_edge"] == table["P_rows_signflip_edge"][i]
        assert row["P_erank_rv"] == pytest.approx(table["P_erank_rv"][i])
