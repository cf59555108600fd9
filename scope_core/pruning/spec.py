"""`PrunerSpec`: the whole configuration of a pruner, and the ways to write one.

These are equivalent::

    "scope@64"                                  # a recipe and its budget
    {"recipe": "scope", "budget": 64}           # options override the recipe's
    "pruner.yaml"                               # a file that holds such a table
    {"saliency": "cls_attention", "budget": 64, ...}   # the long form; `scope explain scope@64` prints it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from numbers import Integral, Real
from typing import Annotated, Any, Literal

import yaml
from pydantic import ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from scope_core.errors import ScopeError, SpecError, did_you_mean, listed
from scope_core.pruning.spec_short import decoder_layer, from_short, short_hint, wrong_amount
from scope_core.registry.kinds import kind_named
from scope_core.registry.lookup import PartLookup
from scope_core.registry.specs import ComponentSpec, Slot, Spec, registry_of, slots_of


class PrunerSpec(Spec):
    """A complete, validated pruner configuration.

    The options of the default selector (``saliency``, ``similarity``, ``coverage``, ``combiner``,
    ``optimizer``) may be written at the top level instead of inside ``selector``.
    """

    recipe: str | None = None
    """The recipe this was made from. Everything else overrides it."""

    selector: Annotated[ComponentSpec, Slot("selector")]
    """The selection step."""

    budget: Annotated[ComponentSpec, Slot("budget")]
    """How many tokens are kept: a number of tokens, a share between 0 and 1, or a table."""

    partition: Annotated[ComponentSpec, Slot("partition")]
    """Which tokens are selected together."""

    constraints: Annotated[tuple[ComponentSpec, ...], Slot("constraint", many=True)] = ()
    """Tokens that must stay or must go."""

    merger: Annotated[ComponentSpec, Slot("merger")]
    """What happens to dropped tokens."""

    positions: Annotated[ComponentSpec, Slot("position")]
    """Position ids after pruning."""

    order: Literal["raster", "stages", "picks"] = "raster"
    """The order in which kept tokens reach the language model: ``raster``: as they lie in the image; ``stages``: step
    by step of a chain, in raster order within each; ``picks``: as they were picked."""

    at: str = "vision"
    """Interception point, one that the model's adapter declares; ``decoder[k]``: before decoder layer k, from 0."""

    dtype: Literal["float32", "float64", "as_is"] = "float32"
    """The dtype that selection computes in; ``as_is`` keeps the model's dtype, as published code does."""

    adapter: Annotated[ComponentSpec | None, Slot("adapter", optional=True)] = None
    """The adapter and its options; the adapter that matches the model if left out."""

    then: tuple[PrunerSpec, ...] = ()
    """Later stages, inside the language model, each of which selects from the tokens left by the stage before. A stage
    lists only the options that differ from the stage before it, or names a recipe to start from."""

    @classmethod
    def _prepare(cls, data: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        registry = registry_of(info)
        if data.get("recipe") is not None:
            data = _over_recipe(data, registry)
        if data.get("then"):
            data["then"] = _full_stages(data, registry)
        selector, options = registry.default("selector"), selector_options(registry)
        inner = {key: data.pop(key) for key in options if key in data and key not in cls.model_fields}
        if inner and "selector" in data:
            raise PydanticCustomError(
                "scope_contradiction",
                "{text}",
                {"text": f"{listed(inner)} and 'selector' are both given; move {listed(inner)} into the selector"},
            )
        if inner and selector:
            data["selector"] = {"name": selector.name, **inner}
        unknown = sorted(set(data) - set(cls.model_fields))
        if unknown:
            known = [*options, *cls.model_fields]
            text = f"there is no option '{unknown[0]}'{did_you_mean(unknown[0], known)}. Options: {listed(known)}"
            text += _owners(unknown[0], registry)
            raise PydanticCustomError("scope_unknown_option", "{text}", {"text": text})
        return data

    @field_validator("at")
    @classmethod
    def _known_form(cls, at: str) -> str:
        try:
            decoder_layer(at)
        except SpecError as error:
            raise PydanticCustomError("scope_contradiction", "{text}", {"text": str(error)}) from error
        return at

    @model_validator(mode="after")
    def _points_in_order(self) -> PrunerSpec:
        points = [self.at, *(stage.at for stage in self.then)]
        layers = [decoder_layer(point) for point in points]
        for point, layer, before in zip(points[1:], layers[1:], layers, strict=False):
            if layer is None or (before is not None and layer <= before):
                raise PydanticCustomError(
                    "scope_contradiction",
                    "{text}",
                    {
                        "text": f"the stages {' -> '.join(points)} are out of order at '{point}': all stages after "
                        f"the first must be inside the language model, each at a later layer than the one before, "
                        f"e.g. vision -> decoder[8] -> decoder[16]"
                    },
                )
        return self

    def to_dict(self, registry: PartLookup | None = None) -> dict[str, Any]:
        """The long form as plain data; reading it back gives an equal spec, except for ``recipe``."""
        first = self._one_stage(registry)
        stages = [first, *(stage._one_stage(registry) for stage in self.then)]
        for before, stage in pairwise(stages):
            defaults: dict[str, Any] = {
                key: default for key, default in (("constraints", []), ("order", "raster")) if key in before
            }
            first.setdefault("then", []).append({k: v for k, v in {**defaults, **stage}.items() if before.get(k) != v})
        return first

    def _one_stage(self, registry: PartLookup | None) -> dict[str, Any]:
        data = self.model_dump(mode="json", exclude={"recipe", "then"}, exclude_none=True)
        default = (registry or registry_of(None)).default("selector")
        inner = data.pop("selector")
        if default is not None and inner["name"] == default.name:
            inner.pop("name")
        else:
            inner = {"selector": inner}
        if not data["constraints"]:
            data.pop("constraints")
        if data["order"] == "raster":
            data.pop("order")
        return {key: _shortened(value) for key, value in {**inner, **data}.items()}

    def to_yaml(self, registry: PartLookup | None = None) -> str:
        """`to_dict` as YAML, one line per part."""
        return "".join(f"{key}: {written(value)}\n" for key, value in self.to_dict(registry).items())

    @property
    def label(self) -> str:
        """A short name for tables, e.g. ``scope@64``, ``scope@25%`` or ``custom@64``."""
        short = type(self.budget).shorthand
        if short is None:
            return f"{self.recipe or 'custom'}@{self.budget.name}"
        value = getattr(self.budget, short[1])
        if value is None:
            return f"{self.recipe or 'custom'}@{self.budget.name}"
        return f"{self.recipe or 'custom'}@{f'{100 * value:g}%' if short[0] is float else value}"


def selector_options(registry: PartLookup) -> list[str]:
    """Options of the default selector, which may be written at the top level."""
    selector = registry.default("selector")
    return [option for option in selector.spec.model_fields if option != "name"] if selector else []


def _over_recipe(data: dict[str, Any], registry: PartLookup) -> dict[str, Any]:
    """The recipe's options, overridden by the user's; a table without a name overrides single options of a part."""
    try:
        recipe = registry.get("recipe", str(data["recipe"])).item
    except ScopeError as error:
        given = str(data["recipe"])
        hint = short_hint(given, registry)
        text = f"{error}{hint}" if hint else wrong_amount(given, registry) or str(error)
        raise PydanticCustomError("scope_unknown_part", "{text}", {"text": text}) from error
    merged = dict(recipe.spec)
    inner, default = merged.get("selector"), registry.default("selector")
    if isinstance(inner, Mapping) and default is not None and inner.get("name", default.name) == default.name:
        merged.pop("selector")  # move the default selector's options to the top level, as in the long form
        merged.update({key: value for key, value in inner.items() if key != "name"})
    for key, value in data.items():
        merged[key] = changed_part(key, merged.get(key), value, registry)
    if "selector" in data:  # a whole selector replaces the recipe's parts
        inner = selector_options(registry)
        merged = {key: value for key, value in merged.items() if key not in inner or key in data}
    return merged


def _full_stages(data: dict[str, Any], registry: PartLookup) -> list[Any]:
    """The later stages in full: each has the options of the stage before it, overridden by its own."""
    given = data["then"]
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise PydanticCustomError(
            "scope_list_wanted", "{text}", {"text": f"give a list of stages under 'then', not {given!r}"}
        )
    before = {key: value for key, value in data.items() if key not in ("then", "recipe", "adapter")}
    stages: list[Any] = []
    for number, stage in enumerate(given):
        try:
            full = _full_stage(stage, before, registry)
        except PydanticCustomError as error:
            raise PydanticCustomError("scope_contradiction", "{text}", {"text": f"then.{number}: {error}"}) from error
        stages.append(full)
        table = stage._one_stage(registry) if isinstance(stage, PrunerSpec) else full
        before = {key: value for key, value in table.items() if key not in _FIRST_ONLY}
    return stages


def _full_stage(stage: Any, before: Mapping[str, Any], registry: PartLookup) -> dict[str, Any]:
    """One later stage in full; ``before`` is the stage before it."""
    if isinstance(stage, PrunerSpec):
        given = {name: getattr(stage, name) for name in PrunerSpec.model_fields}
        table: Any = {name: value for name, value in given.items() if value or name not in ("then", "adapter")}
    else:
        table = from_short(stage) if isinstance(stage, str) else stage
    if not isinstance(table, Mapping):
        text = f"cannot read {stage!r} as a stage; give a table such as {{at: 'decoder[8]'}}"
        raise PydanticCustomError("scope_name_missing", "{text}", {"text": text})
    wrong = sorted(set(table) & {"then", "adapter"})
    if wrong:
        text = f"'{wrong[0]}' belongs to the first stage; list all later stages in its one 'then'"
        raise PydanticCustomError("scope_contradiction", "{text}", {"text": text})
    if isinstance(stage, PrunerSpec):
        return dict(table)
    if table.get("recipe") is not None:  # drop what the recipe gives for first stages only
        return {**_over_recipe(dict(table), registry), "then": (), "adapter": None}
    full = {**before, **{key: changed_part(key, before.get(key), new, registry) for key, new in table.items()}}
    if "selector" in table:  # a whole selector replaces the parts of the stage before
        return {k: v for k, v in full.items() if k not in selector_options(registry) or k in table}
    if "selector" in before and set(table) & set(selector_options(registry)):
        full.pop("selector")
    return full


_FIRST_ONLY = ("then", "recipe", "adapter")


def changed_part(key: str, old: Any, new: Any, registry: PartLookup) -> Any:
    """``new``; or ``old`` with some options changed, if ``new`` is a table without a name or a bare number."""
    number = isinstance(new, Real) and not isinstance(new, bool)
    if old is None or not (number or (isinstance(new, Mapping) and "name" not in new)):
        return new
    selector = registry.default("selector")
    slot = {**slots_of(PrunerSpec), **(slots_of(selector.spec) if selector else {})}.get(key)
    try:
        whole = isinstance(old, ComponentSpec)
        table = old.model_dump() if whole else slot.as_mapping(old, registry) if slot else old
        if not number:
            return {**table, **new}
        # a number sets the number of the old part, if it has one: "pyramiddrop@64" keeps the recipe's kind of budget
        short = registry.get(slot.kind, table["name"]).spec.shorthand if slot else None
        fits = short is not None and short[0] is (int if isinstance(new, Integral) else float)
        return {**table, short[1]: new} if fits and short else new
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


def written(value: Any) -> str:
    """A value as one line of YAML, as in the long form."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()  # PyYAML ends a bare word with "..."


def _shortened(value: Any) -> Any:
    """``"cosine"`` for ``{"name": "cosine"}``."""
    if isinstance(value, dict) and set(value) == {"name"}:
        return value["name"]
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return [_shortened(inner) for inner in value] if isinstance(value, list) else value
