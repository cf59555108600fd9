"""What is known of a registered item: its kind, where it came from, and its class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scope_core.errors import PluginError
from scope_core.registry.entries import import_target
from scope_core.registry.kinds import Kind
from scope_core.registry.specs import ComponentSpec

HERE = "this process"
"""The distribution of what `Registry.with_module` added."""

NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*(@[a-z0-9_]+)?")


@dataclass(frozen=True)
class Origin:
    """Where a registered item came from."""

    distribution: str
    version: str
    entry_point: str
    module: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be loaded, as it is quoted to users; and the command that would help, if it is known."""

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

    @property
    def name(self) -> str:
        """The registration name."""
        name: str = self.item.name
        return name

    @property
    def spec(self) -> type[ComponentSpec]:
        """The spec model (parts only; recipes and zoo entries have none)."""
        spec: type[ComponentSpec] = self.item.spec
        return spec

    @cached_property
    def target(self) -> type:
        """The implementing class, imported on first use and checked against the kind's interface."""
        where = f"{self.kind.name} '{self.name}' ({self.origin})"
        target = self.item.target
        if isinstance(target, str):
            target = import_target(target, where, self.item.requires)
        base = import_target(self.kind.base, where)
        if not (isinstance(target, type) and issubclass(target, base)):
            raise PluginError(f"{where}: target {target!r} is not a subclass of scope_core.{base.__name__}")
        return target
