"""`Record`: a registered item, with its kind, origin and class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scope_core.errors import PluginError
from scope_core.registry.kinds import Kind, public_name
from scope_core.registry.specs import ComponentSpec, name_of, spec_of
from scope_core.registry.targets import import_target

NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*(@[a-z0-9_]+)?")


@dataclass(frozen=True)
class Origin:
    """The distribution and entry point that a registered item came from."""

    distribution: str
    version: str
    entry_point: str
    module: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be loaded: its error, and the command that would help, if known."""

    origin: Origin
    error: str
    fix: str = ""

    def __str__(self) -> str:
        return (
            f"plugin '{self.origin.entry_point}' of {self.origin} ({self.origin.module}) failed to load: {self.error}"
        )


@dataclass(frozen=True)
class Record:
    """A registered item with its origin."""

    kind: Kind
    item: Any
    origin: Origin

    def __repr__(self) -> str:
        return f"<{self.where}>"

    @property
    def name(self) -> str:
        """The registration name."""
        name: str = self.item.name
        return name

    @cached_property
    def spec(self) -> type[ComponentSpec]:
        """The spec model (parts only; recipes and zoo entries have none).

        Raises:
            PluginError: the part's class has no spec, or a spec with another name.
            MissingDependencyError: its module could not be imported.
        """
        if self.item.model is not None:
            model: type[ComponentSpec] = self.item.model
            return model
        found = spec_of(self.target)
        if found is None or name_of(found) != self.name:
            actual = "no spec" if found is None else f"the spec of '{name_of(found)}'"
            raise PluginError(
                f"{self.where}: {self.item.target} has {actual}. Its class must name its spec, as in "
                f"`class Peak(SaliencySource[PeakSpec])`, and the spec's name must be {self.name!r}"
            )
        return found

    @property
    def where(self) -> str:
        """Kind, name and origin, for messages."""
        return f"{self.kind.name} '{self.name}' ({self.origin})"

    @cached_property
    def target(self) -> type:
        """The implementing class, imported on first use and checked against the kind's interface."""
        target = self.item.target
        if isinstance(target, str):
            target = import_target(target, self.where, self.item.requires)
        base = import_target(self.kind.base, self.where)
        if not (isinstance(target, type) and issubclass(target, base)):
            raise PluginError(f"{self.where}: target {target!r} is not a subclass of {public_name(base.__name__)}")
        return target
