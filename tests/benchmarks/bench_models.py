"""One call of a small LLaVA with random weights, unpruned and pruned before and inside its language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import scope_core as scope
from scope_adapters.zoo import shapes
from scope_bench.speed import timing
from scope_core.adapters import LoadedModel

Benchmark = Callable[..., Any]


@pytest.fixture(autouse=True)
def _one_thread():
    with timing.threads(1), timing.allocator("warm"):
        yield


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return shapes.load("llava", scale=8)


@pytest.fixture(scope="module")
def inputs(loaded: LoadedModel) -> dict[str, Any]:
    from PIL import Image

    return loaded.inputs([Image.linear_gradient("L").resize((336, 336))], "What is this?")


@torch.no_grad()
def first_token(model: Any, inputs: dict[str, Any]) -> Any:
    return model.generate(**inputs, max_new_tokens=1, do_sample=False)


def test_unpruned(benchmark: Benchmark, loaded: LoadedModel, inputs: dict[str, Any]) -> None:
    benchmark(first_token, loaded.model, inputs)


@pytest.mark.parametrize("spec", ["scope@64", "random@64", "fastv@64"])
def test_pruned(benchmark: Benchmark, loaded: LoadedModel, inputs: dict[str, Any], spec: str) -> None:
    with scope.Pruner(spec).attach(loaded.model):
        benchmark(first_token, loaded.model, inputs)


def test_attach_and_detach(benchmark: Benchmark, loaded: LoadedModel) -> None:
    pruner = scope.Pruner("scope@64")

    def both() -> None:
        pruner.attach(loaded.model).detach()

    benchmark(both)
