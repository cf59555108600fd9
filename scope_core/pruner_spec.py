"""`PrunerSpec`: the whole configuration of a pruner, and the ways to write one.

All of these say the same::

    "scope@64"                                  # a recipe and its budget
    {"recipe": "scope", "budget": 64}           # options override the recipe's
    "pruner.yaml"                               # a file that holds such a table
    {"saliency": "cls_attention", "budget": 64, ...}   # the long form; `scope explain scope@64` prints it
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from scope_core.errors import ScopeError, SpecError, did_you_mean, listed
from scope_core.registry.kinds import kind_named
from scope_core.registry.lookup import PartLookup
from scope_core.registry.specs import ComponentSpec, Slot, Spec, registry_of, slots_of

_SHORT = re.compile(r"(?P<recipe>.+?)(?:@(?P<number>-?\d+(?:\.\d+)?)(?P<percent>%?))?")
_DECODER = re.compile(r"decoder\[(?P<layer>[1-9]\d*)\]")


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
    """What becomes of dropped tokens."""

    positions: Annotated[ComponentSpec, Slot("position")]
    """Position ids after pruning."""

    order: Literal["raster", "stages", "picks"] = "raster"
    """In which order kept tokens reach the language model: as they lie in the image; that for each stage of a chain
    after the other; or as they were picked."""

    at: str = "vision"
    """Interception point, one of those the model's adapter declares; ``decoder[k]``: before decoder layer k, from 0."""

    dtype: Literal["float32", "float64", "as_is"] = "float32"
    """What selection computes in; ``as_is`` keeps the model's dtype, as published code does."""

    adapter: Annotated[ComponentSpec | None, Slot("adapter", optional=True)] = None
    """The adapter and its options; found by matching the model if left out."""

    then: tuple[PrunerSpec, ...] = ()
    """Later stages, inside the language model, each on the tokens that are left then. A stage names only what differs
    from the stage before it, or a recipe to start afresh."""

    @classmethod
    def _prepare(cls, data: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        registry = registry_of(info)
        if data.get("recipe") is not None:
            data = _over_recipe(data, registry)
        if data.get("then"):
            data["then"] = _staged(data, registry)
        selector, options = registry.default("selector"), _selector_options(registry)
        inner = {key: data.pop(key) for key in options if key in data and key not in cls.model_fields}
        if inner and "selector" in data:
            raise PydanticCustomError(
                "scope_contradiction",
                "{text}",
                {"text": f"{listed(inner)} and 'selector' are both given; put {listed(inner)} inside the selector"},
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
                        "text": f"the stages {' -> '.join(points)} are out of order at '{point}': after the first "
                        f"stage every one lies inside the language model, each behind the one before, e.g. "
                        f"vision -> decoder[8] -> decoder[16]"
                    },
                )
        return self

    def to_dict(self, registry: PartLookup | None = None) -> dict[str, Any]:
        """The long form as plain data: reading it back gives an equal spec (but for ``recipe``)."""
        made = self._one_stage(registry)
        stages = [made, *(stage._one_stage(registry) for stage in self.then)]
        for before, stage in pairwise(stages):
            gone: dict[str, Any] = {
                key: none for key, none in (("constraints", []), ("order", "raster")) if key in before
            }
            made.setdefault("then", []).append({k: v for k, v in {**gone, **stage}.items() if before.get(k) != v})
        return made

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


