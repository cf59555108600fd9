"""A spec's table, completed: by its recipe, and each later stage by the stage before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError

from scope_core.errors import ScopeError, did_you_mean, listed, nearest, quoted
from scope_core.pruning.spec_short import from_short, short_hint, wrong_amount
from scope_core.registry.kinds import kind_named
from scope_core.registry.lookup import PartLookup
from scope_core.registry.mistakes import check_many, known_options, mistake
from scope_core.registry.option_types import as_share
from scope_core.registry.specs import ComponentSpec, Spec, slots_of

MISSPELT = 0.8
"""How near an unknown recipe must be to a known one to be taken for it, so that all mistakes are found at once."""
_FIRST_ONLY = ("then", "recipe", "adapter")

Mistakes = list[InitErrorDetails]


def completed(data: Mapping[Any, Any], model: type[Spec], registry: PartLookup) -> tuple[dict[str, Any], Mistakes]:
    """A spec's table with all its options in their places, and the mistakes met on the way.

    Args:
        data: The table as written.
        model: The class of specs.
        registry: The registry that names are looked up in.
    """
    fields, inner = model.model_fields, selector_options(registry)
    known = [*inner, *fields]

    def unknown(option: str, options: str) -> str:
        return f"there is no option {quoted(option)}{did_you_mean(option, known)}{options}{_owners(option, registry)}"

    table, found = known_options(data, known, unknown)
    if table.get("recipe") is not None:
        table = _over_recipe(table, model, registry, found)
    if table.get("then"):
        table["then"] = _full_stages(table, model, registry, found)
    given = {key: table.pop(key) for key in inner if key in table and key not in fields}
    selector = registry.default("selector")
    if given and "selector" in table:
        text = f"{listed(given)} and 'selector' are both given; move {listed(given)} into the selector"
        found.append(mistake("scope_contradiction", text))
    elif given and selector:
        table["selector"] = {"name": selector.name, **given}
    return table, found


def selector_options(registry: PartLookup) -> list[str]:
    """Options of the default selector, which may be written at the top level."""
    selector = registry.default("selector")
    return [option for option in selector.spec.model_fields if option != "name"] if selector else []


def _over_recipe(data: dict[str, Any], model: type[Spec], registry: PartLookup, found: Mistakes) -> dict[str, Any]:
    """The recipe's options, overridden by the user's; a table without a name overrides single options of a part."""
    given = data["recipe"]
    if not isinstance(given, str):
        return data  # refused by the field's own check
    try:
        recipe = registry.get("recipe", given).item
    except ScopeError as error:
        hint = short_hint(given, registry)
        text = f"{error}{hint}" if hint else wrong_amount(given, registry) or str(error)
        found.append(mistake("scope_unknown_part", text, "recipe"))
        data = {key: value for key, value in data.items() if key != "recipe"}
        meant = nearest(given, (record.name for record in registry.records("recipe")), cutoff=MISSPELT)
        if not meant:
            return data
        recipe = registry.get("recipe", meant).item  # the other mistakes are those that the recipe as meant would have
    merged = dict(recipe.spec)
    inner, default = merged.get("selector"), registry.default("selector")
    if isinstance(inner, Mapping) and default is not None and inner.get("name", default.name) == default.name:
        merged.pop("selector")  # move the default selector's options to the top level, as in the long form
        merged.update({key: value for key, value in inner.items() if key != "name"})
    for key, value in data.items():
        merged[key] = changed_part(key, merged.get(key), value, model, registry)
    if "selector" in data:  # a whole selector replaces the recipe's parts
        options = selector_options(registry)
        merged = {key: value for key, value in merged.items() if key not in options or key in data}
    return merged


def _full_stages(data: Mapping[str, Any], model: type[Spec], registry: PartLookup, found: Mistakes) -> Any:
    """The later stages in full: each has the options of the stage before it, overridden by its own."""
    given = data["then"]
    try:
        if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
            text = f"give a list of stages under 'then', not {quoted(given)}"
            raise PydanticCustomError("scope_list_wanted", "{text}", {"text": text})
        check_many(given, "stages")
    except PydanticCustomError as error:
        found.append(mistake(error.type, str(error), "then"))
        return ()
    before = {key: value for key, value in data.items() if key not in _FIRST_ONLY}
    stages: list[Any] = []
    for number, stage in enumerate(given):
        wrong: Mistakes = []
        full = _full_stage(stage, before, model, registry, wrong)
        found += [{**one, "loc": ("then", number, *one["loc"])} for one in wrong]
        stages.append(full)
        before = {key: value for key, value in full.items() if key not in _FIRST_ONLY}
    return stages


def _full_stage(
    stage: Any, before: Mapping[str, Any], model: type[Spec], registry: PartLookup, found: Mistakes
) -> dict[str, Any]:
    """One later stage in full; ``before`` is the stage before it."""
    try:
        table = from_short(stage) if isinstance(stage, str) else stage
    except ScopeError as error:
        found.append(mistake("scope_contradiction", str(error)))
        return dict(before)
    if not isinstance(table, Mapping):
        text = f"cannot read {quoted(stage)} as a stage; give a table such as {{at: 'decoder[8]'}}"
        found.append(mistake("scope_name_missing", text))
        return dict(before)
    wrong = sorted(key for key in ("then", "adapter") if key in table)
    if wrong:
        text = f"'{wrong[0]}' belongs to the first stage; list all later stages in its one 'then'"
        found.append(mistake("scope_contradiction", text))
        table = {key: value for key, value in table.items() if key not in wrong}
    if table.get("recipe") is not None:
        full = _over_recipe(dict(table), model, registry, found)
        if "recipe" in full:  # drop what the recipe gives for first stages only
            return {**full, "then": (), "adapter": None}
        table = full
    full = {**before, **{key: changed_part(key, before.get(key), new, model, registry) for key, new in table.items()}}
    if "selector" in table:  # a whole selector replaces the parts of the stage before
        return {k: v for k, v in full.items() if k not in selector_options(registry) or k in table}
    if "selector" in before and set(table) & set(selector_options(registry)):
        full.pop("selector")
    return full


def changed_part(key: str, old: Any, new: Any, model: type[Spec], registry: PartLookup) -> Any:
    """``new``; or ``old`` with some options changed, if ``new`` is a table without a name, a bare number or a share."""
    share = as_share(new) if isinstance(new, str) else None
    number = share is not None or (isinstance(new, Real) and not isinstance(new, bool))
    if old is None or not (number or (isinstance(new, Mapping) and "name" not in new)):
        return new
    if number and isinstance(old, Real):  # a bare number is of the recipe's part, which is filled in later
        return new
    selector = registry.default("selector")
    slot = {**slots_of(model), **(slots_of(selector.spec) if selector else {})}.get(key)
    if slot is None:
        return new
    try:
        table = old.model_dump() if isinstance(old, ComponentSpec) else slot.as_mapping(old, registry)
        if not number:
            return {**table, **new}
        # a number sets the number of the old part, if it has one: "pyramiddrop@64" keeps the recipe's kind of budget
        short = registry.get(slot.kind, table["name"]).spec.shorthand
        fits = short is not None and short[0] is (int if isinstance(new, Integral) else float)
        return {**table, short[1]: new if share is None else share} if fits and short else new
    except (PydanticCustomError, ScopeError):  # the old value is not a part; validation reports it if it is still used
        return new


def _owners(option: str, registry: PartLookup) -> str:
    """A hint that names the parts that have an option which was written at the top level; empty if none has it."""
    owners = [
        f"{kind} '{record.name}'"
        for kind in registry.kinds()
        if kind_named(kind).base
        for record in registry.records(kind)
        if option in record.spec.model_fields and option != "name"
    ]
    if not owners:
        return ""
    return f". ('{option}' is an option of {', '.join(owners)}; write e.g. `{owners[0].split()[0]}: {{{option}: ...}}`)"
