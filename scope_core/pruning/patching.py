"""Find objects inside a model by path, and replace attributes so that they can be restored."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from scope_core.errors import AdapterError, did_you_mean, listed


def resolve(root: Any, path: str, *, what: str) -> Any:
    """The object at the dotted ``path`` below ``root``.

    Raises:
        AdapterError: the path does not exist; names the deepest prefix that does, and similar names.
    """
    found, prefix = root, type(root).__name__
    for step in path.split("."):
        if not hasattr(found, step):
            names = [n for n in getattr(found, "_modules", {}) or vars(found) if not n.startswith("_")]
            raise AdapterError(
                f"{what}: there is no '{path}' in {type(root).__name__}; {prefix} exists ({type(found).__name__}) but "
                f"has no '{step}'{did_you_mean(step, names)}. It has: {listed(names)}. The model class may "
                f"have moved it in this "
                f"release; see `scope doctor`"
            )
        found, prefix = getattr(found, step), f"{prefix}.{step}"
    return found


def replace_attribute(owner: Any, name: str, value: Callable[..., Any], undo: ExitStack) -> None:
    """Set an instance attribute, and push a callback on ``undo`` that restores the old value or deletes it."""
    had, old = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)

    def restore() -> None:
        if vars(owner).get(name) is not value:
            return  # other code has wrapped it since; our wrapper passes calls through once detached
        if had:
            setattr(owner, name, old)
        else:
            delattr(owner, name)

    undo.callback(restore)
