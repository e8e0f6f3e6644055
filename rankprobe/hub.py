"""The Hugging Face hub: try the local cache first, then ask the hub one quick question, then download."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from rankprobe.errors import RankprobeError
from rankprobe.logger import log

Found = TypeVar("Found")
Arguments = ParamSpec("Arguments")
TIMEOUT = 10
"""Seconds to wait for the hub's first answer."""

SECRET = re.compile(r"(?<=://)[^/\s@]+(?=@)|hf_[A-Za-z0-9]{30,}")
"""A login in a web address, or a hub token; clients and servers may repeat them in their error messages."""


_LOADING = threading.RLock()


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


def first_line(error: Exception) -> str:
    """Return the first line of an error message without its full stop; passwords and tokens become ***."""
    text = str(error).strip()
    return SECRET.sub("***", text.splitlines()[0].rstrip(".")) if text else type(error).__name__
