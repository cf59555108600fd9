"""Finding plugins: entry points in the group ``scope_core``, each loaded in isolation.

A plugin that cannot be loaded harms nothing: it becomes one warning and a `Failure` that is quoted when
somebody asks for a name it might have given. Order never depends on install order. This is the only
module that reads the environment:

* ``SCOPE_DISABLE_PLUGINS``: comma separated distribution or entry-point names to leave out.
* ``SCOPE_STRICT_PLUGINS``: anything but empty or 0 turns a broken plugin into an error.
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


def _again(prefer: Mapping[str, str] | None) -> Registry:
    """What a pickled registry becomes: this process' own, or another choice between what is installed here."""
    return discover(prefer=prefer) if prefer else default_registry()


def discover(*, prefer: Mapping[str, str] | None = None) -> Registry:
    """Load every installed plugin.

    Args:
        prefer: ``{part name: distribution}`` for names that two distributions give.

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
            f"SCOPE_DISABLE_PLUGINS names nothing that is installed: {listed(disabled - names)}"
            f"{did_you_mean(min(disabled - names), names)}",
            PluginWarning,
            stacklevel=2,
        )
    records, failures, manager = collect(used)
    for failure in failures:
        if strict:
            raise PluginError(str(failure))
        warnings.warn(
            f"{failure}. Everything else works; to silence this, fix or uninstall it, or set "
            f"SCOPE_DISABLE_PLUGINS={_switch(failure.origin)}",
            PluginWarning,
            stacklevel=2,
        )
    registry = Registry(records, failures=failures, prefer=prefer, manager=manager, disabled=skipped)
    registry.made_by = _again, (prefer,)
    return registry


def _switch(origin: Origin) -> str:
    """What to put into SCOPE_DISABLE_PLUGINS; never all of scope-core."""
    return origin.entry_point if origin.distribution == HOME else origin.distribution


def _entry_points() -> list[Source]:
    sources: list[Source] = []
    seen: dict[str, int] = {}
    for number, distribution in enumerate(importlib.metadata.distributions()):
        for point in distribution.entry_points.select(group=GROUP):
            name, version = _identity(distribution)
            if seen.setdefault(_plain(name), number) == number:  # the first on the path shadows others of its name
                sources.append((Origin(name, version, point.name, point.value), point.load))
    return sources


def _identity(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Name and version; leftovers of a broken uninstall may have neither."""
    try:
        return distribution.name or "(unnamed)", distribution.version or ""
    except Exception:  # what is raised differs between versions of Python
        return "(unnamed)", ""


def _order(source: Source) -> tuple[bool, str, str, str]:
    """Built-ins first, then by name: never by install order."""
    origin = source[0]
    return (origin.distribution != HOME, str(origin), origin.entry_point, origin.module)


def _plain(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
