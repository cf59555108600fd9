"""What registration hooks yield: parts, recipes, zoo entries, commands and self-checks, as data."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scope_core.errors import MissingDependencyError, PluginError
from scope_core.registry.specs import ComponentSpec, name_of


@dataclass(frozen=True)
class Entry:
    """One part, as a registration hook yields it.

    Attributes:
        spec: The part's spec model; the ``Literal`` in its ``name`` field is the part's name.
        target: The class that implements it, or ``"package.module:Class"`` to import it on first use.
        summary: One line: what it does.
        paper: Where it is from, e.g. ``"SCOPE, arXiv 2510.24214, eq. 4"``.
        requires: Packages the target imports beyond torch, as pip names (shown when they are missing).
        default: This part is used where a spec leaves the slot out. One per kind; built-ins only.
    """

    spec: type[ComponentSpec]
    target: type | str
    summary: str
    paper: str = ""
    requires: tuple[str, ...] = ()
    default: bool = False

    @property
    def name(self) -> str:
        """The part's registration name."""
        return name_of(self.spec)


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
        """Call the target: a `Tower` for towers, a `LoadedModel` for models."""
        function = import_target(self.target, f"zoo entry '{self.name}'", self.requires)
        return function(self.source, **{**self.options, **options})

    def is_cached(self) -> bool | None:
        """Whether the weights are on this machine; None where the entry cannot say."""
        if not self.cached:
            return None
        return bool(import_target(self.cached, f"zoo entry '{self.name}'", self.requires)(self.source, **self.options))


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
        hint = f"pip install {' '.join(requires)}" if requires else f"pip show {module.split('.')[0]}"
        raise MissingDependencyError(f"{where} cannot be imported ({path}): {error}. Try: {hint}") from error
    except (AttributeError, ValueError) as error:
        raise PluginError(f"{where}: there is nothing at '{path}': {error}") from error
    except Exception as error:  # a stranger's module: anything may come out of importing it
        raise PluginError(f"{where} cannot be imported ({path}): {type(error).__name__}: {error}") from error
