"""A pretend accelerator: a torch device whose tensors live in the CPU's memory and are computed by its kernels.

torch keeps one device type for backends outside of it (PrivateUse1). `register` claims it for this process under
the name `pretend`; this cannot be undone, and must happen before the first backward pass of the process. A tensor
of the device is a `PretendTensor`, which holds a CPU tensor out of sight: torch, transformers and rankprobe see a
device that is not the CPU, as they would see a GPU.

What it checks that a GPU would check, and what it counts:

- An operation with a device tensor and a CPU tensor of one or more dimensions is refused, except a copy. A CPU
  tensor of no dimensions is allowed where CUDA allows it: in pointwise operations.
- `syncs` counts what makes the host wait for CUDA: reading a number, a copy between host and device in either
  direction that is not `non_blocking`, and results whose shape or Python value depends on data.
- With `without_float64`, float64 tensors are refused, as on MPS.

What it cannot see: kernels that CUDA lacks or that round differently, the order of streams, memory, a generator
of the device used for a CPU tensor, synchronisation inside of a kernel (`torch.linalg`), and CPU tensors among
themselves, which may be computed on where the device was meant.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, ClassVar

import torch
from torch.optim.optimizer import _foreach_supported_types as _optimizer_types
from torch.utils._foreach_utils import _foreach_supported_types as _norm_types

NAME = "pretend"
aten = torch.ops.aten

FACTORIES = """
    arange arange.start arange.start_step empty.memory_format empty_strided eye eye.m full ones zeros scalar_tensor
""".split()
"""Operations without a tensor among their arguments, which cannot be recognised by one."""

COPIES = (aten.copy_.default, aten._to_copy.default, aten._copy_from.default)
DATA_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default)
SCALARS_ALLOWED = {aten.masked_fill.Tensor, aten.masked_fill_.Tensor, aten.fill_.Tensor, *INDEXED}
"""Besides pointwise operations, those that take a CPU tensor of no dimensions."""

syncs: Counter[str] = Counter()
"""How often the host waited for the device, by the function of rankprobe that was responsible."""

without_float64 = False
"""Whether tensors of float64 are refused."""


class PretendTensor(torch.Tensor):
    """A tensor of the device; `raw` has its values, its shape and its strides."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor) -> PretendTensor:
        if without_float64 and raw.dtype == torch.float64:
            raise TypeError("the pretend device has no float64")
        self = torch.Tensor._make_wrapper_subclass(
            cls, raw.shape, raw.stride(), raw.storage_offset(), dtype=raw.dtype, device=torch.device(NAME, 0)
        )
        self.raw = raw
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs, tensors = kwargs or {}, list[torch.Tensor]()
        raw_args, raw_kwargs = (
            _map(_raw, args, tensors),
            {k: _map(_raw, v, tensors) for k, v in kwargs.items()},
        )
        _check_one_device(func, tensors, kwargs.get("generator"))
        _count(func, args, kwargs)
        given = kwargs.get("device")
        if given is not None:
            raw_kwargs["device"] = torch.device("cpu")
        found = func(*raw_args, **raw_kwargs)
        if given is not None and _is_host(given):
            return found
        known = {id(_raw(each)): each for each in tensors}

        def wrapped(raw: torch.Tensor) -> torch.Tensor:
            each = known[id(raw)] if id(raw) in known else cls(raw)
            if each.shape != raw.shape or each.stride() != raw.stride():
                raise NotImplementedError(f"{func} changes the shape of a tensor in place")
            return each

        return _map(wrapped, found)

    def tolist(self) -> Any:
        """torch has no `tolist` for subclasses."""
        return self.cpu().tolist()

    def __repr__(self) -> str:
        return f"PretendTensor({self.raw})"


class PretendGenerator(torch.Generator):
    """Takes the place of `torch.Generator`: also for the device, where it draws the numbers of the CPU's."""

    device: Any = torch.device("cpu")
    addresses: ClassVar[set[int]] = set()
    """Of the device's generators: torch hands a kernel another object for the same generator."""

    def __new__(cls, device: Any = "cpu") -> PretendGenerator:
        self: Any = super().__new__(cls, "cpu")
        self.device = torch.device(device)
        (cls.addresses.discard if _is_host(device) else cls.addresses.add)(self._cdata)
        return self


