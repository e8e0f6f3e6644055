"""The Hugging Face hub, asked politely: the local cache first, then one quick question, then the download."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from rankprobe.errors import RankprobeError

Found = TypeVar("Found")
Arguments = ParamSpec("Arguments")
TIMEOUT = 10
"""Seconds to wait for the hub's first answer."""

SECRET = re.compile(r"(?<=://)[^/\s@]+(?=@)|hf_[A-Za-z0-9]{30,}")
"""A login inside an address, or a token of the hub; clients and servers may repeat them in their errors."""


_LOADING = threading.RLock()


def one_at_a_time(load: Callable[Arguments, Found]) -> Callable[Arguments, Found]:
    """Let the threads of a process load one after another.

    The first imports from transformers, its switches and torch's global random state do not work in several
    threads at once.
    """

    @wraps(load)
    def waiting(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Found:
        with _LOADING:
            return load(*args, **kwargs)

    return waiting


@one_at_a_time
def from_hub(load: Callable[[bool], Found], what: str, hub_id: str, *, dataset: bool, offline: str) -> Found:
    """What `load(local_files_only)` gives: from the cache if it is there, else from the hub.

    Without a network the clients retry for a minute before they give up; one question decides sooner.

    Args:
        load: called with True (cache only), then, if that fails and the hub answers, with False.
        what: for messages, as `model` or `tokenizer`.
        hub_id: the repository.
        dataset: whether it is a dataset repository.
        offline: what a user without network can do instead.

    Raises:
        RankprobeError: not in the cache, and the hub does not answer or has no such repository.
    """
    if "://" in hub_id or "@" in hub_id:  # not repeated: it may hold a password or a token
        raise RankprobeError(
            f"the {what} is a web address or has an @; expected a hub id, and a token in HF_TOKEN; {offline}"
        )
    try:
        return load(True)
    except OSError:
        _ask(what, hub_id, dataset, offline)
    except ValueError as error:
        raise _cannot(what, hub_id, error, offline) from None
    try:
        return load(False)
    except RankprobeError:
        raise
    except Exception as error:  # the HTTP client's own classes differ between versions of the hub's library
        raise _cannot(what, hub_id, error, offline) from error


def _cannot(what: str, hub_id: str, error: Exception, offline: str) -> RankprobeError:
    return RankprobeError(f"{what} '{hub_id}' cannot be loaded ({first_line(error)}); {offline}")


def _ask(what: str, hub_id: str, dataset: bool, offline: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    api = HfApi()
    try:
        (api.dataset_info if dataset else api.model_info)(hub_id, timeout=TIMEOUT)
    except (RepositoryNotFoundError, HFValidationError):
        raise RankprobeError(f"{what} '{hub_id}' is not on the hub, or is private; {offline}") from None
    except Exception as error:  # the HTTP client's own classes, again
        raise RankprobeError(
            f"{what} '{hub_id}' is not in the cache and the hub cannot be reached ({first_line(error)}); "
            f"{offline}"
        ) from None


def cached_commit(hub_id: str) -> str | None:
    """The commit whose `config.json` the cache gives for a model; None if it has none."""
    path = cached_file(hub_id, "config.json")
    return path.parent.name if path else None


def cached_file(hub_id: str, name: str) -> Path | None:
    """Where the cache has a file of a model or adapter; None if it has none, or for what is no hub id."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub_id, name)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def names_in_places(place: str) -> list[tuple[str, str]]:
    """The ways to read `PLACE:NAME` as a place and a name, the shortest name first; both may have colons."""
    parts = place.split(":")
    ways = [(":".join(parts[:at]), ":".join(parts[at:])) for at in range(len(parts) - 1, 0, -1)]
    return [(head, name) for head, name in ways if head]


def first_line(error: Exception) -> str:
    """The first line of an error's text, without its full stop, and with *** for passwords and tokens."""
    text = str(error).strip()
    return SECRET.sub("***", text.splitlines()[0].rstrip(".")) if text else type(error).__name__
