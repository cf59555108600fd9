"""The registry: an ordinary, immutable object that knows every part by kind and name.

It is filled by `scope_core.registry.discovery` and never by import side effects. Core code never looks a name up
except on behalf of a spec.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from scope_core.errors import (
    PluginConflictError,
    PluginError,
    ScopeError,
    UnknownNameError,
    did_you_mean,
    listed,
)
from scope_core.registry.kinds import HERE, KINDS, kind_named
from scope_core.registry.loading import collect
from scope_core.registry.records import NAME, Failure, Origin, Record
from scope_core.registry.specs import ComponentSpec, Spec, slots_of

if TYPE_CHECKING:
    import pluggy

Making = tuple[Callable[..., "Registry"], tuple[Any, ...]]
"""A function that makes a registry, and its arguments."""


class Registry:
    """Parts, recipes, adapters and zoo entries by kind and name; immutable.

    Args:
        records: Everything that was registered. Two records of one kind and name are a conflict, reported
            when that name is asked for, unless ``prefer`` names the distribution to use.
        failures: Plugins that did not load; quoted when an unknown name is asked for.
        prefer: ``{part name: distribution}`` for names that two distributions give.
        manager: The pluggy manager, for the observer hooks.
    """

    def __init__(
        self,
        records: Iterable[Record] = (),
        *,
        failures: Iterable[Failure] = (),
        prefer: Mapping[str, str] | None = None,
        manager: pluggy.PluginManager | None = None,
        disabled: Iterable[str] = (),
    ) -> None:
        self.failures = tuple(failures)
        self.disabled = tuple(disabled)
        self.manager = manager
        self._prefer = dict(prefer or {})
        self.made_by: Making | None = None
        table: dict[str, dict[str, list[Record]]] = {kind.name: {} for kind in KINDS}
        for record in records:
            table[record.kind.name].setdefault(record.name, []).append(record)
        self._table = MappingProxyType({kind: dict(sorted(names.items())) for kind, names in table.items()})

    def kinds(self) -> list[str]:
        """Every kind of part, in the order of `scope_core.registry.kinds.KINDS`."""
        return list(self._table)

    def names(self, kind: str) -> list[str]:
        """The names registered under ``kind``, sorted."""
        return list(self._table[kind_named(kind).name])

    def has(self, kind: str, name: str) -> bool:
        """Whether ``name`` is registered under ``kind``."""
        return name in self._table[kind_named(kind).name]

    def records(self, kind: str) -> list[Record]:
        """The records of ``kind``, sorted by name; conflicting names are left out."""
        names = self._table[kind_named(kind).name]
        return [self.get(kind, name) for name in names if not self._conflict(kind, name)]

    def get(self, kind: str, name: str) -> Record:
        """The record of ``name``.

        Raises:
            UnknownNameError: nothing is registered under it; quotes plugins that failed to load.
            PluginConflictError: two distributions give it.
        """
        names = self._table[kind_named(kind).name]
        if name not in names:
            raise UnknownNameError(self._unknown(kind, name))
        clash = self._conflict(kind, name)
        if clash:
            owners = " and ".join(f"{r.origin} (entry point '{r.origin.entry_point}')" for r in clash)
            if any(record.origin.distribution == HERE for record in clash):
                raise PluginConflictError(f"{kind} '{name}' is given by {owners}. Rename the part that was added here")
            raise PluginConflictError(
                f"{kind} '{name}' is given by {owners}. Uninstall one, disable one with "
                f"SCOPE_DISABLE_PLUGINS={clash[-1].origin.distribution}, or choose with "
                f"scope_core.discover(prefer={{'{name}': '{clash[0].origin.distribution}'}})"
            )
        return self._candidates(kind, name)[0]

    def default(self, kind: str) -> Record | None:
        """The part used where a spec leaves a slot of ``kind`` out, if there is one."""
        found = [record for record in self.records(kind) if getattr(record.item, "default", False)]
        return found[0] if found else None

    def conflicts(self) -> list[tuple[str, str, list[Record]]]:
        """``(kind, name, records)`` of every name that two distributions give."""
        return [
            (kind, name, clash)
            for kind, names in self._table.items()
            for name in names
            if (clash := self._conflict(kind, name))
        ]

    def build(self, kind: str, spec: ComponentSpec) -> Any:
        """A live part for ``spec``, with the parts in its slots, stamped with where it came from."""
        record = self.get(kind, spec.name)
        target, parts = record.target, self.build_slots(spec)
        try:
            part = target(spec, parts)
            part.kind, part.origin = kind, str(record.origin)
        except ScopeError:
            raise
        except Exception as error:  # a stranger's constructor, or a method it left abstract
            raise PluginError(
                f"{kind} '{spec.name}' ({record.origin}) cannot be built: {type(error).__name__}: {error}"
            ) from error
        return part

    def build_slots(self, spec: Spec) -> dict[str, Any]:
        """``{field: live part}`` for the slots of ``spec``; tuples of parts where a slot holds many."""
        built: dict[str, Any] = {}
        for option, slot in slots_of(type(spec)).items():
            value = getattr(spec, option)
            if slot.many:
                built[option] = tuple(self.build(slot.kind, item) for item in value)
            elif value is not None:
                built[option] = self.build(slot.kind, value)
        return built

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the way in which it was made, which another process follows with what is installed there."""
        if self.made_by is None:
            mine = [record for names in self._table.values() for group in names.values() for record in group]
            return _by_hand, (mine, self.failures, self._prefer, self.disabled)
        function, args = self.made_by
        return function, tuple(_by_name(one) if isinstance(one, ModuleType) else one for one in args)

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Registry:
        return self  # it never changes

    def with_module(self, module: ModuleType | object, *, name: str = "") -> Registry:
        """A new registry that also holds what ``module``'s hooks give; for code that is not packaged.

        Raises:
            PluginError: the module's hooks are misspelt or yield something else than they should.
        """
        records, failures, manager = collect(
            [(Origin(HERE, "", name or _label(module), _label(module)), lambda: module)], base=self.manager
        )
        if failures:
            raise PluginError(str(failures[0]))
        mine = [record for names in self._table.values() for group in names.values() for record in group]
        wider = Registry(
            [*mine, *records], failures=self.failures, prefer=self._prefer, manager=manager, disabled=self.disabled
        )
        wider.made_by = _wider, (self, module, name)
        return wider

    def _candidates(self, kind: str, name: str) -> list[Record]:
        found = self._table[kind][name]
        wanted = self._prefer.get(name)
        return [r for r in found if r.origin.distribution == wanted] or found

    def _conflict(self, kind: str, name: str) -> list[Record]:
        found = self._candidates(kind, name)
        return found if len(found) > 1 else []

    def _unknown(self, kind: str, name: str) -> str:
        names = self.names(kind)
        elsewhere = [other for other in self.kinds() if other != kind and name in self._table[other]]
        text = f"no {kind_named(kind).noun} is called '{name}'{did_you_mean(name, names)}. Installed: {listed(names)}"
        if elsewhere:
            text += f". ('{name}' is the name of a {' and a '.join(elsewhere)})"
        if not any(self._table.values()):
            text += ". No plugins are installed at all: run `pip install scope-core` (or `pip install -e .`)"
        near = bool(did_you_mean(name, names))
        for failure in self.failures:
            if near and name.partition(".")[0] not in f"{failure.origin.distribution} {failure.origin.module}".lower():
                continue  # a misspelt name of something installed is no reason to suspect a stranger
            text += f". Perhaps it belongs to a broken plugin: {failure}; see `scope doctor`"
        known = near or kind == "zoo" or "broken plugin" in text
        if "." in name and NAME.fullmatch(name) and not known:
            text += ". A name with a dot is a plugin's: install its package, or name its file with --plugin FILE.py"
        if self.disabled:
            text += f". Disabled by SCOPE_DISABLE_PLUGINS: {listed(self.disabled)}"
        return text


def _by_hand(records: list[Record], failures: Any, prefer: Mapping[str, str], disabled: Any) -> Registry:
    return Registry(records, failures=failures, prefer=prefer, disabled=disabled)


def _wider(registry: Registry, module: ModuleType | object, name: str) -> Registry:
    return registry.with_module(import_module(module.name) if isinstance(module, _Importable) else module, name=name)


@dataclass(frozen=True)
class _Importable:
    """A module by its name: modules themselves cannot be pickled."""

    name: str


def _by_name(module: ModuleType) -> _Importable:
    if sys.modules.get(module.__name__) is not module:
        raise pickle.PicklingError(
            f"a registry that holds what module '{module.__name__}' gives cannot be pickled: another process could not "
            f"import it by this name. Save it as {module.__name__}.py in a folder on PYTHONPATH and import it, or "
            f"install it as a plugin (scope new plugin)"
        )
    return _Importable(module.__name__)


def _label(module: object) -> str:
    return str(getattr(module, "__name__", type(module).__name__))
