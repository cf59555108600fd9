"""Targets, ``"package.module:Name"``: importing them, and the options that they take."""

from __future__ import annotations

import importlib
import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scope_core.errors import MissingDependencyError, PluginError, ZooError, did_you_mean, listed


def import_target(path: str, where: str, requires: Iterable[str] = ()) -> Any:
    """The object at ``"package.module:Name"``.

    Raises:
        MissingDependencyError: an import failed because a package is missing.
        PluginError: the path is malformed, the object does not exist, or its module raised an error.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        hint = install_command(path, requires)
        raise MissingDependencyError(f"{where} cannot be imported ({path}): {error}. Try: {hint}") from error
    except (AttributeError, ValueError) as error:
        raise PluginError(f"{where}: there is nothing at '{path}': {error}") from error
    except Exception as error:  # importing third-party code may raise anything
        raise PluginError(f"{where} cannot be imported ({path}): {type(error).__name__}: {error}") from error


def options_of_target(function: Callable[..., Any]) -> list[str] | None:
    """Names of the options of a zoo entry's loader, without the source; None if it takes any, or does not tell."""
    try:
        known = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables tell no signature
        return None
    if any(one.kind is one.VAR_KEYWORD for one in known):
        return None
    return [one.name for one in known][1:]


def check_options(function: Callable[..., Any], where: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a loader does not have.

    Raises:
        ZooError: it does not have one of them; says which it has.
    """
    names = options_of_target(function)
    if names is None:
        return
    for name in options:
        if name not in names:
            raise ZooError(f"{where} has no option '{name}'{did_you_mean(name, names)}. Its options: {listed(names)}")


def install_command(path: str, requires: Iterable[str]) -> str:
    """The command that installs the packages of an entry, or shows the entry's own package if it names none."""
    return f"pip install {shlex.join(requires)}" if requires else f"pip show {package_of(path)}"


def package_of(path: str) -> str:
    """``"package"`` of ``"package.module:Name"``."""
    return path.partition(":")[0].partition(".")[0]
