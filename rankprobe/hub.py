"""The Hugging Face hub: try the local cache first, then ask the hub one quick question, then download.

Also the names of repositories that users give (`hub:ORG/NAME@REVISION`), and the upload of a folder.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from rankprobe.errors import SECRET, RankprobeError, first_line
from rankprobe.logger import log

Found = TypeVar("Found")
Arguments = ParamSpec("Arguments")
TIMEOUT = 10
"""Seconds to wait for the hub's first answer."""

HUB = "hub:"
"""Start of the name of a repository, where a path could be given too."""

PLACE = re.compile(r"hub:(?P<hub_id>[^:@]*)(@(?P<revision>[^:]*))?(:(?P<name>.+))?", re.DOTALL)
REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")

_LOADING = threading.RLock()


@dataclass(frozen=True)
class HubPlace:
    """A repository on the hub, written as `hub:ORG/NAME@REVISION`.

    Attributes:
        hub_id: `ORG/NAME`.
        revision: a branch, tag or commit; None: the main branch.
        name: one of several prompts in it, written behind another colon; or None.
    """

    hub_id: str
    revision: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB}{self.hub_id}{revision}{f':{self.name}' if self.name else ''}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, whose files never change."""
        return COMMIT.fullmatch(self.revision or "") is not None


def hub_place(text: str) -> HubPlace | None:
    """Parse `hub:ORG/NAME`, `hub:ORG/NAME@REVISION`, and either with `:PROMPT`; None without `hub:`.

    Both parts become folder names in the cache, so neither may lead out of it.

    Raises:
        RankprobeError: what follows `hub:` is no name of a repository, or no name of a revision.
    """
    if not text.startswith(HUB):
        return None
    match = PLACE.fullmatch(text)
    place = HubPlace(match["hub_id"], match["revision"], match["name"]) if match else None
    if place and _is_hub_id(place.hub_id) and (place.revision is None or _is_revision(place.revision)):
        return place
    raise RankprobeError(
        f"'{SECRET.sub('***', text)}' names no repository; expected hub:ORG/NAME or hub:ORG/NAME@REVISION"
    )


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _is_revision(name: str) -> bool:
    return REVISION.fullmatch(name) is not None and ".." not in name


def one_at_a_time(load: Callable[Arguments, Found]) -> Callable[Arguments, Found]:
    """Make the threads of a process call `load` one after another.

    First imports from transformers, its global switches, and torch's global random state are not thread-safe.
    """

    @wraps(load)
    def load_alone(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Found:
        with _LOADING:
            return load(*args, **kwargs)

    return load_alone


@one_at_a_time
def from_hub(load: Callable[[bool], Found], what: str, hub_id: str, *, dataset: bool, offline: str) -> Found:
    """Return `load(local_files_only)`, from the cache if possible, else from the hub.

    Without a network, the client libraries retry for a minute before they fail. One quick question to the hub
    finds out sooner.

    Args:
        load: called with True (cache only); if that fails and the hub answers, called with False.
        what: names the thing in messages, for example `model` or `tokenizer`.
        hub_id: the repository.
        dataset: whether it is a dataset repository.
        offline: the end of a message: what a user without network can do instead.

    Raises:
        RankprobeError: the repository is not in the cache, and the hub does not answer or does not have it.
    """
    if "://" in hub_id or "@" in hub_id:  # not repeated in the message: it may contain a password or a token
        raise RankprobeError(
            f"{what} is a web address or has an @; expected a hub id; set the token as HF_TOKEN; {offline}"
        )
    try:
        return load(True)
    except OSError:
        log.info("%s '%s' is not in the cache; asking the hub", what, hub_id)
        _check_hub(what, hub_id, dataset, offline)
    except ValueError as error:
        raise _load_error(what, hub_id, error, offline) from None
    try:
        return load(False)
    except RankprobeError:
        raise
    except Exception as error:  # the classes of HTTP errors differ between versions of huggingface_hub
        raise _load_error(what, hub_id, error, offline) from error


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Without transformers' bar, where nothing is downloaded."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load_error(what: str, hub_id: str, error: Exception, offline: str) -> RankprobeError:
    return RankprobeError(f"{what} '{hub_id}' cannot be loaded ({first_line(error)}); {offline}")


def _check_hub(what: str, hub_id: str, dataset: bool, offline: str) -> None:
    """Raise an error if the hub does not answer, or does not have the repository."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    api = HfApi()
    try:
        (api.dataset_info if dataset else api.model_info)(hub_id, timeout=TIMEOUT)
    except (RepositoryNotFoundError, HFValidationError):
        raise RankprobeError(f"{what} '{hub_id}' is not on the hub, or is private; {offline}") from None
    except Exception as error:  # as above: the classes of HTTP errors differ between versions
        raise RankprobeError(
            f"{what} '{hub_id}' is not in the cache and the hub cannot be reached ({first_line(error)}); "
            f"{offline}"
        ) from None


