"""Methods that take part in a comparison or a benchmark, read from what the user typed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import typer

from scope_core.cli.labels import told_apart
from scope_core.cli.obstacles import obstacle
from scope_core.cli.output import loading, note
from scope_core.errors import AdapterError, ScopeError, SignalError, did_you_mean, listed
from scope_core.pruning.labels import label_of
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.spec_reader import read_spec
from scope_core.registry.option_types import as_share
from scope_core.registry.patterns import check_patterns, is_pattern, matching

if TYPE_CHECKING:
    from scope_core.parts.zoo import Tower
    from scope_core.pruning.pruner import Pruner
    from scope_core.registry.entries import ZooEntry
    from scope_core.registry.registry import Registry
    from scope_core.structures.declaration import Declaration

EVERY, CONTROLS = "all", "controls"
"""Words for all installed recipes, and for those that are controls."""
HELP = f"recipes, RECIPE@64, RECIPE@25%, spec files, patterns such as 'vis*', '{EVERY}', '{CONTROLS}'"
"""The texts that `read_methods` accepts, for the help of options."""


@dataclass(frozen=True, eq=False)
class Method:
    """One method.

    Attributes:
        given: Text that was typed; for a word or a pattern, the recipe (and budget) that it stands for.
        label: Label in tables.
        pruner: Its pruner.
        named: True if it was typed by itself.
        moved: Interception point of its spec if it runs at another one; else empty.
    """

    given: str
    label: str
    pruner: Pruner
    named: bool = True
    moved: str = ""

    @property
    def at(self) -> str:
        """Interception point where its tokens are taken."""
        return self.pruner.spec.at

    @property
    def file(self) -> str:
        """The spec file it was read from; empty for recipes."""
        return self.given if is_file(self.given) else ""

    @property
    def control(self) -> bool:
        """True for recipes that are controls: baselines that a useful method must beat."""
        recipe = self.pruner.spec.recipe
        return not self.file and recipe is not None and self.pruner.registry.get("recipe", recipe).item.control


@dataclass(frozen=True)
class LeftOut:
    """A method that does not take part, with the reason and the missing signals."""

    method: Method
    reason: str
    signals: tuple[str, ...] = ()


@dataclass
class Methods:
    """All methods that the user typed.

    Attributes:
        run: Methods that take part, in the order typed.
        left_out: The others.
        notes: Notes for the user.
    """

    run: list[Method]
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asked = list(self.run)

    def narrow(self, tower: str, points: Collection[str], declaration: Declaration | None = None) -> list[LeftOut]:
        """Leave out methods that cannot run on a tower alone; methods left out before are checked again.

        Args:
            tower: Name of the tower, for messages.
            points: Its interception points.
            declaration: Its declaration; None before it is loaded, when signals are not checked.

        Returns:
            Methods that are newly left out.
        """
        before = set(self.run)
        found = {one: obstacle(one.pruner, tower, points, declaration) for one in self.asked}
        self.run = [one for one in self.asked if not found[one][0]]
        self.left_out = [LeftOut(one, *found[one]) for one in self.asked if found[one][0]]
        return [one for one in self.left_out if one.method in before]

    def check(self, tower: str, *, skip: bool = False, hint: str = "") -> None:
        """Refuse to continue if no method is left, or the first method cannot run.

        Args:
            tower: Name of the tower, for messages.
            skip: True to accept that the first method is left out.
            hint: Another remedy for the first method.

        Raises:
            SignalError: names each method and the reason.
        """
        if not self.asked:
            raise SignalError("there is no method to run, since no recipe is installed; run `scope doctor`")
        first = self.asked[0]
        lost = [one for one in self.left_out if not self.run or (one.method is first and first.named and not skip)]
        if lost:
            lines = "".join(
                f"\n  {one.method.label}{one.method.file and f', {one.method.file}'}: {one.reason}" for one in lost
            )
            end = f"The first method must be able to run: put another one first{hint}." if self.run else ""
            raise SignalError(f"methods that cannot run on {tower} alone:{lines}\n{end or 'No method is left.'}")


def read_methods(
    texts: Sequence[str],
    registry: Registry,
    *,
    keep: int | str | None = None,
    lead_keeps: bool = False,
    at: str | None = None,
) -> Methods:
    """The methods, each once; no model is needed.

    Args:
        texts: Texts as typed: see `HELP`.
        registry: Registry of names.
        keep: Tokens per image or a share of them, from `amount`, instead of each spec's own budget.
        lead_keeps: True if ``keep`` is for the first method alone, and recipes without a budget take its budget.
        at: Interception point of all methods, instead of each spec's own.

    Raises:
        SpecError: a spec is wrong.
        UnknownNameError: a pattern matches no recipe.
    """
    from scope_core.pruning.pruner import Pruner

    found: list[Method] = []
    notes: list[str] = []
    seen: dict[PrunerSpec, str] = {}
    budget: dict[str, object] = {} if keep is None else {"budget": keep}
    for text, named in written_out(texts, registry):
        has_budget = lead_keeps and len(seen) > 0 and not registry.has("recipe", text)
        spec = read_spec(text, registry, **({} if has_budget else budget))
        if lead_keeps and not seen:
            budget = {"budget": spec.budget}
        if spec in seen:
            if named:
                notes.append(f"'{text}' is the same as '{seen[spec]}' and runs once")
            continue
        seen[spec] = text
        moved = spec.at if at is not None and spec.at != at else ""
        with naming(text):
            pruner = Pruner(spec.model_copy(update={"at": at}) if moved else spec, registry=registry)
        found.append(Method(text, label_of(spec, registry), pruner, named, moved))
    labels = told_apart([one.label for one in found], [one.file for one in found])
    found = [replace(one, label=label) for one, label in zip(found, labels, strict=True)]
    return Methods(found, notes=notes)


def load_tower(
    entry: ZooEntry, methods: Methods, *, at: str | None = None, skip: bool = False, hint: str = ""
) -> Tower:
    """A loaded tower; methods that cannot run on it are left out with a note, before loading if possible.

    Args:
        entry: Zoo entry of the tower.
        methods: Methods, narrowed to those that can run.
        at: Interception point that the user typed.
        skip: True to accept that the first method is left out.
        hint: See `Methods.check`.

    Raises:
        SignalError: see `Methods.check`.
        AdapterError: the tower has no point ``at``.
    """

    def narrow(points: Collection[str], declaration: Declaration | None = None) -> None:
        if at is not None and at not in points:
            raise AdapterError(
                f"{entry.name} has no interception point '{at}'{did_you_mean(at, points)}. Points: {listed(points)}"
            )
        new = methods.narrow(entry.name, points, declaration)
        methods.check(entry.name, skip=skip, hint=hint)
        for one in (left for left in new if left.method.named):
            note(left_out_note(one))

    if entry.points:
        narrow(entry.points)
    with loading(entry):
        tower: Tower = entry.load()
    narrow(tower.declaration.points, tower.declaration)
    return tower


def left_out_note(one: LeftOut) -> str:
    """One line about a method that does not take part."""
    return f"{one.method.label} is left out: {one.reason}"


def written_out(texts: Sequence[str], registry: Registry) -> list[tuple[str, bool]]:
    """The specs that ``texts`` stand for, each with True if typed by itself; in a group, controls come last.

    Raises:
        UnknownNameError: a pattern matches no recipe.
    """
    recipes = sorted(registry.records("recipe"), key=lambda record: (record.item.control, record.name))
    names = {
        EVERY: [record.name for record in recipes],
        CONTROLS: [record.name for record in recipes if record.item.control],
    }
    found: list[tuple[str, bool]] = []
    for text in texts:
        group, _, amount = text.partition("@")
        if is_file(text) or registry.has("recipe", group) or not (group in names or is_pattern(group)):
            found.append((text, True))
            continue
        if group not in names:
            check_patterns("recipe", names[EVERY], [group])
        fitting = names.get(group) or matching(names[EVERY], group)
        whole = [f"{name}@{amount}" if amount else name for name in fitting]
        found += [(one, False) for one in whole if one not in texts]
    return found


def amount(text: str, option: str = "--keep", *, least: int = 0) -> int | str:
    """Tokens to keep of each image: a number, or a share such as ``"25%"``.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text.isdecimal() and int(text) >= least:
        return int(text)
    if as_share(text) is not None and as_share(text) != 0:
        return text
    raise typer.BadParameter(f"'{text}' is not a token count; give e.g. 64 or 25%", param_hint=f"'{option}'")


def is_file(text: str) -> bool:
    """True if the text is the name of a spec file."""
    return text.endswith((".yaml", ".yml", ".json"))


@contextmanager
def naming(method: str) -> Iterator[None]:
    """Put the method in front of the message of errors inside."""
    try:
        yield
    except ScopeError as error:
        raise type(error)(f"{method}: {error}") from error
