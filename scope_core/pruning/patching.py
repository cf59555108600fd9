"""Reaching into a host's objects by path, and changing an attribute so that it can be put back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from scope_core.errors import AdapterError, did_you_mean, listed


def resolve(root: Any, path: str, *, what: str) -> Any:
    """The object at the dotted ``path`` below ``root``.

    Raises:
        AdapterError: names the deepest prefix that exists and the names near the missing one.
    """
    here, done = root, type(root).__name__
    for step in path.split("."):
        if not hasattr(here, step):
            names = [n for n in getattr(here, "_modules", {}) or vars(here) if not n.startswith("_")]
            raise AdapterError(
                f"{what}: there is no '{path}' in {type(root).__name__}; {done} exists ({type(here).__name__}) but "
                f"has no '{step}'{did_you_mean(step, names)}. It has: {listed(names)}. The model class may "
                f"have moved it in this "
                f"release; see `scope doctor`"
            )
        here, done = getattr(here, step), f"{done}.{step}"
    return here


def replace_attribute(owner: Any, name: str, value: Callable[..., Any], undo: ExitStack) -> None:
    """Set an instance attribute, and push what restores exactly what was there (or nothing)."""
    had, old = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)

    def restore() -> None:
        if vars(owner).get(name) is not value:
            return  # somebody wrapped it after us; our wrapper passes calls through once detached
        if had:
            setattr(owner, name, old)
        else:
            delattr(owner, name)

    undo.callback(restore)