def read_spec(value: Any, registry: PartLookup, **overrides: Any) -> PrunerSpec:
    """The spec that ``value`` stands for.

    Args:
        value: ``"recipe"``, ``"recipe@64"``, ``"recipe@25%"``, a path of a YAML or JSON file, a mapping or
            a `PrunerSpec`.
        registry: Where names are looked up.
        overrides: Top-level options that take precedence.

    Raises:
        SpecError: anything about it is wrong; lists every place with its path.
    """
    if isinstance(value, PrunerSpec) and not overrides:
        value = {name: getattr(value, name) for name in PrunerSpec.model_fields}
    elif isinstance(value, PrunerSpec):  # all of it, so that nothing comes back from the recipe
        kept = {
            "recipe": value.recipe,
            "constraints": value.constraints,
            "adapter": value.adapter,
            "order": value.order,
            "then": (),
        }
        value = {**kept, **value.to_dict(registry)}
    where = "spec"
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith((".yaml", ".yml", ".json"))):
        where = f"spec file '{value}'"
        value = _read_file(Path(value))
    elif isinstance(value, str):
        where = f"spec '{value}'"
        value = _from_short(value)
    if not isinstance(value, Mapping):
        if where == "spec":
            text = f"cannot read {value!r} as a spec; give a recipe ('scope@64'), a YAML file, a table or a PrunerSpec"
        else:
            text = f"{where} holds {value!r} where a table is wanted; write e.g. `recipe: scope` and `budget: 64`"
        raise SpecError(f"{text}. Recipes: {listed(registry.names('recipe'))}")
    if "selector" in overrides:  # a whole selector replaces the parts of the old one
        value = {key: old for key, old in value.items() if key not in _selector_options(registry)}
    data = {**value, **{key: _merged(key, value.get(key), new, registry) for key, new in overrides.items()}}
    try:
        return PrunerSpec.model_validate(data, context={"registry": registry})
    except ValidationError as error:
        raise SpecError(explain(error, where, data)) from error


def label_of(spec: PrunerSpec, registry: PartLookup) -> str:
    """`PrunerSpec.label`, with what was changed of its recipe: ``scope+combiner@64``."""
    recipe, _, amount = spec.label.rpartition("@")
    return "+".join([recipe, *changes(spec, registry)]) + f"@{amount}"


def changes(spec: PrunerSpec, registry: PartLookup) -> dict[str, Any]:
    """What is not as its recipe has it: ``{key of the long form: the recipe's own value, None for none}``.

    The budget is not looked at: a recipe need not hold one.
    """
    if spec.recipe is None:
        return {}
    mine = spec.to_dict(registry)
    plain = read_spec({"recipe": spec.recipe, "budget": spec.budget}, registry).to_dict(registry)
    return {key: plain.get(key) for key in {**plain, **mine} if key != "budget" and mine.get(key) != plain.get(key)}


def explain(error: ValidationError, where: str, data: Mapping[str, Any]) -> str:
    """A validation error in the user's words: every wrong place with its path, what is allowed, what next."""
    lines: list[str] = []
    told: set[tuple[str, ...]] = set()
    for issue in error.errors(include_url=False):
        path = [str(step) for step in issue["loc"]]
        stage, path = (path[:2], path[2:]) if path[:1] == ["then"] and len(path) > 1 else ([], path)
        if path[:1] == ["selector"] and not _whole_selector(data):
            path = path[1:]
        text = issue["msg"].removeprefix("Value error, ")
        if issue["type"] == "missing" and path == ["budget"]:
            text = "no budget is given; write e.g. `budget: 64` (tokens per image) or `budget: 0.25` (a share)"
        elif issue["type"] not in _OWN_TYPES and not isinstance(issue["input"], Mapping):
            text += f" (given: {issue['input']!r})"
        if (*path, text) in told:  # a later stage has it from an earlier one
            continue
        told.add((*path, text))
        lines.append(f"{'.'.join([*stage, *path])}: {text}" if stage or path else text)
    if len(lines) == 1:
        return f"{where}: {lines[0]}"
    return f"{where} is wrong in {len(lines)} places:\n" + "\n".join(f"  {line}" for line in lines)


def _whole_selector(data: Mapping[str, Any]) -> bool:
    """Whether a spec as it was written names a selector, in any stage."""
    stages = data.get("then")
    stages = stages if isinstance(stages, Iterable) else ()
    return any("selector" in stage for stage in (data, *stages) if isinstance(stage, Mapping))


_OWN_TYPES = {
    "scope_unknown_option",
    "scope_unknown_part",
    "scope_wrong_kind",
    "scope_name_missing",
    "scope_list_wanted",
    "scope_contradiction",
    "scope_broken_spec",
    "missing",
}


