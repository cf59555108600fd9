"""Find plugins: entry points in the group ``scope_core``, each loaded in isolation.

A plugin that cannot be loaded causes one warning, and a `Failure` that is quoted when somebody asks for a name that the
plugin may have registered. The order of parts never depends on install order. This is the only module that reads the
environment:

* ``SCOPE_DISABLE_PLUGINS``: comma separated names of distributions or entry points to skip.
* ``SCOPE_STRICT_PLUGINS``: any value except empty or 0 turns a broken plugin into an error.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
import warnings
from collections.abc import Mapping

from scope_core.errors import PluginError, did_you_mean, listed
from scope_core.registry.kinds import HOME
from scope_core.registry.loading import Source, collect
from scope_core.registry.observers import PluginWarning
from scope_core.registry.records import Origin
from scope_core.registry.registry import Registry

GROUP = "scope_core"


@functools.cache
def default_registry() -> Registry:
    """The registry of this process, built on first use and then frozen."""
    return discover()


def _rebuild(prefer: Mapping[str, str] | None) -> Registry:
    """The registry that a pickled one becomes: made from the plugins that are installed in this process."""
    return discover(prefer=prefer) if prefer else default_registry()


def discover(*, prefer: Mapping[str, str] | None = None) -> Registry:
    """Load every installed plugin.

    Args:
        prefer: ``{part name: distribution}`` for names that two distributions register.

    Raises:
        PluginError: a plugin is broken and ``SCOPE_STRICT_PLUGINS`` is set.
    """
    disabled = {_plain(name) for name in os.environ.get("SCOPE_DISABLE_PLUGINS", "").split(",") if name.strip()}
    strict = os.environ.get("SCOPE_STRICT_PLUGINS", "") not in ("", "0")
    used: list[Source] = []
    skipped: list[str] = []
    found = _entry_points()
    for source in sorted(found, key=_order):
        origin = source[0]
        if disabled & {_plain(origin.distribution), _plain(origin.entry_point)}:
            skipped.append(f"{origin.entry_point} ({origin.distribution})")
        else:
            used.append(source)
    names = {_plain(name) for source in found for name in (source[0].distribution, source[0].entry_point)}
    if disabled - names:
        warnings.warn(
            f"SCOPE_DISABLE_PLUGINS has names that are not installed: {listed(disabled - names)}"
            f"{did_you_mean(min(disabled - names), names)}",
            PluginWarning,
            stacklevel=2,
        )
    records, failures, manager = collect(used)
    for failure in failures:
        if strict:
            raise PluginError(str(failure))
        warnings.warn(
            f"{failure}. Everything else works; to silence this warning, fix or uninstall the plugin, or set "
            f"SCOPE_DISABLE_PLUGINS={_name_to_disable(failure.origin)}",
            PluginWarning,
            stacklevel=2,
        )
    registry = Registry(records, failures=failures, prefer=prefer, manager=manager, disabled=skipped)
    registry.made_by = _rebuild, (prefer,)
    return registry


def _name_to_disable(origin: Origin) -> str:
    """The value of SCOPE_DISABLE_PLUGINS that disables a plugin; never all of scope-core."""
    return origin.entry_point if origin.distribution == HOME else origin.distribution


def _entry_points() -> list[Source]:
    sources: list[Source] = []
    seen: dict[str, int] = {}
    for number, distribution in enumerate(importlib.metadata.distributions()):
        for point in distribution.entry_points.select(group=GROUP):
            name, version = _identity(distribution)
            if seen.setdefault(_plain(name), number) == number:  # the first on the path shadows others with its name
                sources.append((Origin(name, version, point.name, point.value), point.load))
    return sources


def _identity(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Name and version; the remains of a broken uninstall may have neither."""
    try:
        return distribution.name or "(unnamed)", distribution.version or ""
    except Exception:  # the exception differs between versions of Python
        return "(unnamed)", ""


def _order(source: Source) -> tuple[bool, str, str, str]:
    """Sort key: built-in parts first, then by name."""
    origin = source[0]
    return (origin.distribution != HOME, str(origin), origin.entry_point, origin.module)


def _plain(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
