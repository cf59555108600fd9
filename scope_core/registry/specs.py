"""Specs: pydantic models that configure parts, and slots, which accept the spec of any part of a kind.

A part is configured by a frozen model that its author writes; the ``name: Literal[...]`` in it is the part's
registration name. A field that accepts *any* spec of a kind is a `Slot`::

    class CompositeSpec(ComponentSpec):
        name: Literal["composite"] = "composite"
        saliency: Annotated[ComponentSpec, Slot("saliency")]

Names in slots are looked up in a registry: the one passed as validation context
(``Model.model_validate(data, context={"registry": r})``), or else the process' default registry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, SerializationInfo, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as cs

from scope_core.errors import ScopeError, choices, did_you_mean, listed, quoted
from scope_core.registry.kinds import HERE, HOME
from scope_core.registry.lookup import PartLookup, default_lookup
from scope_core.registry.mistakes import check_keys, check_many, known_options, mistake, mistakes_of, raise_all
from scope_core.registry.option_types import as_share, exact

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue


def registry_of(info: ValidationInfo | None) -> PartLookup:
    """The registry that this validation looks names up in (see the module's docstring)."""
    context = info.context if info is not None else None
    if isinstance(context, Mapping) and context.get("registry") is not None:
        registry: PartLookup = context["registry"]
        return registry
    return default_lookup()


SLOT_MARK = "x-scope-slot"
"""Key that marks a slot in a model's own JSON Schema."""


class Slot:
    """Field metadata: this field holds the spec of a part of ``kind``, looked up by name.

    The field accepts a spec object, a mapping with a ``name`` key, a bare name, or a bare number if a part of that kind
    declares a `ComponentSpec.shorthand` for it.

    Args:
        kind: Kind of part.
        many: True for a tuple of specs.
        optional: True to allow None.
    """

    def __init__(self, kind: str, *, many: bool = False, optional: bool = False) -> None:
        self.kind = kind
        self.many = many
        self.optional = optional

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> cs.CoreSchema:
        dump = cs.plain_serializer_function_ser_schema(self._dump, info_arg=True)
        item: cs.CoreSchema = cs.with_info_plain_validator_function(self._validate, serialization=dump)
        if not self.many:
            return item
        items = cs.tuple_schema([item], variadic_item_index=0)  # pydantic adds the item's index to an error's path
        return cs.no_info_before_validator_function(self._as_tuple, items, serialization=dump)

    def _validate(self, value: Any, info: ValidationInfo) -> Any:
        if value is None and self.optional:
            return None
        return self.resolve(value, info)

    def _as_tuple(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            text = f"give a list of {self.kind} parts, not {quoted(value)}"
            raise PydanticCustomError("scope_list_wanted", "{text}", {"text": text})
        check_many(value, f"{self.kind} parts")
        return tuple(value)

    def _dump(self, value: Any, info: SerializationInfo) -> Any:
        if value is None:
            return None
        if self.many:
            return [spec.model_dump(mode=info.mode) for spec in value]
        return value.model_dump(mode=info.mode)

    def __get_pydantic_json_schema__(self, schema: cs.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # what a slot accepts depends on the registry, so `scope_core.pruning.spec_schema` replaces this mark
        return {SLOT_MARK: {"kind": self.kind, "many": self.many, "optional": self.optional}}

    def resolve(self, value: Any, info: ValidationInfo) -> ComponentSpec:
        """The spec that ``value`` stands for; errors have the field's path."""
        registry = registry_of(info)
        if isinstance(value, ComponentSpec):
            return self._checked_instance(value, registry)
        data = self.as_mapping(value, registry)
        model = self._model(data["name"], registry)
        right, found = known_options(data, model.model_fields, partial(self._unknown, model, registry))
        try:
            made = model.model_validate(right, context=info.context)
        except ValidationError as error:
            found += mistakes_of(error)
        except (PydanticCustomError, ScopeError):
            raise
        except Exception as error:  # third-party validators may raise anything
            owner = registry.get(self.kind, data["name"]).origin
            text = f"the spec of {self.kind} '{data['name']}' ({owner}) raised {error!r}"
            found.append(mistake("scope_broken_spec", text))
        raise_all(model.__name__, found)
        return made

    def _checked_instance(self, value: ComponentSpec, registry: PartLookup) -> ComponentSpec:
        if registry.has(self.kind, value.name) and registry.get(self.kind, value.name).spec is type(value):
            return value
        kinds = listed(kind for kind in registry.kinds() if value.name in registry.names(kind))
        raise PydanticCustomError(
            "scope_wrong_kind",
            "{text}",
            {
                "text": f"{type(value).__name__} is not the spec of an installed {self.kind} "
                f"('{value.name}' is registered as: {kinds}). "
                f"Installed {self.kind} parts: {choices(registry.names(self.kind))}"
            },
        )

    def as_mapping(self, value: Any, registry: PartLookup) -> dict[str, Any]:
        """The table that a short form (a bare name or number) stands for."""
        if isinstance(value, str):
            share = as_share(value)
            if share is None or not self._takes_shares(registry):
                return {"name": value}
            value = share
        if isinstance(value, Real) and not isinstance(value, bool):
            number = int(value) if isinstance(value, Integral) else float(value)  # NumPy's numbers too
            default = registry.default(self.kind)
            for record in ([default] if default else []) + self._built_in(registry):
                short = shorthand_of(record.spec)
                if short is not None and short[0] is type(number):
                    return {"name": record.name, short[1]: number}
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return dict(value)
        if isinstance(value, Mapping):
            owners = sorted(
                f"'{key}' belongs to {listed(names)}"
                for key in map(str, value)
                if (names := [r.name for r in registry.records(self.kind) if key in r.spec.model_fields])
            )
            hint = f" ({'; '.join(owners)})" if owners else ""
            text = f"this {self.kind} has no name{hint}; write {{name: ..., ...}}"
        else:
            text = f"cannot read {quoted(value)} as a {self.kind}; give a name, or a table with a 'name' key"
        raise PydanticCustomError(
            "scope_name_missing", "{text}", {"text": f"{text}. Installed: {choices(registry.names(self.kind))}"}
        )

    def _built_in(self, registry: PartLookup) -> list[Any]:
        """The records of built-in parts of this kind; only these may have a shorthand."""
        return [record for record in registry.records(self.kind) if record.origin.distribution in (HOME, HERE)]

    def _takes_shares(self, registry: PartLookup) -> bool:
        """True if a part of this kind has a number with a point as its short form."""
        shorts = [shorthand_of(record.spec) for record in self._built_in(registry)]
        return any(short is not None and short[0] is float for short in shorts)

    def _model(self, name: str, registry: PartLookup) -> type[ComponentSpec]:
        try:
            model: type[ComponentSpec] = registry.get(self.kind, name).spec
        except ScopeError as error:
            text = f"{error}{self._number_hint(name, registry)}"
            raise PydanticCustomError("scope_unknown_part", "{text}", {"text": text}) from error
        return model

    def _number_hint(self, name: str, registry: PartLookup) -> str:
        """The hint for a number in quotes, if this kind accepts bare numbers; else empty."""
        accepts_numbers = any(shorthand_of(record.spec) for record in self._built_in(registry))
        if not accepts_numbers or not re.fullmatch(r"(0|[1-9]\d*)(\.\d+)?", name):
            return ""
        return f". Write the number without quotes: `{self.kind}: {name}`"

    def _unknown(self, model: type[ComponentSpec], registry: PartLookup, option: str, options: str) -> str:
        near = did_you_mean(option, (field for field in model.model_fields if field != "name"))
        text = f"{self.kind} '{name_of(model)}' has no option {quoted(option)}{near}{options}"
        others = [r.name for r in registry.records(self.kind) if option in r.spec.model_fields]
        return text + (f". ({quoted(option)} is an option of {listed(others)})" if others else "")


class Spec(BaseModel):
    """Base of all specs: frozen and hashable; refuses unknown options, and fills slots that are left out."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_default=True,  # so that a slot's default may be a bare name
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> cs.CoreSchema:
        checked: cs.CoreSchema = exact(handler(source))
        return checked

    @model_validator(mode="before")
    @classmethod
    def _fill_slots(cls, data: Any, info: ValidationInfo) -> Any:
        """Give required slots that were left out the default part of their kind, if there is one."""
        if not isinstance(data, Mapping):
            return data
        check_keys(data)
        filled = cls._prepare(dict(data), info)
        for field, slot in slots_of(cls).items():
            if field not in filled and cls.model_fields[field].is_required() and not slot.many:
                default = registry_of(info).default(slot.kind)
                if default is not None:
                    filled[field] = default.name
        return filled

    @classmethod
    def _prepare(cls, data: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """The input as rewritten before its slots are filled."""
        return data


class ComponentSpec(Spec):
    """Base of every part's spec.

    Subclasses define ``name: Literal["part"] = "part"`` and their options. Third-party names are ``vendor.part``;
    names without a dot are reserved for the parts that come with scope-core.

    Attributes:
        shorthand: ``(type, field)``: a bare value of that type in a slot means this spec with that field
            set, e.g. ``(int, "keep")`` allows ``budget: 64``. Built-in parts only.
    """

    shorthand: ClassVar[tuple[type, str] | None] = None

    name: str


def shorthand_of(model: type[ComponentSpec]) -> tuple[type, str] | None:
    """The shorthand by which a bare value alone stands for this spec; None if other options are required.

    A part with other required options accepts a bare value only if a recipe already sets these.
    """
    short = model.shorthand
    others = [f for name, f in model.model_fields.items() if short is not None and name not in ("name", short[1])]
    return None if any(field.is_required() for field in others) else short


def slots_of(model: type[BaseModel]) -> dict[str, Slot]:
    """The fields of ``model`` that are slots."""
    return {
        field: meta for field, info in model.model_fields.items() for meta in info.metadata if isinstance(meta, Slot)
    }


def name_of(model: type[ComponentSpec]) -> str:
    """The registration name written in a spec's ``name: Literal["..."]``.

    Raises:
        TypeError: the field is not a Literal of exactly one string, or its default differs.
    """
    field = model.model_fields["name"]
    names = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if len(names) != 1 or not isinstance(names[0], str) or field.default != names[0]:
        raise TypeError(
            f"{model.__module__}.{model.__qualname__} must declare its name as "
            f'`name: Literal["my_part"] = "my_part"`; found {field.annotation!r} with default {field.default!r}'
        )
    name: str = names[0]
    return name


def spec_of(part: type) -> type[ComponentSpec] | None:
    """The spec model of a part's class: the one in brackets after a base class, as in ``SaliencySource[PeakSpec]``."""
    for cls in part.__mro__:
        for base in vars(cls).get("__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, ComponentSpec):
                    return argument
    return None
