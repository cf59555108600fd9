"""Who takes part in a comparison: specs that a tower alone can run, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scope_core.cli.selections import named
from scope_core.errors import AdapterError, ScopeError, SignalError, UnknownNameError, did_you_mean, listed
from scope_core.parts.saliency import SaliencySource
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.spec_reader import label_of, read_spec
from scope_core.structures.signals import parse_signal

if TYPE_CHECKING:
    from scope_core.pruning.pruner import Pruner
    from scope_core.registry.registry import Registry
    from scope_core.structures.declaration import Declaration

EVERY = "all"
"""Stands for every installed recipe that the tower can run."""


@dataclass(frozen=True)
class Entrant:
    """A spec that takes part.

    Attributes:
        given: The spec as it was written.
        label: What tables call it.
        pruner: The live pruner, taking tokens where the tower has them.
        must: Whether the comparison stops where it cannot run.
        moved: The interception point it asked for, where it is run at another one; else empty.
    """

    given: str
    label: str
    pruner: Pruner
    must: bool
    moved: str = ""

    @property
    def at(self) -> str:
        """Where its tokens are taken."""
        return self.pruner.spec.at


@dataclass(frozen=True)
class Absentee:
    """A spec that does not take part; ``signals`` are those that the tower lacks."""

    given: str
    label: str
    must: bool
    reason: str
    signals: tuple[str, ...] = ()


@dataclass
class Field:
    """Everybody who was named.

    Attributes:
        entrants: Those who take part.
        absent: Those who cannot.
        notes: What to know about the field.
    """

    entrants: list[Entrant]
    absent: list[Absentee]
    notes: list[str]


def enter(
    texts: Sequence[str], *, keep: int | None, at: str | None, skip: bool, registry: Registry, declaration: Declaration
) -> Field:
    """Read every spec, once each.

    Args:
        texts: Specs as written; `EVERY` stands for all recipes.
        keep: Tokens per image, instead of each spec's own budget.
        at: Interception point for all of them, instead of each spec's own.
        skip: Whether those that were named one by one may be missing too, as those of `EVERY` may.
        registry: Where names are looked up.
        declaration: What the tower offers.

    Raises:
        SpecError: a spec is wrong.
        AdapterError: the tower has no point ``at``.
    """
    from scope_core.pruning.pruner import Pruner

    if at is not None and at not in declaration.points:
        raise AdapterError(
            f"{declaration.model} has no interception point '{at}'{did_you_mean(at, declaration.points)}. "
            f"Points: {listed(declaration.points)}"
        )
    field = Field([], [], [])
    seen: dict[PrunerSpec, str] = {}
    names: list[str] = []
    for text, named_alone in _written_out(texts, registry):
        spec = read_spec(text, registry, **({} if keep is None else {"budget": keep}))
        if spec in seen:
            if named_alone:
                field.notes.append(f"'{text}' says the same as '{seen[spec]}', so it was run once")
            continue
        seen[spec] = text
        label = named(text, label_of(spec, registry), names)
        names.append(label)
        moved = spec.at if at is not None and spec.at != at else ""
        pruner = Pruner(spec.model_copy(update={"at": at}) if at is not None and moved else spec, registry=registry)
        reason, signals = _obstacle(pruner, declaration)
        must = named_alone and not skip
        if reason:
            field.absent.append(Absentee(text, label, must, reason, signals))
        else:
            field.entrants.append(Entrant(text, label, pruner, must, moved))
    return field


def saliency_source(name: str | None, *, registry: Registry, declaration: Declaration) -> SaliencySource[Any] | None:
    """The source whose share is measured: the one named, else the default one, else the first that reads a signal.

    Returns:
        A source that the tower can feed and whose scores are never below 0; None where no name is given and none is.

    Raises:
        UnknownNameError: nothing of that name is installed.
        SignalError: the tower lacks its signals, or it gives scores below 0.
    """
    default = registry.default("saliency")
    records = sorted(registry.records("saliency"), key=lambda record: record != default)
    fitting: dict[str, SaliencySource[Any]] = {}
    for record in records:
        try:
            spec = record.spec.model_validate({"name": record.name}, context={"registry": registry})
            source = registry.build("saliency", spec)
        except (ScopeError, ValueError):  # it has options without a default
            continue
        needs = frozenset().union(*(part.needs for part in source.walk()))
        if source.nonnegative and needs and not declaration.lacks(needs):
            fitting[record.name] = source
    if name is None:
        return next(iter(fitting.values()), None)
    if name not in fitting:
        if not registry.has("saliency", name):
            known = registry.names("saliency")
            raise UnknownNameError(f"no saliency is called '{name}'{did_you_mean(name, known)}. Known: {listed(known)}")
        raise SignalError(
            f"a share of saliency '{name}' cannot be measured on {declaration.model}: it needs signals that are not "
            f"there, reads none, or gives scores below 0. Those that can: {listed(fitting)}"
        )
    return fitting[name]


def _written_out(texts: Sequence[str], registry: Registry) -> list[tuple[str, bool]]:
    """Every spec, and whether it was named by itself; controls come last where all recipes are meant."""
    recipes = sorted(registry.records("recipe"), key=lambda record: (record.item.control, record.name))
    every = [(record.name, False) for record in recipes if record.name not in texts]
    return [one for text in texts for one in (every if text == EVERY else [(text, True)])]


def _obstacle(pruner: Pruner, declaration: Declaration) -> tuple[str, tuple[str, ...]]:
    """Why a tower alone cannot run it, and the signals that it lacks; empty where it can.

    Merging is no obstacle: nothing is handed on to a projector here.
    """
    spec, tower = pruner.spec, declaration.model
    signals = tuple(declaration.lacks(pruner.needs))
    if spec.at not in declaration.points:
        text = f"it takes tokens at '{spec.at}', and {tower} alone has them only at: {listed(declaration.points)}"
        if signals:
            text += f"; it also needs {', '.join(signals)}"
        elif not spec.at.startswith("decoder"):
            text += f"; --at {next(iter(declaration.points))} runs it there instead"
        return text, signals
    if spec.then:
        return f"it prunes at {', '.join(stage.at for stage in spec.then)} too, inside a language model", signals
    for part in pruner.walk():
        missing = declaration.lacks(part.needs)
        if missing:
            text = f"its {part.kind} {part} needs {', '.join(missing)}, which {tower} alone cannot give"
            return text + _why(missing[0], part.kind, pruner, declaration), signals
    return "", ()


def _why(signal: str, kind: str, pruner: Pruner, declaration: Declaration) -> str:
    from scope_core.pruning.compatibility import compatible_parts

    family = parse_signal(signal)[0]
    if family in declaration.reasons:
        why = f": {declaration.reasons[family]}"
    elif any(offer.family == family for offer in declaration.offers):
        why = f": it offers {', '.join(map(str, declaration.offers))}"
    else:
        why = "" if family.startswith("vision.") else ": there is no question and no language model here"
    instead = compatible_parts(pruner.registry, kind, declaration)
    return why + (f"; {kind} parts that would work: {', '.join(instead)}" if instead else "")
