"""A stand-in for the HTTP API of the Hugging Face hub, in memory, for the real client.

It makes repositories, takes commits with small files in them and large files beside them (Git LFS), checks the
metadata of model cards and tokens, and serves files by branch and commit. Not part of it: Xet, tags, pull requests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

TOKEN = "hf_" + "Aa0" * 12
"""The token that may write, unless the hub is given another one."""

MODEL = "/api/models/(?P<repo>[^/]+/[^/]+)"


class Repository:
    """The files of each commit; a branch is the name of its last commit."""

    def __init__(self, private: bool) -> None:
        self.private = private
        self.commits: dict[str, dict[str, bytes]] = {}
        self.branches = {"main": self.commit({})}

    def commit(self, files: dict[str, bytes]) -> str:
        text = repr([len(self.commits), sorted(files.items())]).encode()
        name = hashlib.sha1(text, usedforsecurity=False).hexdigest()
        self.commits[name] = files
        return name

    def files(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        name = self.branches.get(revision, revision)
        return (name, self.commits[name]) if name in self.commits else None


class StandInHub(ThreadingHTTPServer):
    """`repositories` by name; `requests` has (method, path) of each request.

    `upload_mode` is what clients are told to do with safetensors: `regular` or `lfs`. `faults` maps a part of a
    path to the status that a request with it gets.
    """

    daemon_threads = True

    def __init__(self, upload_mode: str = "regular") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upload_mode = upload_mode
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[str, int] = {}
        self.token = TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, name: str, files: dict[str, bytes]) -> str:
        """Make a repository, or its next commit, and return the commit."""
        repository = self.repositories.setdefault(name, Repository(private=False))
        repository.branches["main"] = repository.commit(files)
        return repository.branches["main"]


class _Handler(BaseHTTPRequestHandler):
    server: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    do_GET = do_POST = do_PUT = do_HEAD  # noqa: N815

    def _answer(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, path))
        for part, status in self.server.faults.items():
            if part in path:
                return self._send(status, {"error": f"fault {status}"})
        for method, pattern, action in ROUTES:
            if self.command in method and (match := re.fullmatch(pattern, path)):
                return action(self, **match.groupdict())
        return self._send(404, {"error": f"no route {self.command} {path}"})

    @property
    def _writer(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.server.token}"

    def _repository(self, name: str, write: bool = False) -> Repository | None:
        """The repository, or None after an error was sent: a private one is hidden from strangers."""
        repository = self.server.repositories.get(name)
        if write and not self._writer:
            return self._send(401, {"error": "Invalid username or password."})
        if repository is None or (repository.private and not self._writer):
            return self._send(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return repository

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._writer:
            return self._send(401, {"error": "Invalid username or password."})
        if asked["organization"] == "strangers":
            reason = "You don't have the rights to create a model under the namespace strangers"
            return self._send(403, {"error": reason}, {"X-Error-Message": reason})
        known = name in self.server.repositories
        self.server.repositories.setdefault(name, Repository(asked.get("visibility") == "private"))
        return self._send(409 if known else 200, {"url": f"{self.server.url}/{name}"})

    def validate(self) -> None:
        """As the hub: the metadata are YAML, and a base model is a name of a repository."""
        keys = yaml.safe_load(json.loads(self.body)["content"].split("---\n")[1])
        base = keys.get("base_model", "some/model")
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base):
            return self._send(200, {"errors": [], "warnings": []})
        return self._send(400, {"errors": [{"message": f'"base_model" with value "{base}" is not valid'}]})

    def info(self, repo: str, revision: str = "main") -> None:
        if repository := self._repository(repo):
            found = repository.files(revision)
            if not found:
                return self._send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
            self._send(200, {"id": repo, "sha": found[0], "private": repository.private, "siblings": []})
        return None

    def preupload(self, repo: str, revision: str) -> None:
        if self._repository(repo, write=True):
            self._send(200, {"files": [
                {"path": file["path"], "shouldIgnore": False,
                 "uploadMode": self.server.upload_mode if file["path"].endswith(".safetensors") else "regular"}
                for file in json.loads(self.body)["files"]
            ]})  # fmt: skip

    def lfs_batch(self, repo: str) -> None:
        if self._repository(repo, write=True):
            href = f"{self.server.url}/large/"
            objects = [
                {**one, "actions": {"upload": {"href": href + one["oid"]}}}
                for one in json.loads(self.body)["objects"]
            ]
            self._send(200, {"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        self.server.large[oid] = self.body
        self._send(200, {})

    def commit(self, repo: str, revision: str) -> None:
        repository = self._repository(repo, write=True)
        if repository is None:
            return
        files = dict(repository.files(revision)[1])
        for line in self.body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        name = repository.branches[revision] = repository.commit(files)
        self._send(200, {"commitUrl": f"{self.server.url}/{repo}/commit/{name}", "commitOid": name})

    def resolve(self, repo: str, revision: str, file: str) -> None:
        if not (repository := self._repository(repo)):
            return None
        found = repository.files(revision)
        if not found:
            return self._send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        name, files = found
        if file not in files:
            return self._send(404, {}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": name})
        content = files[file]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": name}
        return self._send(200, content, headers)

    def _send(self, status: int, content: bytes | dict, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


ROUTES = [
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", MODEL, _Handler.info),
    ("GET", f"{MODEL}/revision/(?P<revision>.+)", _Handler.info),
    ("POST", f"{MODEL}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", f"{MODEL}/commit/(?P<revision>[^/]+)", _Handler.commit),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", "/large/(?P<oid>[0-9a-f]+)", _Handler.lfs_put),
    ("GET HEAD", "/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve),
]


@contextmanager
def serving(upload_mode: str = "regular") -> Iterator[StandInHub]:
    """A stand-in that answers until the end of the context."""
    server = StandInHub(upload_mode)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def environment(url: str, cache: Path, token: str | None = TOKEN, *, xet: bool = False) -> dict[str, str]:
    """The environment of a process whose hub is `url`, with a cache of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    hub = {"HF_ENDPOINT": url, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | hub | ({} if xet else {"HF_HUB_DISABLE_XET": "1"}) | ({"HF_TOKEN": token} if token else {})


@contextmanager
def client_of(
    hub: StandInHub | str, cache: Path, token: str | None = TOKEN, offline: bool = False
) -> Iterator[None]:
    """Point the client of this process to a hub, with another cache and token."""
    from huggingface_hub import constants

    url = hub if isinstance(hub, str) else hub.url
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", offline)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.delenv("HF_TOKEN", raising=False)
        if token:
            patch.setenv("HF_TOKEN", token)
        yield


def python(here: Path, variables: dict[str, str], code: str, *arguments: str) -> str:
    """Run a program in a process of its own, in the folder `here`, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=variables, cwd=here, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
