"""Backbones larger than one device: accelerate distributes their weights over GPUs, memory and disk.

An offloaded weight is a tensor without values (on torch's meta device) in its module. It is fetched when the
module computes, and freed right after.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import set_checkpoint_early_stop

from rankprobe.backbone.device_map import parse_device_map
from rankprobe.errors import RankprobeError


def offload(load: Callable[..., Any], device_map: str) -> Any:
    """Call `load` with the arguments of `from_pretrained` for a device map; returns the network.

    Weights that cannot be read from their own file again are written to a temporary folder. It is removed
    with the network or at exit.

    Raises:
        RankprobeError: accelerate is not installed, a GPU does not exist, or the device map is invalid.
    """
    placement = parse_device_map(device_map)
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise RankprobeError(
            "--device-map needs accelerate, which is not installed: pip install 'rankprobe[accelerate]'"
        ) from None
    missing = [d for d in placement.get("max_memory", ()) if d != "cpu" and d >= torch.cuda.device_count()]
    if missing:
        raise RankprobeError(
            f"device_map is '{device_map}' and there is no GPU {missing[0]}; see what there is: rankprobe env"
        )
    folder = tempfile.mkdtemp(prefix="rankprobe-offload-")
    try:
        network = load(**placement, offload_folder=folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(network, shutil.rmtree, folder, ignore_errors=True)
    if is_offloaded(network):
        _note_fetched_weights(network)
    return network


def is_offloaded(network: Any) -> bool:
    """Whether hooks move weights or inputs. They do not if one device has memory for all weights."""
    return hasattr(network, "hf_device_map")


def runs_on(module: Any) -> torch.device:
    """The device on which a module with a weight computes."""
    hook = getattr(module, "_hf_hook", None)
    return torch.device(module.weight.device if hook is None else hook.execution_device)


def values(module: Any, name: str) -> Tensor:
    """A weight or buffer of a module with its values; an offloaded one is fetched."""
    tensor = getattr(module, name)
    return module._hf_hook.weights_map[name] if tensor.is_meta else tensor


@contextmanager
def refetch_weights(network: Any) -> Iterator[None]:
    """Inside this context autograd does not save fetched weights; the backward pass fetches them again.

    Otherwise all weights would be in memory at once between the two passes. Blocks are recomputed to their
    end: torch would stop early by an exception, and a module that ends by an exception keeps its weights.
    """
    if not is_offloaded(network):
        yield
        return

    def pack(tensor: Tensor) -> Any:
        # Detached: an output that its own operation saves would otherwise keep itself alive.
        return _source(network, tensor) or tensor.detach()

    def unpack(saved: Any) -> Tensor:
        return saved if isinstance(saved, Tensor) else saved()

    with set_checkpoint_early_stop(False), saved_tensors_hooks(pack, unpack):
        yield


def is_fetched(network: Any, tensor: Tensor) -> bool:
    """Whether a tensor is a fetched weight, or a view of one."""
    return is_offloaded(network) and _source(network, tensor) is not None


def _source(network: Any, tensor: Tensor) -> Callable[[], Tensor] | None:
    """A function that fetches this view of a weight again; None for other tensors."""
    module, name = network.fetched.get(_place(tensor), (None, ""))
    if module is None or _place(getattr(module, name)) != _place(tensor):
        return None
    view = tensor.size(), tensor.stride(), tensor.storage_offset()
    return partial(_again, module._hf_hook.weights_map, name, tensor.device, tensor.dtype, view)


def _again(
    weights: Mapping[str, Tensor], name: str, device: torch.device, dtype: torch.dtype, view: tuple[Any, ...]
) -> Tensor:
    return weights[name].to(device, dtype).as_strided(*view)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _note_fetched_weights(network: Any) -> None:
    """Maintain `network.fetched`: from the address of each fetched weight to its module and name.

    A module gets its own tensors without values back, not new ones, so tied weights stay tied. accelerate has
    no seam to extend a hook that it has attached, so the class of the hook is changed.
    """
    from accelerate.hooks import AlignDevicesHook

    class Noting(AlignDevicesHook):
        def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
            moved = super().pre_forward(module, *args, **kwargs)
            for name, weight in module.named_parameters(recurse=False):
                network.fetched[_place(weight)] = module, name
            return moved

        def post_forward(self, module: Any, output: Any) -> Any:
            for weight in module.parameters(recurse=False):
                network.fetched.pop(_place(weight), None)
            moved = super().post_forward(module, output)
            module._parameters.update(without_values[module])
            return moved

    network.fetched, without_values = {}, {}
    for module in network.modules():
        hook = getattr(module, "_hf_hook", None)
        if type(hook) is AlignDevicesHook and hook.offload:
            hook.__class__ = Noting
            without_values[module] = dict(module._parameters)
