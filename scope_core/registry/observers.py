"""Observer hooks: plugins that are told of events and change nothing."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import pluggy


class Observed(Protocol):
    """An object with a plugin manager, such as a registry."""

    @property
    def manager(self) -> pluggy.PluginManager | None:
        """The manager whose observers are called."""


class PluginWarning(UserWarning):
    """A plugin could not be loaded, or an observer raised."""


def observed(registry: Observed, hook: str) -> bool:
    """True if any plugin implements this observer hook."""
    return registry.manager is not None and bool(getattr(registry.manager.hook, hook).get_hookimpls())


def observe(registry: Observed, hook: str, **event: Any) -> None:
    """Call an observer hook; an observer that raises causes a warning that names it, never an error."""
    if registry.manager is None:
        return
    for impl in getattr(registry.manager.hook, hook).get_hookimpls():
        try:
            impl.function(*(event[name] for name in impl.argnames))
        except Exception as error:  # an observer must not break the model's forward pass
            text = f"observer {hook} of plugin '{impl.plugin_name}' raised {error!r}"
            warnings.warn(text, PluginWarning, stacklevel=2)
