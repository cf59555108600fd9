"""The state of one run of the program: the registry, and the plugin files of the command line."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scope_core.cli.output import warn
from scope_core.errors import PluginError, SpecError, UnknownNameError, did_you_mean, listed

if TYPE_CHECKING:
    from types import ModuleType

    from scope_core.registry.entries import ZooEntry
    from scope_core.registry.records import Record
    from scope_core.registry.registry import Registry


CACHE_DIR = typer.Option(
    "--cache-dir", metavar="DIR", help="Folder of downloaded weights.", show_default="the user's cache", file_okay=False
)
"""The option of every command that downloads or reads weights; the value goes to `state_of`."""


@dataclass
class State:
    """The state of one run of the program.

    Attributes:
        plugins: Plugin files of the command line.
        debug: True to show tracebacks.
        quiet_plugins: True for no warnings about broken plugins (``doctor`` reports them itself).
        cache_dir: Folder of weights; None for each loader's own.
    """

    plugins: tuple[Path, ...] = ()
    debug: bool = False
    quiet_plugins: bool = field(default=False, compare=False)
    cache_dir: Path | None = None

    @cached_property
    def registry(self) -> Registry:
        """Everything installed, and the plugin files of the command line.

        Raises:
            PluginError: a plugin file is broken.
        """
        from scope_core.registry.discovery import discover

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            registry = discover()
        for warning in caught:
            if not self.quiet_plugins:
                warn(str(warning.message))
        for path in self.plugins:
            registry = registry.with_module(load_file(path), name=path.name)
        return registry

    def zoo(self, kind: str, name: str | None) -> Record:
        """The zoo entry with this name, else the default one, else the first.

        Raises:
            UnknownNameError: no entry has this name, or the entry is of the other kind.
        """
        fitting = [record for record in self.zoo_records() if record.item.kind == kind]
        if name is None:
            marked = [record for record in fitting if record.item.default]
            if not fitting:
                raise UnknownNameError(
                    f"no {kind} is installed; `scope models` lists installed ones, `scope doctor` shows problems"
                )
            return (marked or fitting)[0]
        if not self.registry.has("zoo", name):
            names = [record.name for record in fitting]
            broken = "".join(f". Perhaps it belongs to a broken plugin: {f}" for f in self.registry.failures)
            raise UnknownNameError(
                f"no {kind} is called '{name}'{did_you_mean(name, names)}. Installed: {listed(names)}{broken}"
            )
        record = self.placed(self.registry.get("zoo", name))
        if record.item.kind != kind:
            raise UnknownNameError(
                f"'{name}' is a {record.item.kind}, not a {kind}. Installed {kind}s: {listed(r.name for r in fitting)}"
            )
        return record

    def zoo_records(self) -> list[Record]:
        """All zoo entries, their weights in the folder of the command line."""
        return [self.placed(record) for record in self.registry.records("zoo")]

    def placed(self, record: Record) -> Record:
        """A zoo entry with its weights in the folder of the command line; as it is if it has none."""
        if self.cache_dir is None or not record.item.source:
            return record
        return replace(record, item=replace(record.item, options={**record.item.options, "cache_dir": self.cache_dir}))


def state_of(ctx: typer.Context, *, cache_dir: Path | None = None) -> State:
    """The state that the program's callback put into the context.

    Args:
        ctx: The command's context.
        cache_dir: The value of the command's option `CACHE_DIR`.
    """
    state = ctx.find_object(State) or State()
    state.cache_dir = cache_dir
    return state


def load_file(path: Path) -> ModuleType:
    """A Python file as a module; only for files named on the command line.

    Raises:
        PluginError: running it raised.
    """
    name = f"scope_plugin_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"plugin file '{path}' is not a Python file; give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks up a class's module by name
    for known in (path.absolute(), path.resolve()):  # and by its file, which another module may have loaded before
        inspect.modulesbyfile[str(known)] = name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"plugin file '{path}' failed to load: {type(error).__name__}: {error}") from error
    return module


def starting_spec(spec: str | None, entry: ZooEntry) -> str:
    """The given spec, else the one that the zoo entry suggests.

    Raises:
        SpecError: there is neither.
    """
    if spec is None and not entry.recipe:
        raise SpecError(f"'{entry.name}' suggests no spec; give one, e.g. --spec RECIPE@64 (see `scope list recipe`)")
    return spec or entry.recipe
