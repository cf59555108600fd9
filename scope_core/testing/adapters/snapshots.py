"""A deep snapshot of a module tree, to prove that detaching leaves nothing behind. Independent of pruners."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.modules import module as torch_module

Snapshot = Mapping[str, Any]
"""``{path: value}``; `diff` compares two."""

_PLAIN = (bool, int, float, str, bytes, type(None))
_CONFIGS = ("config", "generation_config")


class _Same:
    """Equal to itself only; keeps the object alive, so that its id is not given to another."""

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)

    def __repr__(self) -> str:
        return f"{type(self.held).__name__} at {id(self.held):#x}"


def snapshot(model: nn.Module, *, values: bool = False) -> Snapshot:
    """Everything about ``model`` that attaching could change, by path.

    Classes and what they define, training flags, every attribute and the entries of every container among them
    (hooks, parameters, buffers, submodules, lists), in-place writes to parameters and buffers, configs by value
    with their attention implementation, and torch's own global hooks. Parameters are not copied.

    Args:
        model: The root of the tree.
        values: Also take sums of parameters and buffers, which finds writes that bypass autograd; reads all of them.
    """
    return dict(_entries(model, values))


def diff(before: Snapshot, after: Snapshot, *, ignore: Container[str] = ()) -> list[str]:
    """Paths that differ, with the old and the new value; empty if nothing changed.

    Args:
        before: The earlier snapshot.
        after: The later one.
        ignore: Paths that may differ, e.g. those that the model's own calls write to.
    """
    return [
        f"{path}: {before.get(path, 'absent')} -> {after.get(path, 'absent')}"
        for path in changed(before, after)
        if path not in ignore
    ]


def changed(before: Snapshot, after: Snapshot) -> list[str]:
    """Paths that differ."""
    paths = [*before, *(path for path in after if path not in before)]
    return [path for path in paths if before.get(path, "absent") != after.get(path, "absent")]


def _entries(model: nn.Module, values: bool) -> Iterator[tuple[str, Any]]:
    classes: dict[type, None] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        where = name or "(root)"
        yield f"{where} class", _Same(type(module))
        classes.update(dict.fromkeys(type(module).__mro__))
        for key, value in vars(module).items():
            yield from _value(f"{where}.{key}", value)
        for key, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            yield f"{where}.{key} written", (tensor._version, tensor.requires_grad, tensor.data_ptr())
            if values and not tensor.is_meta:
                wide = tensor.detach().double()
                yield f"{where}.{key} sums", repr((wide.sum().item(), wide.abs().sum().item()))
        for key in _CONFIGS:
            config: Any = getattr(module, key, None)
            if hasattr(config, "to_dict"):
                yield f"{where}.{key} values", repr(sorted(config.to_dict().items(), key=lambda item: str(item[0])))
                yield f"{where}.{key} attention", getattr(config, "_attn_implementation", None)
    for found in classes:
        if found is not object:
            for key, value in vars(found).items():
                yield f"class {found.__module__}.{found.__qualname__}.{key}", _Same(value)
    for key, value in vars(torch_module).items():
        if key.startswith("_global_") and isinstance(value, Mapping):
            yield from _value(f"torch.{key}", value)


def _value(where: str, value: Any) -> Iterator[tuple[str, Any]]:
    yield where, value if isinstance(value, _PLAIN) else _Same(value)
    if isinstance(value, Mapping):
        yield f"{where} entries", tuple((key, _Same(held)) for key, held in value.items())
    elif isinstance(value, list | tuple):
        yield f"{where} entries", tuple(held if isinstance(held, _PLAIN) else _Same(held) for held in value)
    elif isinstance(value, set | frozenset):
        yield f"{where} entries", frozenset(held if isinstance(held, _PLAIN) else _Same(held) for held in value)
