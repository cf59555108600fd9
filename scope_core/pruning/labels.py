"""Labels of specs for tables: the recipe, what differs from it, and the budget: ``scope+alpha=0.5@64``."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from scope_core.errors import SpecError
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.spec_reader import read_spec
from scope_core.registry.lookup import PartLookup

LONGEST = 48
"""Longer labels name the options that differ, and end with four digits that tell them apart: ``scope+then#3f2a@64``."""
_ABSENT = {"constraints": "none", "order": "raster", "attention_bias": "none", "then": "none"}
"""How options are written that the long form leaves out."""


def label_of(spec: PrunerSpec, registry: PartLookup) -> str:
    """`PrunerSpec.label` with the options that differ from the recipe.

    * another value of an option: ``scope+alpha=0.5@64``; with its part where two options have the same name
    * another part: ``scope+coverage=log_det@64``, with the options that differ from its defaults in brackets
    * other options of the budget than its number: ``scope+per=tile@64``
    * too long: ``scope+coverage+combiner#3f2a@64``

    Specs with equal labels are equal, except for the recipe's name in specs without a recipe, and colliding digits.
    """
    recipe, _, amount = spec.label.rpartition("@")
    found = options_of(spec, registry)
    names = Counter(path.rpartition(".")[2] for path in found)
    texts = []
    for path, value in found.items():
        last = path.rpartition(".")[2]
        texts.append(f"{path if names[last] > 1 else last}={value}")
    label = "+".join([recipe, *texts]) + f"@{amount}"
    if len(label) <= LONGEST + len(recipe) + len(amount):
        return label
    digits = hashlib.sha256(json.dumps(spec.to_dict(registry), sort_keys=True).encode()).hexdigest()[:4]
    keys = dict.fromkeys(path.partition(".")[0] for path in found)
    return "+".join([recipe, *keys]) + f"#{digits}@{amount}"


def changes(spec: PrunerSpec, registry: PartLookup) -> dict[str, Any]:
    """Options that differ from the recipe: ``{key of the long form: the recipe's value, None if it has none}``.

    The budget is ignored, since a recipe need not have one.
    """
    if spec.recipe is None:
        return {}
    given, plain = spec.to_dict(registry), _base(spec, registry)
    return {key: plain.get(key) for key in {**plain, **given} if key != "budget" and given.get(key) != plain.get(key)}


def options_of(spec: PrunerSpec, registry: PartLookup) -> dict[str, str]:
    """What differs from the recipe, as texts by path: ``{"combiner.alpha": "0.5", "coverage": "log_det"}``.

    Specs without a recipe are compared with the default parts. The number of the budget is left out.
    """
    given, plain = spec.to_dict(registry), _base(spec, registry)
    short = type(spec.budget).shorthand
    found: dict[str, str] = {}
    for key in {**plain, **given}:
        new, old = given.get(key), plain.get(key)
        if key == "budget":
            new, old = (_without(value, short[1] if short else "") for value in (new, old))
        if new == old or ("selector" in given and key not in given):
            continue
        if key == "then":
            found[key] = ",".join(f"{stage.at}@{label_of(stage, registry).rpartition('@')[2]}" for stage in spec.then)
            found[key] = found[key] or "none"
        elif new is None:
            found[key] = _ABSENT.get(key, "none")
        elif isinstance(new, Mapping) and isinstance(old, Mapping) and new.get("name") == old.get("name"):
            for option in {**old, **new}:
                if new.get(option) != old.get(option):
                    found[f"{key}.{option}"] = _text(new.get(option))
        elif key == "budget" and _name(new) == _name(old):
            found.update({f"budget.{k}": _text(v) for k, v in dict(new).items() if k != "name"})
        else:
            found[key] = _part(key, new, spec, registry)
    return found


def _base(spec: PrunerSpec, registry: PartLookup) -> dict[str, Any]:
    """The long form of the recipe, or of the default parts, with a budget of the same name as the spec's."""
    plain = {} if spec.recipe is None else {"recipe": spec.recipe}
    short = type(spec.budget).shorthand
    number = {} if short is None else {short[1]: getattr(spec.budget, short[1])}
    for budget in ({}, {"budget": {"name": spec.budget.name, **number}}, {"budget": spec.budget}):
        try:
            base = read_spec({**plain, **budget}, registry)
        except SpecError:  # a budget is missing, or needs more options
            continue
        if base.budget.name == spec.budget.name:
            return base.to_dict(registry)
    return {}


def _part(key: str, value: Any, spec: PrunerSpec, registry: PartLookup) -> str:
    """A part's name (or those of a list), with the options that differ from its defaults in brackets."""
    if isinstance(value, list):
        return ",".join(_part(key, one, spec, registry) for one in value) or "none"
    if not isinstance(value, Mapping):
        return _text(value)
    many = isinstance(spec.to_dict(registry)[key], list)
    try:
        read = read_spec({"budget": spec.budget, key: [value["name"]] if many else value["name"]}, registry)
        default = read.to_dict(registry)[key]
    except (SpecError, KeyError):  # it has options without a default
        default = value["name"]
    default = default[0] if many and isinstance(default, list) else default
    known = default if isinstance(default, Mapping) else {}
    options = [f"{name}={_text(one)}" for name, one in value.items() if name != "name" and known.get(name) != one]
    return f"{value['name']}({','.join(options)})" if options else str(value["name"])


def _text(value: Any) -> str:
    """A value in a label: numbers as short as they are exact, a part as its name and options."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, Mapping):
        options = [f"{name}={_text(one)}" for name, one in value.items() if name != "name"]
        return f"{value['name']}({','.join(options)})" if "name" in value else f"({','.join(options)})"
    return ",".join(map(_text, value)) or "none" if isinstance(value, list) else str(value)


def _without(value: Any, option: str) -> Any:
    return {key: one for key, one in value.items() if key != option} if isinstance(value, Mapping) else value


def _name(value: Any) -> Any:
    return value.get("name") if isinstance(value, Mapping) else value