def cached_commit(hub_id: str) -> str | None:
    """Return the commit of the model's cached `config.json`; None if it is not in the cache."""
    path = cached_file(hub_id, "config.json")
    return path.parent.name if path else None


def cached_file(hub_id: str, name: str) -> Path | None:
    """Return the path of a cached file of a model or adapter.

    None if the file is not in the cache, or `hub_id` is not a valid hub id.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(hub_id, name)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def check_push(hub_id: str) -> None:
    """Check what an upload needs, before anything is written; asks the hub nothing.

    Raises:
        RankprobeError: `hub_id` is not ORG/NAME, the hub is switched off by HF_HUB_OFFLINE, or there is no
            token.
    """
    from huggingface_hub import constants, get_token

    if not _is_hub_id(hub_id):
        raise RankprobeError(
            f"'{SECRET.sub('***', hub_id)}' is no name of a repository; expected ORG/NAME, with letters, "
            "digits, '-', '_' and '.'"
        )
    if constants.HF_HUB_OFFLINE:
        raise RankprobeError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it, or leave out --push")
    if get_token() is None:
        raise RankprobeError(
            f"no token of the hub, so nothing can be pushed to '{hub_id}'; log in with: hf auth login, or "
            "set HF_TOKEN"
        )


def push_folder(folder: Path, hub_id: str, *, private: bool = False) -> HubPlace:
    """Upload the files of a folder to a model repository, which is made if it does not exist.

    Files of the same names are replaced there, in one commit; others stay. The folder is only read.

    Args:
        folder: holds the files.
        hub_id: `ORG/NAME`; see `check_push`.
        private: make a new repository private.

    Returns:
        The repository at the commit of the upload.

    Raises:
        RankprobeError: the hub cannot be reached or refuses; or `private`, and the repository is public.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api, again = HfApi(), f"the files stay in {folder}; try again with: hf upload {hub_id} {folder}"
    try:
        api.create_repo(hub_id, private=private or None, exist_ok=True)
        if private and not api.model_info(hub_id, timeout=TIMEOUT).private:
            raise RankprobeError(
                f"repository '{hub_id}' exists and is public, and --private is given; make it private on the "
                f"hub, or choose another name; the files stay in {folder}"
            )
        commit = api.upload_folder(repo_id=hub_id, folder_path=folder, commit_message="Add a soft prompt")
    except RankprobeError:
        raise
    except HfHubHTTPError as error:
        refused = error.response is not None and error.response.status_code in (401, 403)
        hint = "check that the token may write there; " if refused else ""
        raise RankprobeError(f"'{hub_id}' cannot be written ({first_line(error)}); {hint}{again}") from None
    except Exception as error:  # as above
        raise RankprobeError(
            f"'{hub_id}' cannot be pushed: the hub cannot be reached, or its answer is not usable "
            f"({first_line(error)}); {again}"
        ) from None
    return HubPlace(hub_id, commit.oid)
