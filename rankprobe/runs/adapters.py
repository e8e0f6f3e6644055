"""PEFT adapters that hold a soft prompt: their config, and adapters on the Hugging Face hub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rankprobe.errors import RankprobeError
from rankprobe.hub import COMMIT, HubPlace, from_hub, hub_place
from rankprobe.lfs import check_lfs
from rankprobe.runs.tensor_files import guarded

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PROMPT_TYPES = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "CPT")
"""PEFT types whose `prompt_embeddings` go before the word embeddings of a text. For P-tuning, PEFT saves the
output of the prompt network; for CPT, the sum of the initial word embeddings and the trained part."""
KEY_VALUE_TYPES = ("PREFIX_TUNING", "CARTRIDGE")
"""PEFT types whose `prompt_embeddings` go before the keys and values of all layers."""
MAX_BYTES = 256 * 2**20
"""A larger file of weights is not fetched: a prompt of 1000 x 16384 has 66 MB."""


def prompt_config(path: Path, name: str) -> dict[str, Any]:
    """Read the config of an adapter with prompt tokens.

    Args:
        path: its `adapter_config.json`.
        name: what the adapter is called in messages.

    Raises:
        RankprobeError: the file cannot be read, or the adapter has another type.
    """
    check_lfs(path)
    config = guarded(path, lambda: json.loads(path.read_bytes()))
    kind = str(config.get("peft_type") if isinstance(config, dict) else None)
    if kind not in PROMPT_TYPES:
        reason = "it holds keys and values of the layers; " if kind in KEY_VALUE_TYPES else ""
        raise RankprobeError(
            f"the adapter in '{name}' is of type {kind}; expected one of {', '.join(PROMPT_TYPES)}: "
            f"{reason}only these types hold prompt tokens"
        )
    return config


def hub_adapter(place: HubPlace) -> Path:
    """Return the folder in the cache with config and weights of an adapter on the hub.

    What is in the cache is used without a request. Otherwise the config is fetched, then, if it is that of a
    prompt, the weights; only safetensors, as a pickle could run code.

    Raises:
        RankprobeError: there is no such repository, revision or file, the hub cannot be reached, the adapter
            has another type, or its weights are larger than `MAX_BYTES`.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RevisionNotFoundError

    def fetch(name: str, revision: str | None, local: bool) -> Path:
        try:
            if not local:
                size = get_hf_file_metadata(hf_hub_url(place.hub_id, name, revision=revision)).size
                if size is not None and size > MAX_BYTES:
                    raise RankprobeError(
                        f"{name} of '{place}' has {size / 2**20:.0f} MiB; expected a prompt, of at most "
                        f"{MAX_BYTES // 2**20} MiB"
                    )
            return Path(hf_hub_download(place.hub_id, name, revision=revision, local_files_only=local))
        except LocalEntryNotFoundError:
            raise
        except RevisionNotFoundError:
            raise RankprobeError(
                f"'{place.hub_id}' has no revision '{place.revision}'; give a branch, a tag or a commit"
            ) from None
        except EntryNotFoundError:
            raise RankprobeError(
                f"'{place}' has no {name}; expected an adapter saved by PEFT as safetensors"
            ) from None

    def load(local: bool) -> Path:
        config = fetch(ADAPTER_CONFIG, place.revision, local)
        folder = config.parent
        if COMMIT.fullmatch(folder.name) is None:
            raise RankprobeError(
                f"the hub gives '{folder.name}' as the commit of '{place}'; expected 40 digits"
            )
        prompt_config(config, str(place))
        fetch(ADAPTER_WEIGHTS[0], folder.name, local)
        return folder

    return from_hub(
        load, "adapter", place.hub_id, dataset=False, offline="give the folder or a file of a prompt"
    )


def pinned_place(place: str) -> str:
    """Replace the revision of `hub:ORG/NAME@REVISION` by its commit; any other place is returned as it is.

    Raises:
        RankprobeError: as for `hub_adapter`.
    """
    named = hub_place(place)
    if named is None or named.pinned:
        return place
    return str(replace(named, revision=hub_adapter(named).name))
