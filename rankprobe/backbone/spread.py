"""A backbone too large for one device: accelerate spreads its weights over GPUs, memory and disk.

A weight that is kept elsewhere stands in its module as a tensor without values (on torch's meta device). It
is fetched when the module computes and let go right after.
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

from rankprobe.errors import RankprobeError
from rankprobe.settings import placement


def spread(load: Callable[..., Any], device_map: str) -> Any:
    """The network that `load` makes with what `from_pretrained` is to be told.

    Weights that cannot be read from their own file again are written into a temporary folder, which goes
    with the network or at exit.

    Raises:
        RankprobeError: accelerate is missing, a GPU is, or not a device map.
    """
    told = placement(device_map)
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise RankprobeError(
            "--device-map needs accelerate, which is not installed: pip install 'rankprobe[accelerate]'"
        ) from None
    missing = [d for d in told.get("max_memory", ()) if d != "cpu" and d >= torch.cuda.device_count()]
    if missing:
        raise RankprobeError(
            f"device_map is '{device_map}' and there is no GPU {missing[0]}; see what there is: rankprobe env"
        )
    folder = tempfile.mkdtemp(prefix="rankprobe-offload-")
    try:
        network = load(**told, offload_folder=folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(network, shutil.rmtree, folder, ignore_errors=True)
    if is_spread(network):
        _note_fetched_weights(network)
    return network


def is_spread(network: Any) -> bool:
    """Whether hooks move weights or inputs; not so if one device had room for all."""
    return hasattr(network, "hf_device_map")


def runs_on(module: Any) -> torch.device:
    """Where a module with a weight computes."""
    hook = getattr(module, "_hf_hook", None)
    return torch.device(module.weight.device if hook is None else hook.execution_device)


def values(module: Any, name: str) -> Tensor:
    """A module's own weight or buffer with its values, fetched if they are kept elsewhere."""
    tensor = getattr(module, name)
    return module._hf_hook.weights_map[name] if tensor.is_meta else tensor


@contextmanager
def fetching_again(network: Any) -> Iterator[None]:
    """Inside this context autograd keeps no fetched weight: the backward pass fetches it again.

    Otherwise all weights would lie in memory together between the two passes. A block that is recomputed is
    so to its end: torch would leave it early, and a module that is left by an exception keeps its weights.
    """
    if not is_spread(network):
        yield
        return

    def keep(tensor: Tensor) -> Any:
        return _source(network, tensor) or tensor

    def give(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept()

    with set_checkpoint_early_stop(False), saved_tensors_hooks(keep, give):
        yield


def is_fetched(network: Any, tensor: Tensor) -> bool:
    """Whether a tensor is a weight, or a view of one, that was fetched for the moment."""
    return is_spread(network) and _source(network, tensor) is not None


def _source(network: Any, tensor: Tensor) -> Callable[[], Tensor] | None:
    """How to get this view of a weight again, if it is one that was fetched."""
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
    """Keep `network.fetched`, from the place in memory of each fetched weight to its module and name.

    A module gets its own tensors without values back, not new ones, so tied weights stay tied.
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
