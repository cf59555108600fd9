"""The part under test: its origin, its options and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice, product
from types import SimpleNamespace
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from scope_core.errors import SpecError, UnknownNameError, did_you_mean, listed
from scope_core.pruning.spec_reader import explain
from scope_core.registry.discovery import default_registry
from scope_core.registry.entries import Entry
from scope_core.registry.hookspecs import hookimpl
from scope_core.registry.kinds import KINDS, kind_named
from scope_core.registry.records import Record
from scope_core.registry.registry import Registry
from scope_core.registry.specs import ComponentSpec, slots_of
from scope_core.structures.signals import Signals
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.parts.cases import RANK, Case, MakeSignal, noisy

VALUES: tuple[Any, ...] = (1, 0.5, 0, "vision.hidden[-2]", (1,), (0.5,), (), True, {})
"""Values tried for required options that were not given."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One part under test.

    Attributes:
        record: The part, as registered.
        registry: The registry of the part and of the parts in its slots.
        options: Its options; missing required ones are filled in.
        signals: How to make signals that the kit does not know.
        make: Makes the tokens of a case; None for the kit's own tokens.
        value: The set function that a coverage function computes, if it was given.
        examples: How many examples are drawn for each property.
        made: Cache of tokens.
    """

    record: Record
    registry: Registry
    options: Mapping[str, Any] = field(default_factory=dict)
    signals: Mapping[str, MakeSignal] = field(default_factory=dict)
    make: Callable[[Case], VisualTokens] | None = None
    value: Callable[[Any, list[int]], float] | None = None
    examples: int = 10
    made: dict[Case, VisualTokens] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind} '{self.record.name}' ({self.record.origin})"

    @property
    def kind(self) -> str:
        """Kind of part."""
        return self.record.kind.name

    @cached_property
    def spec(self) -> ComponentSpec:
        """Its frozen options."""
        return validated(self.record, self.registry, self.options)

    def part(self) -> Any:
        """A fresh live part."""
        return self.registry.build(self.kind, self.spec)

    def tokens(self, case: Case) -> VisualTokens:
        """New tokens with every signal that the part and the parts inside it read; padding holds 3."""
        if self.make is not None:
            mine = self.make(case)
            return mine if RANK in mine.signals else _with_rank(mine, case)
        if case not in self.made:
            self.made[case] = noisy(case.tokens(self.needs, self.signals), 3.0)
        return _copied(self.made[case])

    @cached_property
    def needs(self) -> frozenset[str]:
        """Signals that the part and the parts inside it read."""
        return frozenset().union(*(part.needs for part in self.part().walk()))


def _with_rank(tokens: VisualTokens, case: Case) -> VisualTokens:
    return replace(tokens, signals=tokens.signals.beside({RANK: case.tokens().signal(RANK)}))


def _copied(tokens: VisualTokens) -> VisualTokens:
    """A copy: a part may write to its inputs, which another property detects."""
    planes = ("features", "valid", "required", "row", "col", "tile", "image")
    copies = {name: getattr(tokens, name).clone() for name in planes}
    return replace(tokens, **copies, signals=Signals({name: tokens.signals[name].clone() for name in tokens.signals}))


def subject_of(
    kind: str | None,
    part: str | Entry | Mapping[str, Any],
    *,
    options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
    **more: Any,
) -> Subject:
    """The part that a caller names, with its required options filled in.

    Raises:
        UnknownNameError: there is no such part, or parts of several kinds have this name.
        SpecError: the options are wrong, or required ones that the kit cannot guess are missing.
    """
    registry = registry or default_registry()
    given = dict(options or {})
    if isinstance(part, Entry):
        kind = kind or _kind_of(part)
        registry, name = _with_entry(registry, kind, part), part.name
    elif isinstance(part, Mapping):
        name, given = str(part["name"]), {**{k: v for k, v in part.items() if k != "name"}, **given}
    else:
        name = part
    record = registry.get(kind or _only_kind(name, registry), name)
    return Subject(record, registry, filled_in(record, registry, given), **more)


def validated(record: Record, registry: Registry, options: Mapping[str, Any]) -> ComponentSpec:
    """The spec with these options.

    Raises:
        SpecError: they are wrong.
    """
    try:
        return record.spec.model_validate({"name": record.name, **options}, context={"registry": registry})
    except ValidationError as error:
        where = f"options of {record.kind.name} '{record.name}'"
        raise SpecError(explain(error, where, {"selector": None, **options})) from error


def filled_in(record: Record, registry: Registry, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options; missing required ones are taken from the spec's examples, or guessed.

    Raises:
        SpecError: no value that the kit tries is valid.
    """
    missing = [
        name
        for name, field in record.spec.model_fields.items()
        if field.is_required() and name != "name" and name not in options
    ]
    ways = (_values(record, name, registry) for name in missing)
    guesses = (dict(zip(missing, chosen, strict=True)) for chosen in islice(product(*ways), 500))
    for guess in chain([{}], [] if options else examples_of(record), guesses):
        tried = {**guess, **options}
        try:
            validated(record, registry, tried)
        except SpecError:
            continue
        return tried
    try:
        validated(record, registry, options)
    except SpecError as error:
        raise SpecError(
            f"{error}; the kit cannot guess them: give options={{...}}, or put an example into the spec: "
            f"model_config = ConfigDict(json_schema_extra={{'examples': [{{...}}]}})"
        ) from error
    return dict(options)


def examples_of(record: Record) -> list[dict[str, Any]]:
    """Options that the spec's author gave as examples, in pydantic's way."""
    extra = record.spec.model_config.get("json_schema_extra")
    found = extra.get("examples", []) if isinstance(extra, dict) else []
    return [dict(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _values(record: Record, name: str, registry: Registry) -> tuple[Any, ...]:
    slot = slots_of(record.spec).get(name)
    if slot is None:
        annotation = record.spec.model_fields[name].annotation
        return get_args(annotation) if str(get_origin(annotation)) == "typing.Literal" else VALUES
    default = registry.default(slot.kind)
    names = [default.name] if default else registry.names(slot.kind)
    return tuple((one,) if slot.many else one for one in names)


def _kind_of(entry: Entry) -> str:
    from scope_core.registry.targets import import_target

    target = import_target(entry.target, f"'{entry.name}'") if isinstance(entry.target, str) else entry.target
    for kind in KINDS:
        if kind.base and isinstance(target, type) and issubclass(target, import_target(kind.base, "")):
            return kind.name
    raise UnknownNameError(f"{target!r} is not a part: subclass one of scope_core's interfaces, e.g. SaliencySource")


def _only_kind(name: str, registry: Registry) -> str:
    kinds = [kind.name for kind in KINDS if kind.base and registry.has(kind.name, name)]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UnknownNameError(f"'{name}' is the name of a {' and a '.join(kinds)}; say which, e.g. kind='{kinds[0]}'")
    known = sorted({known for kind in KINDS if kind.base for known in registry.names(kind.name)})
    broken = "".join(f". Perhaps it belongs to a broken plugin: {failure}" for failure in registry.failures)
    raise UnknownNameError(
        f"no part is called '{name}'{did_you_mean(name, known)}. Installed: {listed(known)}{broken}. Is your package "
        f"installed (pip install -e .)? A module that is not: registry=default_registry().with_module(module)"
    )


def _with_entry(registry: Registry, kind: str, entry: Entry) -> Registry:
    hook = kind_named(kind).hook

    def give() -> list[Entry]:
        return [entry]

    give.__name__ = hook
    return registry.with_module(SimpleNamespace(**{hook: hookimpl(give)}), name="scope_core.testing")
