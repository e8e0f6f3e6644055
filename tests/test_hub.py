"""The real hub client, against a local server that serves one data set and one model."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from rankprobe.backbone import load_backbone
from rankprobe.tasks.sources import HUB_ID, HUB_REVISION

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves `files` (path → bytes); `faults` maps the end of a path to the fault at that path."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.requests = files, {}, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        hub, path = self.server, self.path.split("?")[0]
        hub.requests.append((self.command, path))
        fault = next((fault for end, fault in hub.faults.items() if path.endswith(end)), None)
        if callable(fault):
            fault = fault()
        if path.startswith("/api/"):
            status = fault or (200 if path.endswith((HUB_ID, "someone/small")) else 404)
            described = json.dumps({"id": path[5:], "sha": COMMIT, "siblings": []}).encode()
            below = any(f"/{known}/" in path for known in (HUB_ID, "someone/small"))  # a listing
            code = {"X-Error-Code": "EntryNotFound" if below else "RepoNotFound"}
            return self.send(status, described, body, code if status == 404 else {})
        content = hub.files.get(path)
        if isinstance(fault, int):
            return self.send(fault, b"", body)
        if content is None:
            return self.send(404, b"", body, {"X-Error-Code": "EntryNotFound"})
        revision = HUB_REVISION if "/datasets/" in path else COMMIT
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": revision}
        return self.send(200, content, body, headers, truncated=fault == "truncated")

    def send(self, status, content, body, headers=None, truncated=False):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content[: len(content) // 2] if truncated else content)
        if truncated:
            self.close_connection = True


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    backbone = load_backbone("random:tiny")
    backbone.model.save_pretrained(folder)
    backbone.tokenizer.save_pretrained(folder)
    served = {f"/someone/small/resolve/main/{p.name}": p.read_bytes() for p in folder.iterdir()}
    served |= {path.replace("/main/", f"/{COMMIT}/"): content for path, content in served.items()}
    features = Features(
        premise=Value("string"), hypothesis=Value("string"), idx=Value("int32"),
        label=ClassLabel(names=["entailment", "contradiction", "neutral"]),
    )  # fmt: skip
    rows = [
        {"premise": f"It rained {i} times.", "hypothesis": "It rained", "idx": i, "label": i % 3}
        for i in range(12)
    ]
    for split in ("train", "validation"):
        name = f"cb/{split}-00000-of-00001.parquet"
        Dataset.from_list(rows, features=features).to_parquet(str(folder / "rows.parquet"))
        served[f"/datasets/{HUB_ID}/resolve/{HUB_REVISION}/{name}"] = (folder / "rows.parquet").read_bytes()
    return served


@pytest.fixture
def hub(files):
    server = Hub(files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def rankprobe(hub, cache: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command in another process, with an empty cache and the server as its hub."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    url = hub if isinstance(hub, str) else hub.url
    environment |= {
        "HF_ENDPOINT": url,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    code = "from rankprobe.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, cwd=cache, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


QUICK = ["--steps", "2", "--prompt-length", "4", "--batch-size", "4"]
TRAIN = ["probe", "--data", "hub", "--model", "someone/small", "--name", "one", *QUICK]


def test_data_and_model_from_the_hub_then_from_the_cache(hub, tmp_path):
    fetched = rankprobe(hub, tmp_path, "data", "fetch", "--task", "cb")
    assert fetched.stdout == "cb: 12 train, 12 validation\n", fetched.stderr
    done = rankprobe(hub, tmp_path, *TRAIN)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "runs/one/manifest.json").read_text())
    assert manifest["backbone"]["revision"] == COMMIT
    assert manifest["data"]["origin"]["train"] == f"{HUB_ID}@{HUB_REVISION}"
    requests = len(hub.requests)
    again = rankprobe(hub, tmp_path, *TRAIN, "--overwrite")
    assert again.returncode == 0, again.stderr
    assert len(hub.requests) == requests  # everything came from the cache


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ({"parquet": 404}, "error: data set 'aps/super_glue' cannot be loaded"),
        ({"parquet": "truncated"}, "error: data set 'aps/super_glue' cannot be loaded"),
        ({"aps/super_glue": 404}, "error: data set 'aps/super_glue' is not on the hub, or is private; give a local folder: --data FOLDER"),
        ({"aps/super_glue": 503}, "error: data set 'aps/super_glue' is not in the cache and the hub cannot be reached (Server error '503"),
    ],
)  # fmt: skip
def test_failures_give_one_line(hub, tmp_path, faults, expected):
    hub.faults.update(faults)
    done = rankprobe(hub, tmp_path, *TRAIN)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(expected), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
    hub.faults.clear()  # no partial file stays in the cache
    assert rankprobe(hub, tmp_path, *TRAIN).returncode == 0


def test_a_busy_hub_is_asked_again(hub, tmp_path):
    answers = iter([503, 503])
    hub.faults["train-00000-of-00001.parquet"] = lambda: next(answers, None)
    done = rankprobe(hub, tmp_path, *TRAIN)
    assert done.returncode == 0, done.stderr


def test_an_unreachable_hub(tmp_path):
    done = rankprobe("http://127.0.0.1:9", tmp_path, *TRAIN)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: model 'someone/small' is not in the cache and the hub cannot be reached")
