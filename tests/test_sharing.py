"""Prompts on the hub: the real client of the hub, against a stand-in for its HTTP API."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import stand_in_hub
from conftest import quick
from huggingface_hub import ModelCard
from safetensors.numpy import save
from stand_in_hub import TOKEN, client_of, environment, python

import rankprobe as rp
from rankprobe.cli import main
from rankprobe.hub import HubPlace, hub_place
from rankprobe.runs import adapters
from rankprobe.studies.task_rank import _vanilla_config

READ = "import numpy as np, rankprobe, sys; np.save('got.npy', rankprobe.read_prompts(sys.argv[1])['prompt'])"
P = np.random.default_rng(0).standard_normal((8, 128)).astype(np.float32)
CONFIG = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 8, "token_dim": 128}
START = ["train", "--method", "vanilla", "--model", "random:tiny", "--prompt-length", "8", "--steps", "2",
         "--batch-size", "4", "--init", "saved", "--init-from"]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for method in ("vanilla", "dpt"):
        rp.train(quick(method=method, steps=4), runs_dir=folder, name=method)
    return folder


@pytest.fixture
def here(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path


@pytest.fixture
def hub():
    with stand_in_hub.serving() as server:
        yield server


def files(P=P, **config) -> dict[str, bytes]:
    """The files of an adapter."""
    return {
        "adapter_config.json": json.dumps(CONFIG | config).encode(),
        "adapter_model.safetensors": save({"prompt_embeddings": P}),
    }


@pytest.fixture
def run(here, hub, monkeypatch, capfd):
    """A function that runs a command against the hub, and returns what it prints.

    It succeeds, unless `code` says how it fails; then its error message is returned, which has one line.
    """
    monkeypatch.chdir(here)

    def command(*words: str, code: int = 0, cache: str = "cache", url: str | None = None, **client) -> str:
        capfd.readouterr()
        with client_of(url or hub, here / cache, **client), pytest.raises(SystemExit) as stop:
            main(list(words))
        output = capfd.readouterr()
        assert (stop.value.code or 0) == code, output.err
        assert TOKEN not in output.out + output.err
        if not code:
            return output.out
        (line,) = output.err.strip().splitlines()
        return line

    return command


MAIN = "from rankprobe.cli import main; main()"


@pytest.mark.parametrize(
    ("method", "mode", "xet"),
    [("vanilla", "regular", True), ("dpt", "lfs", False), ("vanilla", "regular", False)],
)
def test_a_prompt_goes_to_the_hub_and_comes_back_bit_for_bit(here, method, mode, xet):
    with stand_in_hub.serving(mode) as hub:
        ours, others = (environment(hub.url, here / name, xet=xet) for name in ("ours", "others"))
        pushed = python(here, ours, MAIN, "export", method, "adapter", "--push", "me/prompt")
        commit = hub.repositories["me/prompt"].branches["main"]
        assert pushed.split() == ["adapter", f"hub:me/prompt@{commit}"]
        local = {path.name: path.read_bytes() for path in (here / "adapter").iterdir()}
        assert hub.repositories["me/prompt"].commits[commit] == local
        assert set(local) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
        assert not hub.repositories["me/prompt"].private
        python(here, others | {"HF_TOKEN": ""}, READ, "hub:me/prompt")
    trained = rp.find_run(method, here / "runs").prompt()
    np.testing.assert_array_equal(np.load(here / "got.npy"), trained)
    assert np.load(here / "got.npy").dtype == np.float32
    assert ModelCard(local["README.md"].decode()).data.library_name == "peft"
    assert str(here) not in str(local)


def test_a_run_keeps_the_commit_that_it_started_from(here, hub, run):
    first = hub.put("me/prompt", files())
    run(*START, "hub:me/prompt")
    (old,) = [run for run in rp.list_runs(here / "runs") if run.id.startswith("cb-vanilla")]
    assert old.manifest["config"]["init_from"] == f"hub:me/prompt@{first}"
    np.testing.assert_array_equal(old.prompt("P0"), P)
    second = hub.put("me/prompt", files(2 * P))
    asked = len(hub.requests)
    for place in ("hub:me/prompt", f"hub:me/prompt@{first}"):  # the same run: the cache has the commit
        assert f"runs/{old.id} exists (finished)" in run(*START, place, code=2)
    assert len(hub.requests) == asked
    run(*START, "hub:me/prompt", "--name", "new", cache="another")
    new = rp.find_run("new", here / "runs")
    assert new.manifest["config"]["init_from"] == f"hub:me/prompt@{second}"
    np.testing.assert_array_equal(new.prompt("P0"), 2 * P)


def test_a_run_goes_on_from_its_commit_when_the_repository_has_changed(here, hub, run):
    first = hub.put("me/prompt", files())
    run(*START, "hub:me/prompt", "--name", "undisturbed")
    run(*START, "hub:me/prompt", "--name", "stopped", "--checkpoint-every", "1")
    stopped = rp.find_run("stopped", here / "runs")
    stopped.update({"status": "killed"})
    hub.put("me/prompt", files(2 * P))
    run("resume", "stopped", cache="another")
    assert ("GET", f"/me/prompt/resolve/{first}/adapter_model.safetensors") in hub.requests
    np.testing.assert_array_equal(stopped.prompt(), rp.find_run("undisturbed", here / "runs").prompt())


def test_what_was_fetched_is_read_without_a_network(here, hub, run):
    hub.put("me/prompt", files())
    run("analyze", "hub:me/prompt")
    asked = len(hub.requests)
    assert "prompt, 8 × 128" in run("analyze", "hub:me/prompt", offline=True)
    run(*START, "hub:me/prompt", offline=True)
    assert len(hub.requests) == asked
    message = run("analyze", "hub:me/prompt", offline=True, cache="another", code=2)
    assert "adapter 'me/prompt' is not in the cache and the hub cannot be reached (" in message


def test_a_sweep_names_the_commit_before_it_names_its_runs(here, hub, run):
    """So that all its processes start from the same prompt, and finished runs are found again."""
    commit = hub.put("me/prompt", files())
    (here / "spec.toml").write_text(
        'title = "t"\n[settings]\nmodel = "random:tiny"\nmethod = "vanilla"\nprompt_length = 8\nsteps = 1\n'
        'init = "saved"\ninit_from = "hub:me/prompt"\nseed = [1, 2]\n'
    )
    run("sweep", "spec.toml")
    runs = [run for run in rp.list_runs(here / "runs") if run.id.startswith("cb-vanilla")]
    assert [run.manifest["config"]["init_from"] for run in runs] == [f"hub:me/prompt@{commit}"] * 2
    times = [(run.path / "manifest.json").stat().st_mtime_ns for run in runs]
    assert "2 of 2 runs finished" in run("sweep", "spec.toml")
    assert [(run.path / "manifest.json").stat().st_mtime_ns for run in runs] == times
    assert len(rp.list_runs(here / "runs")) == 4


def test_taskrank_finds_its_runs_again(here, hub):
    commit = hub.put("me/prompt", files())
    settings = {"prompt_length": 8, "init": "saved", "init_from": "hub:me/prompt"}
    with client_of(hub, here / "cache"):
        config = _vanilla_config(None, settings)
    assert config.method.init_from == f"hub:me/prompt@{commit}"


def test_one_of_several_prompts_and_an_older_revision(here, hub):
    old = hub.put("me/prompt", files())
    hub.put("me/prompt", files(np.concatenate([2 * P, 3 * P])))
    for place, expected in (
        ("hub:me/prompt", {"encoder": 2 * P, "decoder": 3 * P}),
        ("hub:me/prompt:decoder", {"decoder": 3 * P}),
        (f"hub:me/prompt@{old}", {"prompt": P}),
        (f"hub:me/prompt@{old}:prompt", {"prompt": P}),
    ):
        with client_of(hub, here / "cache", None):
            found = rp.read_prompts(place)
        assert list(found) == list(expected)
        for name, matrix in expected.items():
            np.testing.assert_array_equal(found[name], matrix)


def test_a_private_repository(here, hub, run):
    run("export", "vanilla", "one", "--push", "me/secret", "--private")
    assert hub.repositories["me/secret"].private
    run("analyze", "hub:me/secret", cache="another")
    message = run("analyze", "hub:me/secret", cache="stranger", token=None, code=2)
    assert "adapter 'me/secret' is not on the hub, or is private" in message
    hub.put("me/public", {})
    message = run("export", "vanilla", "two", "--push", "me/public", "--private", code=2)
    assert "'me/public' exists and is public, and --private is given" in message
    assert hub.repositories["me/public"].files("main")[1] == {}


def test_a_second_push_is_a_second_commit(here, hub, run):
    run("export", "vanilla", "one", "--push", "me/prompt")
    first = hub.repositories["me/prompt"].branches["main"]
    run("export", "dpt", "two", "--push", "me/prompt")
    repository = hub.repositories["me/prompt"]
    assert repository.branches["main"] != first
    assert repository.files("main")[1]["README.md"] == (here / "two" / "README.md").read_bytes()
    assert repository.commits[first]["README.md"] == (here / "one" / "README.md").read_bytes()


STAYS = "the files stay in adapter; try again with: hf upload"


@pytest.mark.parametrize(
    ("words", "client", "faults", "message", "stays"),
    [
        (["--push", "me"], {}, {}, "'me' is no name of a repository; expected ORG/NAME", False),
        (["--push", "me/a/b"], {}, {}, "'me/a/b' is no name of a repository", False),
        (["--push", "me/../b"], {}, {}, "'me/../b' is no name of a repository", False),
        (["--push", "me/b c"], {}, {}, "'me/b c' is no name of a repository", False),
        (["--push", ""], {}, {}, "'' is no name of a repository", False),
        (["--push", f"https://me:{TOKEN}@hub.co/x"], {}, {}, "'https://***@hub.co/x' is no name", False),
        (["--push", "me/p", "--to", "npy"], {}, {}, "--push uploads a PEFT adapter, and the format is 'npy'; give a folder, and no --to", False),
        (["--private"], {}, {}, "--private needs --push ORG/NAME", False),
        (["--push", "me/p"], {"token": None}, {}, "no token of the hub, so nothing can be pushed", False),
        (["--push", "me/p"], {"offline": True}, {}, "HF_HUB_OFFLINE is set, so nothing can be pushed", False),
        (["--push", "me/p"], {"token": "hf_wrong"}, {}, f"check that the token may write there; {STAYS}", True),
        (["--push", "strangers/p"], {}, {}, "rights to create a model under the namespace strangers", True),
        (["--push", "me/p"], {"url": "http://127.0.0.1:9"}, {}, "the hub cannot be reached", True),
        (["--push", "me/p"], {}, {"/commit/": 400}, "'me/p' cannot be written (", True),
        (["--push", "me/p"], {}, {"/api/repos/create": 500}, "'me/p' cannot be written (", True),
        (["--push", "me/p"], {}, {"/preupload/": 200}, "its answer is not usable", True),
    ],
)  # fmt: skip
def test_a_push_that_fails_says_why_and_loses_nothing(here, hub, run, words, client, faults, message, stays):
    hub.faults = faults
    error = run("export", "vanilla", "adapter", *words, code=2, **client)
    assert message in error
    assert (STAYS in error) == stays
    assert (here / "adapter").exists() == stays
    if stays:
        ours = rp.find_run("vanilla", here / "runs").prompt()
        np.testing.assert_array_equal(rp.read_prompts(here / "adapter")["prompt"], ours)


LORA = {
    "adapter_config.json": json.dumps({"peft_type": "LORA"}).encode(),
    "adapter_model.safetensors": b"x" * 99,
}
BIN = {"adapter_config.json": json.dumps(CONFIG).encode(), "adapter_model.bin": b"a pickle"}


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (files(), "hub:me/none", "adapter 'me/none' is not on the hub, or is private"),
        (files(), "hub:me/p@old", "'me/p' has no revision 'old'; give a branch, a tag or a commit"),
        (files(), "hub:me/p:soft", "unknown matrix of"),
        ({"README.md": b""}, "hub:me/p", "'hub:me/p' has no adapter_config.json; expected an adapter"),
        (BIN, "hub:me/p", "'hub:me/p' has no adapter_model.safetensors; expected an adapter saved by PEFT as"),
        (LORA, "hub:me/p", "the adapter in 'hub:me/p' is of type LORA; expected one of PROMPT_TUNING"),
        (files() | {"adapter_config.json": b"[1]"}, "hub:me/p", "is of type None; expected one of PROMPT_TUNING"),
        (files() | {"adapter_config.json": b"{"}, "hub:me/p", "adapter_config.json' cannot be read ("),
        (files() | {"adapter_model.safetensors": b"x"}, "hub:me/p", "adapter_model.safetensors' cannot be read ("),
        (files(num_virtual_tokens=7), "hub:me/p", "has 8 prompt rows, and num_virtual_tokens is 7"),
        (files(token_dim=64), "hub:me/p", "has a prompt of width 128, and token_dim is 64"),
        (files(P * np.nan), "hub:me/p", "holds NaN or infinite entries"),
    ],
)  # fmt: skip
def test_adapters_of_strangers(here, hub, run, content, place, message):
    hub.put("me/p", content)
    assert message in run("analyze", place, code=2)
    assert message in run(*START, place, "--name", "new", code=2)
    assert not (here / "runs" / "new").exists()
    fetched = {path.rpartition("/")[2] for way, path in hub.requests if way == "GET" and "/resolve/" in path}
    if content in (LORA, BIN):
        assert fetched == {"adapter_config.json"}


def test_weights_that_are_too_large_are_not_fetched(here, hub, run, monkeypatch):
    commit = hub.put("me/p", files() | {"adapter_model.safetensors": bytes(3 * 2**20)})
    monkeypatch.setattr(adapters, "MAX_BYTES", 2**20)
    message = run("analyze", "hub:me/p", code=2)
    assert "adapter_model.safetensors of 'hub:me/p' has 3 MiB; expected a prompt, of at most 1 MiB" in message
    assert ("GET", f"/me/p/resolve/{commit}/adapter_model.safetensors") not in hub.requests


def test_names_of_places():
    commit = "0123456789" * 4
    assert hub_place("hub:me/p.q-r_s") == HubPlace("me/p.q-r_s")
    assert hub_place("hub:me/p@refs/pr/1:decoder") == HubPlace("me/p", "refs/pr/1", "decoder")
    assert hub_place(f"hub:me/p@{commit}").pinned
    assert not hub_place("hub:me/p@v1").pinned
    assert hub_place("me/p") is None
    for text in ("hub:me/p", "hub:me/p@v1", "hub:me/p:a:b", f"hub:me/p@{commit}:soft"):
        assert str(hub_place(text)) == text
    config = quick(method="vanilla", init="saved", init_from="hub:me/p@v1")  # parsing asks no hub
    assert config.method.init_from == "hub:me/p@v1"
