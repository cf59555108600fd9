"""Load plugins, each in isolation; check their hooks, and turn what they yield into records."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import pluggy

from scope_core.errors import PluginError, did_you_mean, listed, quoted
from scope_core.registry import hookspecs
from scope_core.registry.entries import Entry
from scope_core.registry.kinds import HERE, HOME, KINDS, Kind, public_name
from scope_core.registry.records import NAME, Failure, Origin, Record
from scope_core.registry.targets import import_target

Source = tuple[Origin, Callable[[], Any]]


def collect(
    sources: Iterable[Source], *, base: pluggy.PluginManager | None = None
) -> tuple[list[Record], list[Failure], pluggy.PluginManager]:
    """The records of plugins that could be loaded, the failures of the others, and the plugin manager.

    Args:
        sources: ``(origin, loader)`` pairs; a loader returns the plugin module.
        base: A manager whose plugins are also registered with the new one, for its observer hooks.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name, plugin in base.list_name_plugin() if base else ():
        if plugin is not None:
            manager.register(plugin, name)
    records: list[Record] = []
    failures: list[Failure] = []
    for origin, load in sources:
        try:
            plugin = load()
            plugin_records = _records_of(plugin, origin)
            manager.register(plugin, f"{origin.distribution}:{origin.entry_point}")
        except (Exception, SystemExit) as error:  # third-party code may raise anything; never propagate it
            failures.append(Failure(origin, f"{type(error).__name__}: {error}", _fix(error, origin)))
        else:
            records += plugin_records
    return records, failures, manager


class OtherContractError(PluginError):
    """A plugin was built for a version of the contract that this scope-core does not support."""

    def __init__(self, message: str, upgrade: str) -> None:
        super().__init__(message)
        self.upgrade = upgrade


def _fix(error: BaseException, origin: Origin) -> str:
    """The command that would help; empty if none is known."""
    if isinstance(error, OtherContractError):
        return f"pip install --upgrade {error.upgrade}"
    missing = (getattr(error, "name", None) or "").split(".")[0]
    if isinstance(error, ModuleNotFoundError) and missing not in ("", origin.module.split(".")[0]):
        return f"pip install {missing} (or what provides it), which {origin.distribution} needs"
    return ""


def _check_contract(plugin: Any, origin: Origin) -> None:
    """Refuse a plugin that declares another version of the contract; a plugin that declares none is not checked."""
    wanted = inspect.getattr_static(plugin, "scope_contract", None)  # runs no property of a plugin object
    if wanted is None:
        return
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?", wanted) if isinstance(wanted, str) else None
    ours = ".".join(map(str, hookspecs.CONTRACT))
    if match is None:
        raise PluginError(
            f"scope_contract is {quoted(wanted)}; write the version as text, e.g. scope_contract = '{ours}'"
        )
    built = (int(match[1]), int(match[2] or 0))
    if built[0] < hookspecs.CONTRACT[0]:
        raise OtherContractError(
            f"it was built for contract {wanted}, but this {HOME} has {ours}; a newer {origin.distribution} is needed "
            f"(pip install --upgrade {origin.distribution})",
            origin.distribution,
        )
    if built > hookspecs.CONTRACT:
        raise OtherContractError(
            f"it was built for contract {wanted}, newer than this {HOME}'s {ours} (pip install --upgrade {HOME})", HOME
        )


def _records_of(plugin: Any, origin: Origin) -> list[Record]:
    """The records of what a plugin's registration hooks yield; raises at the first error."""
    _check_contract(plugin, origin)
    _check_hook_names(plugin)
    probe = pluggy.PluginManager(hookspecs.PROJECT)
    probe.add_hookspecs(hookspecs)
    probe.register(plugin, origin.entry_point)
    probe.check_pending()
    records: list[Record] = []
    for kind in KINDS:
        for impl in getattr(probe.hook, kind.hook).get_hookimpls():
            items = impl.function()
            if not isinstance(items, Iterable):
                raise PluginError(
                    f"{kind.hook} returned {quoted(items)}; return or yield {kind.item.split(':')[1]} objects"
                )
            records += [_record(item, kind, origin) for item in items]
    return records


def _check_hook_names(plugin: Any) -> None:
    """Refuse misspelt or unmarked hooks, which pluggy would silently ignore."""
    hooks = [name for name in vars(hookspecs) if name.startswith("scope_") and callable(getattr(hookspecs, name))]
    for name in dir(plugin):
        value = inspect.getattr_static(plugin, name)  # runs no property of a plugin object
        mark = getattr(value, f"{hookspecs.PROJECT}_impl", None)
        defined_here = not inspect.ismodule(plugin) or getattr(value, "__module__", "") == plugin.__name__
        if mark is None and name in hooks and inspect.isroutine(value) and defined_here:
            raise PluginError(f"{name} is not marked with @scope_core.parts.hookimpl, so it would never be called")
        if mark is not None and name not in hooks and not mark.get("optionalhook"):
            raise PluginError(f"there is no hook called '{name}'{did_you_mean(name, hooks)}. Hooks: {listed(hooks)}")


def _record(item: Any, kind: Kind, origin: Origin) -> Record:
    wanted = import_target(kind.item, kind.hook)
    if not isinstance(item, wanted):
        raise PluginError(f"{kind.hook} yielded {quoted(item)}, which is not a {public_name(wanted.__name__)}")
    name = item.name
    if not NAME.fullmatch(name.replace("-", "_") if kind.name == "zoo" else name):
        raise PluginError(f"{kind.name} name '{name}' may hold only a-z, 0-9, _ and dots")
    if origin.distribution == HOME or origin.distribution == HERE:
        return Record(kind, item, origin)
    if "." not in name:
        vendor = origin.distribution.lower().replace("-", "_").removeprefix("scope_")
        raise PluginError(
            f"{kind.name} '{name}': names without a dot are reserved for scope-core's own parts; name it "
            f"'{vendor}.{name}'"
        )
    shorthand = isinstance(item, Entry) and item.model is not None and item.model.shorthand
    if getattr(item, "default", False) or shorthand:
        raise PluginError(f"{kind.name} '{name}': only scope-core's own parts may be defaults or have a shorthand")
    return Record(kind, item, origin)
