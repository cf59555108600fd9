"""`PrunerSpec`: the whole configuration of a pruner, and the ways to write one.

These are equivalent::

    "scope@64"                                  # a recipe and its budget
    {"recipe": "scope", "budget": 64}           # options override the recipe's
    "pruner.yaml"                               # a file that holds such a table
    {"saliency": "cls_attention", "budget": 64, ...}   # the long form; `scope explain scope@64` prints it
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

import yaml
from pydantic import ModelWrapValidatorHandler, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from scope_core.display import card, code_html, shortened
from scope_core.errors import SpecError
from scope_core.pruning.spec_short import check_point, decoder_layer
from scope_core.pruning.spec_tables import completed
from scope_core.registry.lookup import PartLookup
from scope_core.registry.mistakes import mistakes_of, raise_all
from scope_core.registry.specs import ComponentSpec, Slot, Spec, registry_of
from scope_core.structures.declaration import AttentionBias

_PLAIN = {"order": "raster", "attention_bias": "none"}
"""Options that the long form leaves out at these values."""


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
    """The number of tokens to keep: a number of tokens, a share between 0 and 1, or a table."""

    partition: Annotated[ComponentSpec, Slot("partition")]
    """The groups of tokens that are selected together."""

    constraints: Annotated[tuple[ComponentSpec, ...], Slot("constraint", many=True)] = ()
    """Tokens that must stay or must go."""

    merger: Annotated[ComponentSpec, Slot("merger")]
    """The treatment of dropped tokens: merged into kept ones, or dropped for good."""

    positions: Annotated[ComponentSpec, Slot("position")]
    """Position ids after pruning."""

    order: Literal["raster", "stages", "picks"] = "raster"
    """The order in which kept tokens reach the language model: ``raster``: as they lie in the image; ``stages``: step
    by step of a chain, in raster order within each; ``picks``: as they were picked."""

    attention_bias: AttentionBias = "none"
    """What attention of the language model towards a kept row is raised by. ``merged``: the log of the number of
    tokens merged into it; ``nearest``: the log of the number of tokens nearest to it, for methods that merge nothing;
    ``restore``: as ``merged``, and more for rows whose tokens were far apart in the prompt."""

    at: str = "vision"
    """Interception point, one that the model's adapter declares: ``vision``, ``projected``, ``decoder[k]`` (before
    decoder layer k, counted from 0), or a point of a third-party adapter, whose name has a dot."""

    dtype: Literal["float32", "float64", "as_is"] = "float32"
    """The dtype that selection computes in; ``as_is`` keeps the model's dtype, as published code does."""

    adapter: Annotated[ComponentSpec | None, Slot("adapter", optional=True)] = None
    """The adapter and its options; the adapter that matches the model if left out."""

    then: tuple[PrunerSpec, ...] = ()
    """Later stages, inside the language model, each of which selects from the tokens left by the stage before. A stage
    lists only the options that differ from the stage before it, or names a recipe to start from."""

    @model_validator(mode="wrap")
    @classmethod
    def _every_mistake(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """The spec of a table completed by its recipe; all mistakes are reported together."""
        if not isinstance(data, Mapping):
            return handler(data)
        registry = registry_of(info)
        table, found = completed(_plain(data, registry), cls, registry)
        lost = any(one["loc"] == ("recipe",) for one in found)
        try:
            made = handler(table)
        except ValidationError as error:
            found += [one for one in mistakes_of(error) if not (lost and _needs_recipe(one))]
        raise_all(cls.__name__, found)
        return made

    @field_validator("at")
    @classmethod
    def _known_form(cls, at: str) -> str:
        try:
            check_point(at)
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

    @model_validator(mode="after")
    def _bias_before_the_model(self) -> PrunerSpec:
        inside = [stage.at for stage in (self, *self.then) if decoder_layer(stage.at) is not None]
        if self.attention_bias != "none" and inside:
            raise PydanticCustomError(
                "scope_contradiction",
                "{text}",
                {
                    "text": f"`attention_bias: {self.attention_bias}` raises attention towards rows that entered the "
                    f"language model, but tokens are dropped at {', '.join(inside)}, inside it; omit `attention_bias`, "
                    f"or prune before the language model alone"
                },
            )
        return self

    def __repr__(self) -> str:
        return shortened(f"PrunerSpec({self.label!r})")

    def _repr_html_(self) -> str:
        """What a notebook shows: the long form."""
        return card(self.label, code_html(self.to_yaml()), aside="PrunerSpec")

    def to_dict(self, registry: PartLookup | None = None) -> dict[str, Any]:
        """The long form as plain data; reading it back gives an equal spec, except for ``recipe``."""
        first = self._one_stage(registry)
        stages = [first, *(stage._one_stage(registry) for stage in self.then)]
        for before, stage in pairwise(stages):
            defaults: dict[str, Any] = {
                key: default for key, default in (("constraints", []), *_PLAIN.items()) if key in before
            }
            first.setdefault("then", []).append({k: v for k, v in {**defaults, **stage}.items() if before.get(k) != v})
        return first

    def to_table(self, registry: PartLookup | None = None) -> dict[str, Any]:
        """The long form with the recipe's name and every option, so that the recipe does not add its own again."""
        kept: dict[str, Any] = {"recipe": self.recipe, "constraints": [], **_PLAIN}
        return {**kept, **self.to_dict(registry)}

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
        data = {key: value for key, value in data.items() if _PLAIN.get(key) != value}
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


def _plain(data: Mapping[Any, Any], registry: PartLookup) -> Mapping[Any, Any]:
    """``data`` with later stages that are specs written as tables, which list every option."""
    stages = data.get("then")
    if not isinstance(stages, (list, tuple)):
        return data
    return {**data, "then": [one.to_table(registry) if isinstance(one, PrunerSpec) else one for one in stages]}


def _needs_recipe(one: InitErrorDetails) -> bool:
    """True for a mistake that an unknown recipe may explain: a missing budget, or a part without a name."""
    kind = one["type"] if isinstance(one["type"], str) else one["type"].type
    place = one["loc"][2:] if one["loc"][:1] == ("then",) else one["loc"]
    return kind == "scope_name_missing" or (kind == "missing" and place == ("budget",))


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
