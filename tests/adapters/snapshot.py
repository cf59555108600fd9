"""A deep snapshot of a module tree, to prove that detaching leaves nothing behind. Knows nothing of pruners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn


def snapshot(model: nn.Module) -> dict[str, Any]:
    """Everything about ``model`` that attaching could change, by path.

    Types, training flags, every attribute's identity, every entry of the hook, parameter, buffer and
    submodule tables, versions of parameters and buffers (they count in-place writes), and configs by value.
    """
    return dict(_entries(model))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Paths that differ, with what was there and what is now."""
    paths = [*before, *(path for path in after if path not in before)]
    return [
        f"{path}: {before.get(path, 'absent')} -> {after.get(path, 'absent')}"
        for path in paths
        if before.get(path, "absent") != after.get(path, "absent")
    ]


def _entries(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules(remove_duplicate=False):
        where = name or "(root)"
        yield f"{where} type", (type(module), type(module).__mro__)
        yield f"{where} attributes", tuple(vars(module))
        for key, value in vars(module).items():
            yield f"{where}.{key}", id(value) if not isinstance(value, bool | int | float | str) else value
            if isinstance(value, Mapping):  # hooks, parameters, buffers, submodules
                yield f"{where}.{key} entries", tuple((entry, id(held)) for entry, held in value.items())
        for key, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            yield f"{where}.{key} written", (tensor._version, tensor.requires_grad, tensor.data_ptr())
        for key in ("config", "generation_config"):
            config = getattr(module, key, None)
            if hasattr(config, "to_dict"):
                yield f"{where}.{key} values", repr(sorted(config.to_dict().items()))
                yield f"{where}.{key} attention", getattr(config, "_attn_implementation", None)