class Backend:
    """What torch asks of `torch.pretend`."""

    is_available = is_initialized = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    manual_seed_all = staticmethod(lambda seed: None)
    _is_in_bad_fork = staticmethod(lambda: False)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])


def register() -> None:
    """Make `pretend` a device of this process."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend  # not in torch 2.6

    _setup_privateuseone_for_python_backend(NAME, Backend())
    torch.__future__.set_swap_module_params_on_conversion(True)  # else weights that are tied come apart
    for types in (_optimizer_types, _norm_types):
        types.append(PretendTensor)  # as for tensors of CUDA, torch then updates all parameters at once
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        LIBRARY.impl(name, _factory(getattr(getattr(aten, packet), overload or "default")), "PrivateUse1")
    LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")
    LIBRARY.impl("silu_backward", _same_kernel(aten.silu_backward.default), "PrivateUse1")


LIBRARY = torch.library.Library("aten", "IMPL")
"""Its registrations end with it."""


def _factory(op: Any) -> Any:
    def made(*args: Any, **kwargs: Any) -> PretendTensor:
        return PretendTensor(op(*args, **{**kwargs, "device": torch.device("cpu"), "pin_memory": None}))

    return made


def _same_kernel(op: Any) -> Any:
    """A kernel of CPU and CUDA that torch replaces by several operations elsewhere."""
    return lambda *args: PretendTensor(op(*_map(_raw, args)))


def _copy_from(source: Any, to: Any, non_blocking: bool = False) -> Any:
    """What `torch.tensor(…, device=…)` calls without `__torch_dispatch__`."""
    _count(aten._copy_from.default, (source, to, non_blocking), {})
    _raw(to).copy_(_raw(source))
    return to


def _map(change: Any, each: Any, seen: list[torch.Tensor] | None = None) -> Any:
    """`change` applied to the tensors in nested lists and tuples, which are `seen`; other values stay."""
    if isinstance(each, torch.Tensor):
        if seen is not None:
            seen.append(each)
        return change(each)
    return type(each)(_map(change, part, seen) for part in each) if type(each) in (list, tuple) else each


def _raw(each: Any) -> Any:
    return each.raw if isinstance(each, PretendTensor) else each


def _is_host(device: Any) -> bool:
    return torch.device(device).type == "cpu"


def _check_one_device(func: Any, tensors: list[torch.Tensor], generator: torch.Generator | None) -> None:
    """Refuse what CUDA refuses: tensors or generators of two devices."""
    mixed = generator is not None and generator._cdata not in PretendGenerator.addresses
    if func not in COPIES:
        host = [each for each in tensors if not isinstance(each, PretendTensor)]
        scalars = torch.Tag.pointwise in func.tags or func in SCALARS_ALLOWED
        mixed |= any(each.dim() or not scalars for each in host) and len(host) < len(tensors)
    if mixed:
        found = ", ".join(f"{each.device.type} {tuple(each.shape)}" for each in tensors)
        raise RuntimeError(f"{func} got tensors of two devices: {found}")


def _count(func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    """Count the call if it makes the host wait."""
    if func in COPIES:
        to, source = _copied(func, args, kwargs)
        blocking = (
            to != source and args[0].numel() and not (kwargs.get("non_blocking") or args[2:3] == (True,))
        )
        waits = blocking
    elif func in INDEXED:
        waits = any(each is not None and each.dtype == torch.bool for each in args[1])
    else:
        waits = bool(DATA_DEPENDENT & set(func.tags))
    if waits:
        syncs[_who(func)] += 1


def _copied(func: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a copy goes to the host, and whether it comes from there."""
    if func is aten._to_copy.default:
        source = _is_host(args[0].device)
        return (source if kwargs.get("device") is None else _is_host(kwargs["device"])), source
    one, other = args[:2]
    to, source = (other, one) if func is aten._copy_from.default else (one, other)
    return _is_host(to.device), _is_host(source.device)


def _who(func: Any) -> str:
    """The function of rankprobe that is responsible, or in a backward pass, the operation."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("rankprobe."):
            return f"{module.removeprefix('rankprobe.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return str(func)
