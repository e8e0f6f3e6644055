"""Peak memory of the tensors of a computation, on any device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakMemory(TorchDispatchMode):
    """Inside this context, `peak` is the peak number of bytes in newly allocated storages.

    Operations of the backward pass count too. Not counted: storages that existed before, and scratch memory
    inside one operation.
    """

    def __init__(self, left_out: Callable[[Tensor], bool] = lambda tensor: False) -> None:
        """`left_out` decides which new tensors are not counted."""
        super().__init__()
        self.left_out = left_out
        self.peak = 0
        self._now = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_storage(each) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        for each in tree_leaves(result):
            if isinstance(each, Tensor) and _storage(each) not in given:
                self._count(each)
        return result

    def _count(self, tensor: Tensor) -> None:
        """Count the tensor's storage until it is freed, which may be later than the tensor."""
        if tensor.is_meta or _storage(tensor) in self._alive or self.left_out(tensor):
            return
        storage, place = tensor.untyped_storage(), _storage(tensor)
        size = storage.nbytes()

        def freed(_: object) -> None:
            del self._alive[place]
            self._now -= size

        self._alive[place] = weakref.ref(storage, freed)
        self._now += size
        self.peak = max(self.peak, self._now)


def _storage(tensor: Tensor) -> int:
    """Identifies the storage of a tensor among the storages that are alive."""
    return tensor.untyped_storage()._cdata
