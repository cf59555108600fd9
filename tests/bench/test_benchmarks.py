"""The benchmarks of ``tests/benchmarks`` still run: each once, small ones only, without pytest-benchmark."""

from __future__ import annotations

import pytest
import torch
from benchmarks import bench_models, bench_selection

from scope_bench.speed import inputs


def once(function, *args, **kwargs):
    return function(*args, **kwargs)


def test_selection_benchmarks_run() -> None:
    tokens = inputs.smooth(576, 16)
    bench_selection.test_cosine_matrix(once, tokens, 100)
    bench_selection.test_plain_loop(once, tokens, 3)
    bench_selection.test_whole_selection(once, tokens, 100, 3)
    bench_selection.test_small_group(once, tokens, 64)
    bench_selection.test_spec_in_every_call(once, tokens, "scope@16")
    bench_selection.test_batch(once, tokens, 8)
    for recipe in bench_selection.RECIPES:
        bench_selection.test_recipe(once, tokens, recipe)
    for path in ("auto", "loop"):
        bench_selection.test_paths(once, tokens, path)
    bench_selection.test_engine_on_a_ready_matrix(once, tokens, 8)
    bench_selection.test_plan(once)


@pytest.mark.parametrize("spec", ["scope@8", "fastv@8"])
def test_model_benchmarks_run(spec: str) -> None:
    from bench import tiny

    loaded = tiny.loaded()
    inputs = tiny.inputs([tiny.picture(0, 0)], "what?")
    with torch.no_grad():
        bench_models.test_unpruned(once, loaded, inputs)
        bench_models.test_pruned(once, loaded, inputs, spec)


def test_they_are_not_collected_by_the_ordinary_suite(pytestconfig: pytest.Config) -> None:
    assert not any(name.endswith("benchmarks") for name in pytestconfig.getini("testpaths"))
    assert all("bench_" not in pattern for pattern in pytestconfig.getini("python_files"))
