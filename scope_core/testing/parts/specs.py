"""Properties of a part's class, spec and registration."""

from __future__ import annotations

import functools
import inspect
import json
import math
import warnings
from typing import Any, get_args, get_origin

import yaml
from pydantic.errors import PydanticInvalidForJsonSchema

from scope_core.errors import MissingDependencyError, ScopeError, SpecError
from scope_core.parts.kernel import Kernel
from scope_core.pruning.spec_schema import json_schema
from scope_core.registry.registry import Registry
from scope_core.registry.specs import slots_of
from scope_core.structures.signals import parse_signal
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.subject import VALUES, Subject, validated

HOLDERS = ("similarity", "coverage", "combiner")
"""Kinds of part whose `matrices` says how much memory they need."""


def attributes_can_be_read(subject: Subject, case: Case) -> None:
    """The part can be built, and the attributes that it declares can be read."""
    try:
        part = subject.part()
    except ScopeError as error:
        raise PropertyViolation(str(error)) from error
    for name in sorted(name for name in dir(type(part)) if not name.startswith("_")):
        if inspect.isroutine(inspect.getattr_static(type(part), name)):
            continue
        try:
            value = getattr(part, name)
        except Exception as error:  # a third-party property may raise anything
            raise PropertyViolation(f"reading `{name}` {raised(error)}") from error
        if _is_flag(part, name) and not isinstance(value, bool):
            raise PropertyViolation(f"`{name}` is {value!r}; expected True or False")
        if name == "needs":
            _check_needs(value)
        if name == "matrices" and subject.kind in HOLDERS and not _is_count(value):
            raise PropertyViolation(f"`matrices` is {value!r}; expected a number of N x N matrices, 0 or more")
        if name in ("copies", "held") and not _is_count(value):
            raise PropertyViolation(f"`{name}` is {value!r}; expected how often vectors are held, 0 or more")
        if name == "reach" and value is not None and not _is_reach(value):
            raise PropertyViolation(f"`reach` is {value!r}; expected (frames before, frames after), or None for all")
        if name == "kernel" and not isinstance(value, Kernel | None):
            raise PropertyViolation(f"`kernel` is {value!r}; expected a scope_core.parts.Kernel, or None for none")
        if name == "bounds" and not (isinstance(value, tuple) and len(value) == 2):
            raise PropertyViolation(f"`bounds` is {value!r}; expected (lowest, highest), None for a missing bound")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_reach(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(one) is int and one >= 0 for one in value)


def _is_flag(part: Any, name: str) -> bool:
    """True if the interface declares ``name`` as True or False."""
    for cls in type(part).__mro__:
        if cls.__module__.startswith("scope_core.parts.") and name in vars(cls):
            value = vars(cls)[name]
            return isinstance(value, bool) or (isinstance(value, property) and "bool" in str(_returns(value)))
    return False


def _returns(value: property) -> Any:
    return getattr(value.fget, "__annotations__", {}).get("return", "")


def _check_needs(value: Any) -> None:
    if not isinstance(value, frozenset | set) or not all(isinstance(name, str) for name in value):
        raise PropertyViolation(f"`needs` is {value!r}; expected a frozenset of signal names")
    for name in value:
        try:
            parse_signal(name)
        except ScopeError as error:
            raise PropertyViolation(f"`needs`: {error}") from error


def every_option_is_documented(subject: Subject, case: Case) -> None:
    """The summary has one line; the class, the spec and every option have a docstring."""
    entry, spec, target = subject.record.item, subject.record.spec, subject.record.target
    if not entry.summary.strip() or "\n" in entry.summary or entry.summary.endswith("."):
        raise PropertyViolation(f"its Entry's summary is {entry.summary!r}; expected one line without a full stop")
    for cls in (target, spec):
        if not (cls.__doc__ or "").strip():
            raise PropertyViolation(
                f'class {cls.__name__} has no docstring; write """what it computes""" under its first line'
            )
    for name, field in spec.model_fields.items():
        if name != "name" and not field.description:
            raise PropertyViolation(f'option `{name}` has no docstring; write """what it does""" on the line under it')


def spec_survives_json_and_yaml(subject: Subject, case: Case) -> None:
    """A spec that is written as JSON or YAML reads back as the same spec."""
    for options in _variants(subject):
        spec = validated(subject.record, subject.registry, options)
        try:
            data = spec.model_dump(mode="json")
            texts = {"JSON": json.loads(json.dumps(data)), "YAML": yaml.safe_load(yaml.safe_dump(data))}
        except Exception as error:  # a third-party serializer may raise anything
            raise PropertyViolation(f"the spec of options {options} cannot be written: it {raised(error)}") from error
        for form, back in texts.items():
            try:
                again = validated(subject.record, subject.registry, {k: v for k, v in back.items() if k != "name"})
            except SpecError as error:
                raise PropertyViolation(f"written as {form}, {data} cannot be read back: {error}") from error
            if again != spec:
                raise PropertyViolation(f"{spec!r} comes back from {form} as {again!r}")
        if spec.model_config.get("frozen") is not True or spec.model_config.get("extra") != "forbid":
            raise PropertyViolation("its spec's model_config changes frozen=True or extra='forbid'; keep both")
        try:
            hash(spec)
        except TypeError as error:
            raise PropertyViolation(
                f"its spec cannot be hashed: {error}; use tuples in place of lists, sets and dicts"
            ) from error


def schema_accepts_its_specs(subject: Subject, case: Case) -> None:
    """The JSON Schema is valid and accepts what the spec writes."""
    try:
        import jsonschema
    except ImportError as error:
        raise MissingDependencyError(
            f"checking JSON Schemas needs jsonschema: {error}. Try: pip install jsonschema"
        ) from error
    name = f"{subject.kind}.{subject.record.name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            own = subject.record.spec.model_json_schema()
    except (PydanticInvalidForJsonSchema, Warning) as error:
        raise PropertyViolation(f"an option's type has no JSON Schema: {error}") from error
    whole = _whole(subject.registry)
    document = {"$schema": whole["$schema"], "$ref": f"#/$defs/{name}", "$defs": whole["$defs"]}
    try:
        jsonschema.Draft202012Validator.check_schema(own)
        validator = jsonschema.Draft202012Validator(document)
        for options in _variants(subject):
            validator.validate(validated(subject.record, subject.registry, options).model_dump(mode="json"))
    except jsonschema.SchemaError as error:
        raise PropertyViolation(f"its JSON Schema is not valid: {error.message}") from error
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the spec"
        raise PropertyViolation(
            f"its JSON Schema refuses what the spec itself writes, at {where}: {error.message}"
        ) from error


@functools.lru_cache(maxsize=4)
def _whole(registry: Registry) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return json_schema(registry)


def _variants(subject: Subject) -> list[dict[str, Any]]:
    """The options as given, and copies in which one option has another valid value."""
    made = [dict(subject.options)]
    for name, field in subject.record.spec.model_fields.items():
        if name == "name" or name in slots_of(subject.record.spec):
            continue
        literal = get_origin(field.annotation) is not None and "Literal" in str(get_origin(field.annotation))
        for value in get_args(field.annotation) if literal else VALUES[:3]:
            options = {**subject.options, name: value}
            try:
                validated(subject.record, subject.registry, options)
            except SpecError:
                continue
            made.append(options)
    return made
