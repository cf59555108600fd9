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
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from scope_core.errors import ScopeError, SpecError, did_you_mean, listed
from scope_core.registry import Registry
from scope_core.specs import ComponentSpec, Slot, Spec, registry_of, slots_of

_SHORT = re.compile(r"(?P<recipe>.+?)(?:@(?P<number>-?\d+(?:\.\d+)?)(?P<percent>%?))?")


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

    at: str = "vision"
    """Interception point, one of those the model's adapter declares."""

    dtype: Literal["float32", "float64", "as_is"] = "float32"
    """What selection computes in; ``as_is`` keeps the model's dtype, as published code does."""

    adapter: Annotated[ComponentSpec | None, Slot("adapter", optional=True)] = None
    """The adapter and its options; found by matching the model if left out."""

    @classmethod
    def _prepare(cls, data: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        registry = registry_of(info)
        if data.get("recipe") is not None:
            data = _over_recipe(data, registry)
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

    def to_dict(self, registry: Registry | None = None) -> dict[str, Any]:
        """The long form as plain data: reading it back gives an equal spec (but for ``recipe``)."""
        data = self.model_dump(mode="json", exclude={"recipe"}, exclude_none=True)
        default = (registry or registry_of(None)).default("selector")
        inner = data.pop("selector")
        if default is not None and inner["name"] == default.name:
            inner.pop("name")
        else:
            inner = {"selector": inner}
        if not data["constraints"]:
            data.pop("constraints")
        return {key: _shortened(value) for key, value in {**inner, **data}.items()}

    def to_yaml(self, registry: Registry | None = None) -> str:
        """`to_dict` as YAML, one line per part."""
        return "".join(f"{key}: {_one_line(value)}\n" for key, value in self.to_dict(registry).items())

    @property
    def label(self) -> str:
        """A short name for tables, e.g. ``scope@64``, ``scope@25%`` or ``custom@64``."""
        short = type(self.budget).shorthand
        if short is None:
            return f"{self.recipe or 'custom'}@{self.budget.name}"
        value = getattr(self.budget, short[1])
        return f"{self.recipe or 'custom'}@{f'{100 * value:g}%' if short[0] is float else value}"


def read_spec(value: Any, registry: Registry, **overrides: Any) -> PrunerSpec:
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
        kept = {"recipe": value.recipe, "constraints": value.constraints, "adapter": value.adapter}
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


def label_of(spec: PrunerSpec, registry: Registry) -> str:
    """`PrunerSpec.label`, with what was changed of its recipe: ``scope+combiner@64``."""
    recipe, _, amount = spec.label.rpartition("@")
    if spec.recipe is None:
        return spec.label
    mine = spec.to_dict(registry)
    recipe_alone = {"recipe": spec.recipe, "budget": spec.budget}  # a recipe need not hold a budget
    plain = read_spec(recipe_alone, registry).to_dict(registry)
    changed = [key for key in {**plain, **mine} if key != "budget" and mine.get(key) != plain.get(key)]
    return "+".join([recipe, *changed]) + f"@{amount}"


def explain(error: ValidationError, where: str, data: Mapping[str, Any]) -> str:
    """A validation error in the user's words: every wrong place with its path, what is allowed, what next."""
    lines = []
    for issue in error.errors(include_url=False):
        path = [str(step) for step in issue["loc"]]
        if path[:1] == ["selector"] and "selector" not in data:
            path = path[1:]
        text = issue["msg"].removeprefix("Value error, ")
        if issue["type"] == "missing" and path == ["budget"]:
            text = "no budget is given; write e.g. `budget: 64` (tokens per image) or `budget: 0.25` (a share)"
        elif issue["type"] not in _OWN_TYPES and not isinstance(issue["input"], Mapping):
            text += f" (given: {issue['input']!r})"
        lines.append(f"{'.'.join(path)}: {text}" if path else text)
    if len(lines) == 1:
        return f"{where}: {lines[0]}"
    return f"{where} is wrong in {len(lines)} places:\n" + "\n".join(f"  {line}" for line in lines)


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


def _selector_options(registry: Registry) -> list[str]:
    """Options of the default selector, which may be written at the top level."""
    selector = registry.default("selector")
    return [option for option in selector.spec.model_fields if option != "name"] if selector else []


def _over_recipe(data: dict[str, Any], registry: Registry) -> dict[str, Any]:
    """The recipe's options with the user's over them; a table without a name changes single options."""
    try:
        recipe = registry.get("recipe", str(data["recipe"])).item
    except ScopeError as error:
        raise PydanticCustomError("scope_unknown_part", "{text}", {"text": str(error)}) from error
    merged = dict(recipe.spec)
    for key, value in data.items():
        merged[key] = _merged(key, merged.get(key), value, registry)
    if "selector" in data:  # a whole selector replaces the recipe's parts
        inner = _selector_options(registry)
        merged = {key: value for key, value in merged.items() if key not in inner or key in data}
    return merged


def _merged(key: str, old: Any, new: Any, registry: Registry) -> Any:
    """``new``, or ``old`` with single options changed where ``new`` is a table without a name."""
    if old is None or not isinstance(new, Mapping) or "name" in new:
        return new
    if isinstance(old, ComponentSpec):
        return {**old.model_dump(), **new}
    selector = registry.default("selector")
    slot = {**slots_of(PrunerSpec), **(slots_of(selector.spec) if selector else {})}.get(key)
    try:
        return {**(slot.as_mapping(old, registry) if slot else old), **new}
    except PydanticCustomError:  # the old value is no part at all; validation says so if it is still used
        return new


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


def _owners(option: str, registry: Registry) -> str:
    """Where an option that was written at the top level belongs, if anywhere."""
    found = [
        f"{kind} '{record.name}'"
        for kind in registry.kinds()
        if kind not in ("recipe", "zoo")
        for record in registry.records(kind)
        if option in record.spec.model_fields and option != "name"
    ]
    if not found:
        return ""
    return f". ('{option}' is an option of {', '.join(found)}; write e.g. `{found[0].split()[0]}: {{{option}: ...}}`)"


def _one_line(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()  # the end mark that YAML puts after a bare word


def _shortened(value: Any) -> Any:
    """``"cosine"`` for ``{"name": "cosine"}``."""
    if isinstance(value, dict) and set(value) == {"name"}:
        return value["name"]
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return [_shortened(inner) for inner in value] if isinstance(value, list) else value
