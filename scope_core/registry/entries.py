"""The records that registration hooks yield: parts, recipes, zoo entries, commands and self-checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scope_core.display import brief_repr
from scope_core.errors import MissingDependencyError, PluginError
from scope_core.registry.specs import ComponentSpec, name_of
from scope_core.registry.targets import check_options, import_target, install_command, options_of_target, package_of


@dataclass(frozen=True, init=False)
class Entry:
    """One part, as a registration hook yields it. Two forms are possible.

    ::

        Entry("acme.peak:Peak", "acme.peak", "largest activation of each token")  # imported on first use
        Entry(PeakSpec, Peak, "largest activation of each token")

    Args:
        part: ``"package.module:Class"``, the class that implements the part; or the part's spec model.
        name: The part's registration name, which must equal the name in its spec; or, after a spec model, the class
            (or ``"package.module:Class"``).
        summary: One line: what the part does.
        paper: The source, e.g. ``"SCOPE, arXiv 2510.24214, eq. 4"``.
        requires: Packages that the class imports beyond torch, as pip names (shown when they are missing).
        default: True for the part that is used if a spec leaves the slot out. One per kind; built-in parts only.

    Raises:
        PluginError: the arguments have neither form.
    """

    name: str
    target: type | str
    summary: str
    paper: str
    requires: tuple[str, ...]
    default: bool
    model: type[ComponentSpec] | None

    __repr__ = brief_repr

    def __init__(
        self,
        part: type[ComponentSpec] | str,
        name: type | str,
        summary: str,
        paper: str = "",
        requires: tuple[str, ...] = (),
        default: bool = False,
    ) -> None:
        part_name: str
        target: type | str
        if isinstance(part, str) and isinstance(name, str):
            part_name, target, model = name, part, None
        elif isinstance(part, type) and issubclass(part, ComponentSpec):
            part_name, target, model = name_of(part), name, part
        else:
            raise PluginError(
                f"Entry({part!r}, {name!r}, ...): start with the part's class and name as text, "
                f"'package.module:Class' and 'vendor.part', or with its spec model and class"
            )
        vars(self).update(  # the class is frozen
            name=part_name, target=target, model=model, summary=summary, paper=paper, requires=requires, default=default
        )


@dataclass(frozen=True)
class Recipe:
    """A named pruner spec, written as a user would write it.

    Attributes:
        name: e.g. ``"scope"``; ``"scope@official"`` for a variant.
        spec: The long form, names and options only. It is validated when first used.
        summary: One line: which tokens it keeps.
        paper: The source.
        control: True for a baseline, with which benchmarks compare the other recipes.
        about: Two sentences: what it rewards, and when it is the right one. A variant may leave them to its method.
        formula: The rule by which tokens are chosen, as plain text; the last lines say what the letters mean.
        code: Address of the authors' code.
        differences: ``"package:file.md"``, Markdown on where it differs from the authors' code; read when it is shown.
    """

    name: str
    spec: Mapping[str, Any]
    summary: str
    paper: str = ""
    requires: tuple[str, ...] = ()
    control: bool = False
    about: str = ""
    formula: str = ""
    code: str = ""
    differences: str = ""

    __repr__ = brief_repr


class _Loaded:
    """An item whose target is imported when it is used."""

    name: str
    target: str
    requires: tuple[str, ...]

    def load(self, where: str = "") -> Any:
        """The target. Raises `MissingDependencyError`, or `PluginError` for any other failure to import it."""
        return import_target(self.target, where or f"{type(self).__name__.lower()} '{self.name}'", self.requires)


@dataclass(frozen=True)
class Command(_Loaded):
    """A command that a plugin adds to the command line.

    Attributes:
        name: Name of the command after ``scope``, e.g. ``"serve"``; ``"acme.serve"`` in other packages than scope-core.
        target: ``"package.module:name"``, imported when the command is used: a `typer.Typer` (a group of commands), or
            a function as typer takes it, whose parameters become arguments and options. A parameter annotated
            ``typer.Context`` has the registry, with the plugin files of the command line, as ``ctx.obj.registry``.
        summary: One line, shown by ``scope --help``.
        examples: Command lines, shown by the command's ``--help``.
        paper: The source.
        requires: Packages that the target imports, as pip names (shown when they are missing).
    """

    name: str
    target: str
    summary: str
    examples: tuple[str, ...] = ()
    paper: str = ""
    requires: tuple[str, ...] = ()

    __repr__ = brief_repr


@dataclass(frozen=True)
class Check(_Loaded):
    """A self-check that a plugin adds to ``scope doctor``.

    Attributes:
        name: e.g. ``"prunes_inside_llm"``; ``"acme.attaches"`` in other packages than scope-core.
        target: ``"package.module:function"``, imported when the check is run. It is called with the registry and
            returns an iterable of `Finding`, usually one. An exception is reported as a problem, except
            `MissingDependencyError`, which means that there is nothing to check here.
        summary: One line: what is checked.
        tries: True if the check runs something, so that ``scope doctor --quick`` skips it.
        paper: The source.
        requires: Packages that the target imports, as pip names. The check is skipped if one is missing, or older than
            the package of this check requires.
    """

    name: str
    target: str
    summary: str
    tries: bool = True
    paper: str = ""
    requires: tuple[str, ...] = ()

    __repr__ = brief_repr


@dataclass(frozen=True)
class Finding:
    """A result of a self-check.

    Attributes:
        text: One line.
        well: False for a warning, e.g. that a version was never tested. To report a problem, raise an exception.
        fix: Advice on what to do about it.
        versions: ``{package: versions}`` that would work, the best last. The doctor recommends one that no installed
            distribution forbids, and none if all are forbidden.
    """

    text: str
    well: bool = True
    fix: str = ""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    __repr__ = brief_repr


@dataclass(frozen=True)
class ZooEntry:
    """A model or a vision tower that can be loaded by name.

    Attributes:
        name: Short name, e.g. ``"dinov2-small"``.
        kind: ``"tower"`` (images to tokens) or ``"model"`` (images and text to text).
        target: ``"package.module:function"``; called with ``source`` and the caller's options. The command line shows
            what its package logs meanwhile at level INFO or above, such as a download and its size.
        source: Hub id, or the package that the weights come from; empty if nothing is downloaded.
        summary: One line: what it is.
        licence: Licence of the weights.
        parameters: Number of parameters, e.g. ``"22M"``.
        recipe: Short spec for a first try, e.g. ``"scope@64"``.
        adapter: Name of the adapter that serves it; empty for towers.
        paper: The source.
        requires: Packages that the target imports, as pip names.
        options: Fixed keyword arguments for ``target``.
        default: True for the entry that commands use if no tower (or model) is named.
        cached: ``"package.module:function"``; called with the same arguments as ``target``, returns without any network
            access True if the weights are on this machine. Empty if unknown.
        points: Interception points of a tower, so that commands know before loading it which methods cannot run on it;
            empty if known only after loading.
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

    __repr__ = brief_repr

    def load(self, **options: Any) -> Any:
        """The loaded `Tower` or `LoadedModel`.

        Raises:
            MissingDependencyError: a package that the target imports is not installed.
            ZooError: the target has no such option.
        """
        return self._call(self.target, options)

    def is_cached(self) -> bool | None:
        """True if the weights are on this machine; None if unknown."""
        return bool(self._call(self.cached, {})) if self.cached else None

    def takes(self, option: str) -> bool:
        """True if the loader has this option."""
        names = options_of_target(import_target(self.target, f"zoo entry '{self.name}'", self.requires))
        return names is None or option in names

    def _call(self, path: str, options: Mapping[str, Any]) -> Any:
        where = f"zoo entry '{self.name}'"
        function = import_target(path, where, self.requires)
        options = {**self.options, **options}
        check_options(function, where, options)
        try:
            return function(self.source, **options)
        except ModuleNotFoundError as error:  # loaders import packages when they are called
            if (error.name or "").partition(".")[0] == package_of(path):
                raise
            why, hint = str(error).rstrip("."), install_command(path, self.requires)
            raise MissingDependencyError(f"{where} cannot be loaded: {why}. Try: {hint}") from error
