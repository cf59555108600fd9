"""What a user of the public API writes, as mypy reads it; see test_consumer.py. Never run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import reveal_type

import scope_core as scope
from scope_core import VisualTokens
from scope_core.adapters import Tower
from scope_core.parts import (
    Budget,
    ComponentSpec,
    CoverageFunction,
    Entry,
    Group,
    Recipe,
    SaliencySource,
    apportion,
    fill,
    hookimpl,
    parse_signal,
    units,
)
from scope_core.testing import ConformanceError, check_coverage, check_saliency, parametrize


class PeakSpec(ComponentSpec):
    name: Literal["acme.peak"] = "acme.peak"
    power: Annotated[float, Field(gt=0)] = 1.0


class Peak(SaliencySource[PeakSpec]):
    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"vision.keys[-2]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        reveal_type(self.spec.power)
        reveal_type(tokens.features)
        reveal_type(tokens.signal("vision.keys[-2]"))
        return tokens.features.abs().amax(dim=-1).pow(self.spec.power)


class CountSpec(ComponentSpec):
    name: Literal["acme.count"] = "acme.count"


class Count(CoverageFunction[CountSpec]):
    monotone = True

    def start(self, similarity: Tensor, tokens: VisualTokens) -> Tensor:
        return similarity

    def gain(self, state: Tensor) -> Tensor:
        return state.sum(1)

    def add(self, state: Tensor, pick: Tensor) -> Tensor:
        return state


class HalfSpec(ComponentSpec):
    name: Literal["acme.half"] = "acme.half"


class Half(Budget[HalfSpec]):
    def plan(self, layout: scope.Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        counts = [size // 2 for _, size in units(layout, groups, "image")]
        reveal_type(fill(layout, groups, "image", counts))
        return fill(layout, groups, "image", counts)


@hookimpl
def scope_saliency_sources() -> Iterable[Entry]:
    yield Entry(PeakSpec, Peak, "largest activation", paper="none", requires=("torch",))


@hookimpl
def scope_recipes() -> Iterable[Recipe]:
    yield Recipe("acme.peaks", {"saliency": "acme.peak", "budget": 64}, "SCOPE by peaks")


def bare(features: Tensor, saliency: Tensor) -> Tensor:
    selection = scope.select(features, saliency=saliency, spec="scope@64", grid=(24, 24))
    reveal_type(selection)
    reveal_type(selection.picks)
    reveal_type(selection.kept)
    reveal_type(selection.counts)
    reveal_type(selection.coverage(0.8))
    reveal_type(selection.gather(features))
    return selection.merge(features)


def attached(model: torch.nn.Module, path: Path) -> str:
    pruner = scope.Pruner(path, budget=64)
    reveal_type(pruner.spec)
    reveal_type(pruner.needs)
    reveal_type(pruner.plan([576, 576]).images)
    with pruner.attach(model, adapter="llava") as pruning:
        reveal_type(pruning)
        reveal_type(pruning.receipt)
        reveal_type([image.kept for image in pruning.receipt.images])
        reveal_type(pruning.receipt.encode_ms)
    reveal_type(pruner.check(model).points)
    return pruning.receipt.to_json()


def looked_up(tower: Tower) -> scope.Registry:
    registry = scope.default_registry()
    reveal_type(registry.names("saliency"))
    reveal_type(registry.get("saliency", "cls_attention").name)
    reveal_type(registry.failures)
    reveal_type(tower.encode([], at="vision", needs=frozenset()))
    reveal_type(parse_signal("vision.keys[-2]"))
    reveal_type(apportion(640, [576, 576, 576]))
    return registry


@parametrize("acme.peak")
def test_contract(check: object) -> None: ...


def checked() -> tuple[str, ...]:
    try:
        reveal_type(check_saliency("acme.peak", options={"power": 2.0}))
        return check_coverage("acme.count", value=lambda similarity, chosen: float(len(chosen))).passed
    except ConformanceError as error:
        reveal_type(error.failures)
    except (scope.SpecError, scope.ScopeError) as error:
        reveal_type(error)
    return ()