def _selector_options(registry: PartLookup) -> list[str]:
    """Options of the default selector, which may be written at the top level."""
    selector = registry.default("selector")
    return [option for option in selector.spec.model_fields if option != "name"] if selector else []


def _over_recipe(data: dict[str, Any], registry: PartLookup) -> dict[str, Any]:
    """The recipe's options with the user's over them; a table without a name changes single options."""
    try:
        recipe = registry.get("recipe", str(data["recipe"])).item
    except ScopeError as error:
        given = str(data["recipe"])
        apart = _short_hint(given, registry)
        text = f"{error}{apart}" if apart else _wrong_amount(given, registry) or str(error)
        raise PydanticCustomError("scope_unknown_part", "{text}", {"text": text}) from error
    merged = dict(recipe.spec)
    inner, default = merged.get("selector"), registry.default("selector")
    if isinstance(inner, Mapping) and default is not None and inner.get("name", default.name) == default.name:
        merged.pop("selector")  # the default selector's options stand at the top level, as in the long form
        merged.update({key: value for key, value in inner.items() if key != "name"})
    for key, value in data.items():
        merged[key] = _merged(key, merged.get(key), value, registry)
    if "selector" in data:  # a whole selector replaces the recipe's parts
        inner = _selector_options(registry)
        merged = {key: value for key, value in merged.items() if key not in inner or key in data}
    return merged


def _wrong_amount(given: str, registry: PartLookup) -> str:
    """What to say of ``scope@6,4``: a known recipe, and after the @ what is meant as an amount and is none."""
    recipe, _, amount = given.rpartition("@")
    if not registry.has("recipe", recipe) or (amount and not re.search(r"[\d%]", amount)):
        return ""
    what = f"'{amount}' is no budget" if amount else "a budget is missing"
    return f"{what}: after @ stands a count or a percentage, e.g. {recipe}@64 or {recipe}@25%"


def _short_hint(given: str, registry: PartLookup) -> str:
    """What to write in a table in place of ``recipe: scope@64``."""
    try:
        short = _from_short(given)
    except SpecError:
        return ""
    if "budget" not in short or not registry.has("recipe", short["recipe"]):
        return ""
    return f". In a table the two are apart: `recipe: {short['recipe']}` and `budget: {short['budget']}`"


def _staged(data: dict[str, Any], registry: PartLookup) -> list[Any]:
    """The later stages in full: each as the stage before it, but for what it names."""
    given = data["then"]
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise PydanticCustomError(
            "scope_list_wanted", "{text}", {"text": f"give a list of stages under 'then', not {given!r}"}
        )
    before = {key: value for key, value in data.items() if key not in ("then", "recipe", "adapter")}
    made: list[Any] = []
    for number, stage in enumerate(given):
        try:
            full = _one_staged(stage, before, registry)
        except PydanticCustomError as error:
            raise PydanticCustomError("scope_contradiction", "{text}", {"text": f"then.{number}: {error}"}) from error
        made.append(full)
        written = stage._one_stage(registry) if isinstance(stage, PrunerSpec) else full
        before = {key: value for key, value in written.items() if key not in _FIRST_ONLY}
    return made


def _one_staged(stage: Any, before: Mapping[str, Any], registry: PartLookup) -> dict[str, Any]:
    """One later stage in full, after the stage ``before``."""
    if isinstance(stage, PrunerSpec):
        given = {name: getattr(stage, name) for name in PrunerSpec.model_fields}
        table: Any = {name: value for name, value in given.items() if value or name not in ("then", "adapter")}
    else:
        table = _from_short(stage) if isinstance(stage, str) else stage
    if not isinstance(table, Mapping):
        text = f"cannot read {stage!r} as a stage; give a table such as {{at: 'decoder[8]'}}"
        raise PydanticCustomError("scope_name_missing", "{text}", {"text": text})
    wrong = sorted(set(table) & {"then", "adapter"})
    if wrong:
        text = f"'{wrong[0]}' belongs to the first stage; stages follow one another in one list"
        raise PydanticCustomError("scope_contradiction", "{text}", {"text": text})
    if isinstance(stage, PrunerSpec):
        return dict(table)
    if table.get("recipe") is not None:  # what is for first stages only must not come back from the recipe
        return {**_over_recipe(dict(table), registry), "then": (), "adapter": None}
    full = {**before, **{key: _merged(key, before.get(key), new, registry) for key, new in table.items()}}
    if "selector" in table:  # a whole selector replaces the parts of the stage before
        return {k: v for k, v in full.items() if k not in _selector_options(registry) or k in table}
    if "selector" in before and set(table) & set(_selector_options(registry)):
        full.pop("selector")
    return full


