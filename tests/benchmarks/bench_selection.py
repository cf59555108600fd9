"""Selecting from bare tensors: the floor, whole selections, the engine on a ready matrix, planning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import scope_core as scope
from scope_bench.speed import baselines, inputs, select, timing

Benchmark = Callable[..., Any]
CPU = torch.device("cpu")
RECIPES = ("scope", "coverage_only", "top_k_attention", "divprune", "random", "uniform_grid")


@pytest.fixture(autouse=True)
def _one_thread():
    with timing.threads(1), timing.allocator("warm"):
        yield


@pytest.fixture(scope="module")
def tokens() -> inputs.Material:
    return inputs.smooth(2880, 384)


@pytest.mark.parametrize("count", [576, 2880])
def test_cosine_matrix(benchmark: Benchmark, tokens: inputs.Material, count: int) -> None:
    benchmark(baselines.cosine, tokens.features[:count])


@pytest.mark.parametrize("keep", [16, 64, 192])
def test_plain_loop(benchmark: Benchmark, tokens: inputs.Material, keep: int) -> None:
    benchmark(baselines.plain_loop, tokens.features[:576], tokens.saliency[:576], keep)


@pytest.mark.parametrize(("count", "keep"), [(576, 16), (576, 64), (576, 192), (2880, 160), (2880, 640)])
def test_whole_selection(benchmark: Benchmark, tokens: inputs.Material, count: int, keep: int) -> None:
    features, saliency = tokens.cut(count, CPU, torch.float32)
    benchmark(scope.Pruner(f"scope@{keep}").select, features, saliency=saliency)


@pytest.mark.parametrize("count", [64, 144, 256])
def test_small_group(benchmark: Benchmark, tokens: inputs.Material, count: int) -> None:
    features, saliency = tokens.cut(count, CPU, torch.float32)
    benchmark(scope.Pruner(f"scope@{count // 4}").select, features, saliency=saliency)


@pytest.mark.parametrize("spec", ["scope@16", "top_k_attention@16"])
def test_spec_in_every_call(benchmark: Benchmark, tokens: inputs.Material, spec: str) -> None:
    features, saliency = tokens.cut(64, CPU, torch.float32)
    benchmark(scope.select, features, saliency=saliency, spec=spec)


@pytest.mark.parametrize("batch", [8, 32])
def test_batch(benchmark: Benchmark, tokens: inputs.Material, batch: int) -> None:
    features, saliency = tokens.cut(144, CPU, torch.float32)
    features, saliency = features.expand(batch, -1, -1).contiguous(), saliency.expand(batch, -1).contiguous()
    benchmark(scope.Pruner("scope@16").select, features, saliency=saliency)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(benchmark: Benchmark, tokens: inputs.Material, recipe: str) -> None:
    features, saliency = tokens.cut(576, CPU, torch.float32)
    benchmark(scope.Pruner(f"{recipe}@64").select, features, saliency=saliency, grid=(24, 24))


@pytest.mark.parametrize("path", ["auto", "loop"])
def test_paths(benchmark: Benchmark, tokens: inputs.Material, path: str) -> None:
    features, saliency = tokens.cut(576, CPU, torch.float32)
    spec = {"recipe": "scope", "budget": 64, "optimizer": {"name": "greedy", "path": path}}
    benchmark(scope.Pruner(spec).select, features, saliency=saliency)


@pytest.mark.parametrize("keep", [64, 192])
def test_engine_on_a_ready_matrix(benchmark: Benchmark, tokens: inputs.Material, keep: int) -> None:
    features, _ = tokens.cut(576, CPU, torch.float32)
    matrix = baselines.cosine(features[0]).clamp(min=0)
    benchmark(select.on_matrix, scope.Pruner(f"scope@{keep}"), features, (matrix + matrix.T) / 2, keep)


def test_plan(benchmark: Benchmark) -> None:
    benchmark(scope.Pruner("scope@64").plan, [576] * 8)
