"""`Registry`: every part by kind and name; an ordinary, immutable object.

It is filled by `scope_core.registry.discovery`, never by import side effects. Core code looks a name up only on behalf
of a spec.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from scope_core.display import card, code_html, table_html
from scope_core.errors import (
    PluginConflictError,
    PluginError,
    ScopeError,
    UnknownNameError,
    choices,
    did_you_mean,
    listed,
    quoted,
)
from scope_core.registry.kinds import HERE, KINDS, kind_named
from scope_core.registry.loading import collect
from scope_core.registry.patterns import matching
from scope_core.registry.records import NAME, Failure, Origin, Record
from scope_core.registry.specs import ComponentSpec, Spec, slots_of

if TYPE_CHECKING:
    import pluggy

Construction = tuple[Callable[..., "Registry"], tuple[Any, ...]]
"""A function that makes a registry, and its arguments."""


class Registry:
    """Parts, recipes, adapters and zoo entries by kind and name; immutable.

    Args:
        records: Everything that was registered. Two records of one kind and name are a conflict, reported
            when that name is looked up, unless ``prefer`` names the distribution to use.
        failures: Plugins that did not load; quoted when an unknown name is looked up.
        prefer: ``{part name: distribution}`` for names that two distributions register.
        manager: The pluggy manager, for the observer hooks.
        disabled: Names of plugins that were disabled; quoted when an unknown name is looked up.
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
        self.made_by: Construction | None = None
        table: dict[str, dict[str, list[Record]]] = {kind.name: {} for kind in KINDS}
        for record in records:
            table[record.kind.name].setdefault(record.name, []).append(record)
        self._table = MappingProxyType({kind: dict(sorted(names.items())) for kind, names in table.items()})

    def __repr__(self) -> str:
        count = sum(len(names) for names in self._table.values())
        broken = f", {len(self.failures)} broken" if self.failures else ""
        return f"Registry({count} names of {len(self._table)} kinds{broken})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the names of each kind."""
        rows = []
        for kind, names in self._table.items():
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            rows.append((kind, len(names), ", ".join([*names][:12]) + more))
        broken = code_html("\n".join(map(str, self.failures))) if self.failures else ""
        return card("Registry", table_html(("kind", "", "names"), rows, len(rows)), broken)

    def kinds(self) -> list[str]:
        """Every kind of part, in the order of `scope_core.registry.kinds.KINDS`."""
        return list(self._table)

    def names(self, kind: str, pattern: str | Iterable[str] = "*", *, exclude: str | Iterable[str] = ()) -> list[str]:
        """The names registered under ``kind``, sorted; maybe none.

        Args:
            kind: A kind of part.
            pattern: A pattern of names such as ``"vis*"``, or several.
            exclude: Patterns of names to leave out.
        """
        return matching(self._table[kind_named(kind).name], pattern, exclude)

    def has(self, kind: str, name: str) -> bool:
        """True if ``name`` is registered under ``kind``."""
        return name in self._table[kind_named(kind).name]

    def records(self, kind: str) -> list[Record]:
        """The records of ``kind``, sorted by name; conflicting names are left out."""
        names = self._table[kind_named(kind).name]
        return [self.get(kind, name) for name in names if not self._conflict(kind, name)]

    def get(self, kind: str, name: str) -> Record:
        """The record of ``name``.

        Raises:
            UnknownNameError: nothing is registered under ``name``; quotes plugins that failed to load.
            PluginConflictError: two distributions register it.
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
        """The part used if a spec leaves a slot of ``kind`` out; None if the kind has no default."""
        return next((record for record in self.records(kind) if getattr(record.item, "default", False)), None)

    def conflicts(self) -> list[tuple[str, str, list[Record]]]:
        """``(kind, name, records)`` of every name that two distributions register."""
        return [
            (kind, name, clash)
            for kind, names in self._table.items()
            for name in names
            if (clash := self._conflict(kind, name))
        ]

    def build(self, kind: str, spec: ComponentSpec) -> Any:
        """The part that ``spec`` describes, with the parts in its slots; its ``kind`` and ``origin`` are set."""
        record = self.get(kind, spec.name)
        target, parts = record.target, self.build_slots(spec)
        try:
            part = target(spec, parts)
            part.kind, part.origin = kind, str(record.origin)
        except ScopeError:
            raise
        except Exception as error:  # third-party constructors may raise anything, or leave a method abstract
            raise PluginError(
                f"{kind} '{spec.name}' ({record.origin}) cannot be built: {type(error).__name__}: {error}"
            ) from error
        return part

    def build_named(self, kind: str, name: str, **options: Any) -> Any:
        """The live part called ``name``, with these options and the defaults of the others.

        Raises:
            ScopeError: there is no such part, or it cannot be built.
            ValidationError: the options are wrong, or one without a default is missing.
        """
        spec = self.get(kind, name).spec
        return self.build(kind, spec.model_validate({"name": name, **options}, context={"registry": self}))

    def build_slots(self, spec: Spec) -> dict[str, Any]:
        """``{field: part}`` for the slots of ``spec``; a tuple of parts for a slot that holds many."""
        built: dict[str, Any] = {}
        for option, slot in slots_of(type(spec)).items():
            value = getattr(spec, option)
            if slot.many:
                built[option] = tuple(self.build(slot.kind, item) for item in value)
            elif value is not None:
                built[option] = self.build(slot.kind, value)
        return built

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as the call that made it, which another process repeats with the plugins installed there."""
        if self.made_by is None:
            return _by_hand, (self._all_records(), self.failures, self._prefer, self.disabled)
        function, args = self.made_by
        return function, tuple(_by_name(arg) if isinstance(arg, ModuleType) else arg for arg in args)

    def __copy__(self) -> Registry:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Registry:
        return self  # it never changes

    def with_module(self, module: ModuleType | object, *, name: str = "") -> Registry:
        """A new registry that also holds what ``module``'s hooks yield; for code that is not packaged.

        Args:
            module: A module with hooks, or any object with them as attributes.
            name: Name of the plugin in messages; the module's name if left out.

        Raises:
            PluginError: the module's hooks are misspelt or yield the wrong type.
        """
        records, failures, manager = collect(
            [(Origin(HERE, "", name or _label(module), _label(module)), lambda: module)], base=self.manager
        )
        if failures:
            raise PluginError(str(failures[0]))
        extended = Registry(
            [*self._all_records(), *records],
            failures=self.failures,
            prefer=self._prefer,
            manager=manager,
            disabled=self.disabled,
        )
        extended.made_by = _extend, (self, module, name)
        return extended

    def _all_records(self) -> list[Record]:
        return [record for names in self._table.values() for group in names.values() for record in group]

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
        text = f"no {kind_named(kind).noun} is called {quoted(name)}{did_you_mean(name, names)}"
        text += f". Installed: {choices(names)}"
        if elsewhere:
            text += f". ('{name}' is the name of a {' and a '.join(elsewhere)})"
        if not any(self._table.values()):
            text += ". No plugins are installed at all: run `pip install scope-core` (or `pip install -e .`)"
        near = bool(did_you_mean(name, names))
        for failure in self.failures:
            if near and name.partition(".")[0] not in f"{failure.origin.distribution} {failure.origin.module}".lower():
                continue  # probably a misspelt name of something installed, not a name of the broken plugin
            text += f". Perhaps it belongs to a broken plugin: {failure}; see `scope doctor`"
        known = near or kind == "zoo" or "broken plugin" in text
        if "." in name and NAME.fullmatch(name) and not known:
            text += ". Names with a dot belong to plugins: install the package, or pass the file with --plugin FILE.py"
        if self.disabled:
            text += f". Disabled by SCOPE_DISABLE_PLUGINS: {listed(self.disabled)}"
        return text


def _by_hand(records: list[Record], failures: Any, prefer: Mapping[str, str], disabled: Any) -> Registry:
    return Registry(records, failures=failures, prefer=prefer, disabled=disabled)


def _extend(registry: Registry, module: ModuleType | object, name: str) -> Registry:
    return registry.with_module(import_module(module.name) if isinstance(module, _Importable) else module, name=name)


@dataclass(frozen=True)
class _Importable:
    """A module's name, pickled in place of the module, which cannot be pickled."""

    name: str


def _by_name(module: ModuleType) -> _Importable:
    if sys.modules.get(module.__name__) is not module:
        raise pickle.PicklingError(
            f"a registry with parts of module '{module.__name__}' cannot be pickled: another process could not import "
            f"the module by this name. Save it as {module.__name__}.py in a folder on PYTHONPATH and import it, or "
            f"install it as a plugin (scope new plugin)"
        )
    return _Importable(module.__name__)


def _label(module: object) -> str:
    return str(getattr(module, "__name__", type(module).__name__))