_FIRST_ONLY = ("then", "recipe", "adapter")


def _merged(key: str, old: Any, new: Any, registry: PartLookup) -> Any:
    """``new``, or ``old`` with single options changed where ``new`` is a table without a name, or a bare number."""
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
        # a number sets the number of the part that is there, if it has one: "pyramiddrop@64" keeps its kind of budget
        short = registry.get(slot.kind, table["name"]).spec.shorthand if slot else None
        fits = short is not None and short[0] is (int if isinstance(new, Integral) else float)
        return {**table, short[1]: new} if fits and short else new
    except (PydanticCustomError, ScopeError):  # the old value is no part at all; validation says so if it is still used
        return new


def decoder_layer(at: str) -> int | None:
    """``8`` for ``"decoder[8]"``; None for points outside the language model.

    Raises:
        SpecError: it begins like such a point and is none.
    """
    match = _DECODER.fullmatch(at)
    if match is not None:
        return int(match["layer"])
    if at.startswith("decoder"):
        raise SpecError(f"'{at}' is no interception point; write decoder[k] with k from 1, e.g. decoder[2]")
    return None


def _from_short(text: str) -> dict[str, Any]:
    match = _SHORT.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"'{text}' is no spec; write a recipe's name and a budget, e.g. 'scope@64' or 'scope@25%'")
    data: dict[str, Any] = {"recipe": match["recipe"]}
    if match["number"] is not None:
        number = match["number"]
        if match["percent"]:
            data["budget"] = float(number) / 100
        else:
            data["budget"] = float(number) if "." in number else int(number)
    return data


def _read_file(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        near = [found.name for found in path.parent.glob("*") if found.suffix in (".yaml", ".yml", ".json")]
        hint = did_you_mean(path.name, near) if isinstance(error, FileNotFoundError) else ""
        raise SpecError(f"cannot read spec file '{path}': {getattr(error, 'strerror', error)}{hint}") from error
    try:
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_unique)
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader that also refuses duplicate keys
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"spec file '{path}' is not valid {path.suffix[1:].upper()}: {error}") from error


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({str(key) for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"'{twice[0]}' is given twice")
    return dict(pairs)


class _UniqueKeys(yaml.SafeLoader):
    """Safe loading that refuses a key given twice, which YAML would let through with the last one winning."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for written, _ in node.value:
            key = self.construct_object(written, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", written.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep=deep)


def _owners(option: str, registry: PartLookup) -> str:
    """Where an option that was written at the top level belongs, if anywhere."""
    found = [
        f"{kind} '{record.name}'"
        for kind in registry.kinds()
        if kind_named(kind).base
        for record in registry.records(kind)
        if option in record.spec.model_fields and option != "name"
    ]
    if not found:
        return ""
    return f". ('{option}' is an option of {', '.join(found)}; write e.g. `{found[0].split()[0]}: {{{option}: ...}}`)"


def written(value: Any) -> str:
    """A value in one line of YAML, as the long form has it."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()  # the end mark that YAML puts after a bare word


def _shortened(value: Any) -> Any:
    """``"cosine"`` for ``{"name": "cosine"}``."""
    if isinstance(value, dict) and set(value) == {"name"}:
        return value["name"]
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return [_shortened(inner) for inner in value] if isinstance(value, list) else value
