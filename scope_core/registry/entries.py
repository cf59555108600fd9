"""What registration hooks yield: parts, recipes, zoo entries, commands and self-checks, as data."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scope_core.errors import MissingDependencyError, PluginError
from scope_core.registry.specs import ComponentSpec, name_of


@dataclass(frozen=True, init=False)
class Entry:
    """One part, as a registration hook yields it, in one of two forms.

    ::

        Entry("acme.peak:Peak", "acme.peak", "largest activation of each token")  # imported on first use
        Entry(PeakSpec, Peak, "largest activation of each token")

    Args:
        part: ``"package.module:Class"``: the class that implements the part; or the part's spec model.
        name: The part's registration name, which the spec of the class has to bear; or, after a spec model, the class
            (or ``"package.module:Class"``).
        summary: One line: what it does.
        paper: Where it is from, e.g. ``"SCOPE, arXiv 2510.24214, eq. 4"``.
        requires: Packages the class imports beyond torch, as pip names (shown when they are missing).
        default: This part is used where a spec leaves the slot out. One per kind; built-ins only.

    Raises:
        PluginError: it has neither form.
    """

    name: str
    target: type | str
    summary: str
    paper: str
    requires: tuple[str, ...]
    default: bool
    model: type[ComponentSpec] | None

    def __init__(
        self,
        part: type[ComponentSpec] | str,
        name: type | str,
        summary: str,
        paper: str = "",
        requires: tuple[str, ...] = (),
        default: bool = False,
    ) -> None:
        own: str
        target: type | str
        if isinstance(part, str) and isinstance(name, str):
            own, target, model = name, part, None
        elif isinstance(part, type) and issubclass(part, ComponentSpec):
            own, target, model = name_of(part), name, part
        else:
            raise PluginError(
                f"Entry({part!r}, {name!r}, ...): begin with the part's class and name as text, "
                f"'package.module:Class' and 'vendor.part', or with its spec model and class"
            )
        fields = {
            "name": own,
            "target": target,
            "model": model,
            "summary": summary,
            "paper": paper,
            "requires": requires,
            "default": default,
        }
        for field_name, value in fields.items():
            object.__setattr__(self, field_name, value)


@dataclass(frozen=True)
class Recipe:
    """A named pruner spec, written as a user would write it.

    Attributes:
        name: e.g. ``"scope"``; ``"scope@official"`` for a variant.
        spec: The long form, names and options only. It is validated when first used.
        summary: One line: what it keeps.
        paper: Where it is from.
        control: It is there to be beaten: benchmarks compare the others with it.
    """

    name: str
    spec: Mapping[str, Any]
    summary: str
    paper: str = ""
    requires: tuple[str, ...] = ()
    control: bool = False


@dataclass(frozen=True)
class Command:
    """A command that a plugin adds to the command line.

    Attributes:
        name: What is typed behind ``scope``, e.g. ``"serve"``; ``"acme.serve"`` from other packages than scope-core.
        target: ``"package.module:name"``, imported when the command is used: a `typer.Typer` (a group of commands), or
            a function as typer takes it, whose parameters become arguments and options. One annotated ``typer.Context``
            has the registry, with the plugin files of the command line, as ``ctx.obj.registry``.
        summary: One line, shown by ``scope --help``.
        examples: Command lines, shown by its ``--help``.
        paper: Where it is from.
        requires: Packages the target imports, as pip names (shown when they are missing).
    """

    name: str
    target: str
    summary: str
    examples: tuple[str, ...] = ()
    paper: str = ""
    requires: tuple[str, ...] = ()

    def load(self, where: str = "") -> Any:
        """The function. Raises `MissingDependencyError`, or `PluginError` for any other failure to import it."""
        return import_target(self.target, where or f"command '{self.name}'", self.requires)


@dataclass(frozen=True)
class Check:
    """A self-check that a plugin adds to ``scope doctor``.

    Attributes:
        name: e.g. ``"prunes_inside_llm"``; ``"acme.attaches"`` from other packages than scope-core.
        target: ``"package.module:function"``, imported when the check is run. It is called with the registry and
            returns an iterable of `Finding`, usually one; what it raises is a problem, but for
            `MissingDependencyError`, which says that there is nothing to check here.
        summary: One line: what is checked.
        tries: Something is run, so ``scope doctor --quick`` leaves it out.
        paper: Where it is from.
        requires: Packages the target imports, as pip names. Where one is missing, or older than the package that gives
            this check asks for, the check is left out.
    """

    name: str
    target: str
    summary: str
    tries: bool = True
    paper: str = ""
    requires: tuple[str, ...] = ()

    def load(self, where: str = "") -> Any:
        """The function. Raises `MissingDependencyError`, or `PluginError` for any other failure to import it."""
        return import_target(self.target, where or f"check '{self.name}'", self.requires)


@dataclass(frozen=True)
class Finding:
    """What a self-check has found.

    Attributes:
        text: One line.
        well: False where the user should know of it, e.g. that a version was never tested. Only an exception is a
            problem.
        fix: What to do about it.
        versions: ``{package: versions}`` that would do, the best last. The doctor advises one that no installed
            distribution forbids, and no change at all where each is forbidden.
    """

    text: str
    well: bool = True
    fix: str = ""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ZooEntry:
    """A model or a vision tower that can be loaded by name.

    Attributes:
        name: Short name, e.g. ``"dinov2-small"``.
        kind: ``"tower"`` (images to tokens) or ``"model"`` (images and text to text).
        target: ``"package.module:function"``; called with ``source`` and the caller's options. What its package logs
            meanwhile at level INFO or above, such as a download and its size, the command line shows.
        source: Hub id, or the package the weights come from; empty where nothing is fetched.
        summary: One line for people.
        licence: Of the weights.
        parameters: e.g. ``"22M"``.
        recipe: Short spec to begin with, e.g. ``"scope@64"``.
        adapter: Name of the adapter that serves it; empty for towers.
        requires: Packages the target imports, as pip names.
        options: Fixed keyword arguments for ``target``.
        default: Command lines that name no tower (or model) use this one.
        cached: ``"package.module:function"``; called as ``target`` is, says without any network whether loading
            would need one. Empty where nobody can say.
        points: Interception points of a tower, so that commands know before loading it which methods cannot run on it;
            empty if only the loaded tower says.
    """

    name: str
    kind: str
    target: str
    source: str
    summary: str
    licence: str = ""
    parameters: str = ""
    recipe: str = ""
    adapter: str = ""
    paper: str = ""
    requires: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    default: bool = False
    cached: str = ""
    points: tuple[str, ...] = ()

    def load(self, **options: Any) -> Any:
        """Call the target: a `Tower` for towers, a `LoadedModel` for models.

        Raises:
            MissingDependencyError: a package that it imports is not installed.
        """
        return self._call(self.target, options)

    def is_cached(self) -> bool | None:
        """Whether the weights are on this machine; None where the entry cannot say."""
        return bool(self._call(self.cached, {})) if self.cached else None

    def _call(self, path: str, options: Mapping[str, Any]) -> Any:
        where = f"zoo entry '{self.name}'"
        function = import_target(path, where, self.requires)
        try:
            return function(self.source, **{**self.options, **options})
        except ModuleNotFoundError as error:  # loaders import what they need when they are called
            if (error.name or "").partition(".")[0] == _package(path):
                raise
            why, hint = str(error).rstrip("."), _install_command(path, self.requires)
            raise MissingDependencyError(f"{where} cannot be loaded: {why}. Try: {hint}") from error


def import_target(path: str, where: str, requires: Iterable[str] = ()) -> Any:
    """The object at ``"package.module:Name"``.

    Raises:
        MissingDependencyError: an import inside it failed for want of a package.
        PluginError: the path is malformed, or the object is not there.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        hint = _install_command(path, requires)
        raise MissingDependencyError(f"{where} cannot be imported ({path}): {error}. Try: {hint}") from error
    except (AttributeError, ValueError) as error:
        raise PluginError(f"{where}: there is nothing at '{path}': {error}") from error
    except Exception as error:  # a stranger's module: anything may come out of importing it
        raise PluginError(f"{where} cannot be imported ({path}): {type(error).__name__}: {error}") from error


def _install_command(path: str, requires: Iterable[str]) -> str:
    """What brings the packages of an entry; where none are named, what tells of the package that it is from."""
    return f"pip install {shlex.join(requires)}" if requires else f"pip show {_package(path)}"


def _package(path: str) -> str:
    return path.partition(":")[0].partition(".")[0]
