"""Pruners, and what they return, are copied and sent to other processes."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import with_part
from torch import Tensor

import scope_core as scope
from scope_core.parts import SaliencySource, Signals

PART = """
import threading
from typing import Literal
import scope_core as scope

class PeakSpec(scope.parts.ComponentSpec):
    name: Literal["acme.peak"] = "acme.peak"
    power: float = 1.0

class Peak(scope.parts.SaliencySource[PeakSpec]):
    def __init__(self, spec, parts):
        super().__init__(spec, parts)
        self.lock = threading.Lock()  # what cannot be pickled

    def score(self, tokens):
        return tokens.features.abs().amax(-1).pow(self.spec.power)

@scope.parts.hookimpl
def scope_saliency_sources():
    yield scope.parts.Entry(PeakSpec, Peak, "the largest value")
"""
SPEC = {"recipe": "scope", "budget": 9, "saliency": {"name": "acme.peak", "power": 2.0}}
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
ways = pytest.mark.parametrize("way", WAYS)


def features() -> Tensor:
    return torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))


def picks(pruner: scope.Pruner) -> list[list[int]]:
    """Also the work of a process of its own."""
    return pruner.select(features(), saliency=None).picks.tolist()


def picks_elsewhere(pruner: scope.Pruner) -> list[list[int]]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(picks, pruner).result(timeout=120)


@ways
@pytest.mark.parametrize("recipe", scope.default_registry().names("recipe"))
def test_a_copy_is_the_same_pruner(recipe: str, way: str) -> None:
    pruner = scope.Pruner({"recipe": recipe})
    twin = WAYS[way](pruner)
    assert twin is not pruner
    assert (twin.label, twin.spec, twin.needs) == (pruner.label, pruner.spec, pruner.needs)
    assert [stage.spec for stage in twin.stages] == [stage.spec for stage in pruner.stages]
    assert [type(part) for part in twin.walk()] == [type(part) for part in pruner.walk()]
    assert not {id(part) for part in twin.walk()} & {id(part) for part in pruner.walk()}
    assert twin.registry is scope.default_registry()


@ways
def test_a_stage_stays_a_stage_of_its_schedule(way: str) -> None:
    pruner = scope.Pruner({"recipe": "pyramiddrop"})
    assert len(pruner.stages) > 2
    twin = WAYS[way](pruner.stages[1])
    assert twin.spec == pruner.stages[1].spec
    assert (twin.number, twin.points) == (1, tuple(stage.spec.at for stage in pruner.stages))


@ways
def test_results_are_copied(way: str) -> None:
    pruner = scope.Pruner("scope@9")
    attention = torch.rand(2, 4, 40)
    selection = pruner.select(features(), signals={"vision.cls_attention[-2]": lambda: attention})
    twin = WAYS[way](selection)
    assert torch.equal(twin.picks, selection.picks)
    assert torch.equal(twin.tokens.signal("vision.cls_attention[-2]"), attention)
    receipt = pruner.receipt(selection)
    assert WAYS[way](receipt).images == receipt.images
    assert WAYS[way](pruner.plan([40, 40])) == pruner.plan([40, 40])


def test_signals_that_nobody_read_stay_behind_when_pickled_and_not_when_copied() -> None:
    read, keys = torch.rand(1, 2, 9), torch.zeros(1)
    signals = Signals({"vision.cls_attention[-2]": read, "vision.keys[-2]": lambda: keys})
    assert list(pickle.loads(pickle.dumps(signals))) == ["vision.cls_attention[-2]"]
    for way in (copy.copy, copy.deepcopy):
        twin = way(signals)
        assert list(twin) == list(signals)
        assert torch.equal(twin["vision.keys[-2]"], keys)
    assert dict(signals.computed()).keys() == {"vision.cls_attention[-2]"}  # the twins computed for themselves


class TestThirdPartyParts:
    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> scope.Registry:
        """A distribution with an entry point."""
        info = tmp_path / "scope_acme-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scope-acme\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[scope_core]\nacme = acme_parts\n")
        (tmp_path / "acme_parts.py").write_text(PART)
        monkeypatch.syspath_prepend(tmp_path)
        return scope.discover()

    def test_of_an_installed_plugin(self, installed: scope.Registry) -> None:
        pruner = scope.Pruner(SPEC, registry=installed)
        twin = copy.deepcopy(pruner)
        assert twin.registry is installed
        assert picks(twin) == picks(pruner) == picks_elsewhere(pruner)

    def test_of_a_module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "acme_module.py").write_text(PART)
        monkeypatch.syspath_prepend(tmp_path)
        registry = scope.default_registry().with_module(importlib.import_module("acme_module"), name="mine")
        pruner = scope.Pruner(SPEC, registry=registry)
        assert picks(pickle.loads(pickle.dumps(pruner))) == picks(pruner) == picks_elsewhere(pruner)
        assert str(pickle.loads(pickle.dumps(registry)).get("saliency", "acme.peak").origin) == "this process"
        assert picks(copy.deepcopy(pruner)) == picks(pruner)

    def test_of_a_module_that_another_process_could_not_import(self, registry: scope.Registry) -> None:
        wider = with_part(registry, SaliencySource, score=lambda self, tokens: tokens.features.amax(-1))
        pruner = scope.Pruner({**SPEC, "saliency": "acme.fake"}, registry=wider)
        assert picks(copy.deepcopy(pruner)) == picks(pruner)
        with pytest.raises(pickle.PicklingError, match=r"module 'acme_plugin' cannot be pickled.*PYTHONPATH"):
            pickle.dumps(pruner)


def test_registries_made_in_other_ways(registry: scope.Registry) -> None:
    chosen = scope.discover(prefer={"scope": "scope-core"})
    assert pickle.loads(pickle.dumps(chosen)).get("recipe", "scope").name == "scope"
    by_hand = scope.Registry(registry.records("saliency"))
    twin = pickle.loads(pickle.dumps(by_hand))
    assert twin.names("saliency") == registry.names("saliency")
    assert twin.names("recipe") == []
    assert copy.copy(registry) is copy.deepcopy(registry) is registry
