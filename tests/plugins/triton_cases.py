"""Run by test_triton.py in a process of its own, with TRITON_INTERPRET=1: the kernels, step by step, on the CPU."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import pytest
import torch
from conftest import Photos
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from triton.runtime import interpreter

import scope_core as scope
from plugins.test_compiled import COMBINERS, KINDS, features
from scope_plugins.coverage._fast import arithmetic, on_triton, triton_kernel


@contextmanager
def on_kernels(plan: on_triton.Plan | None = None) -> Iterator[list[on_triton.Plan]]:
    """Tensors of the CPU go the way of those on a CUDA device; which plans were followed."""
    followed: list[on_triton.Plan] = []
    inner = on_triton.plan

    def planned(*sizes: int) -> on_triton.Plan:
        followed.append(plan or inner(*sizes))
        return followed[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic, "on_host", lambda device: False)
        patch.setattr(on_triton, "why_not", lambda device: "")
        patch.setattr(on_triton, "plan", planned)
        yield followed


def check(x: Tensor, spec: dict[str, Any], plan: on_triton.Plan | None = None, **given: Any) -> scope.Selection:
    """The kernels' picks, gains and scores are the loop's, to the last bit."""
    slow = scope.select(x, spec={**spec, "optimizer": {"name": "greedy", "path": "loop"}}, **given)
    with on_kernels(plan) as followed:
        fast = scope.select(x, spec={**spec, "optimizer": {"name": "greedy", "path": "compiled"}}, **given)
    assert len(followed) == (fast.picks.shape[1] > 0)
    assert torch.equal(fast.picks, slow.picks)
    for mine, theirs in ((fast.gains, slow.gains), (fast.scores, slow.scores)):
        torch.testing.assert_close(mine, theirs.double(), rtol=0, atol=0, equal_nan=True)
    return fast


@settings(max_examples=18, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS),
    batch=st.integers(1, 3),
    count=st.integers(1, 20),
    seed=st.integers(0, 10**6),
    combiner=st.sampled_from(COMBINERS),
    similarity=st.sampled_from(("cosine", "dot", "row_softmax")),
    dtype=st.sampled_from(("float32", "float64")),
    coarse=st.booleans(),
    plan=st.sampled_from([None, on_triton.Plan(32, 1, True, 8), on_triton.Plan(8, 3, False, 8)]),
    data=st.data(),
)
def test_bit_for_bit(
    kind: str,
    batch: int,
    count: int,
    seed: int,
    combiner: Any,
    similarity: str,
    dtype: str,
    coarse: bool,
    plan: on_triton.Plan | None,
    data: st.DataObject,
) -> None:
    x = features(kind, batch, count, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    saliency = torch.rand(batch, count, generator=generator)
    saliency = (saliency * 3).round() + 0.5 if coarse else saliency
    valid = torch.rand(batch, count, generator=generator) > 0.2
    valid[:, 0] = True
    keep = data.draw(st.integers(0, min(4, int(valid.sum(1).min()))))
    spec = {"recipe": "scope", "budget": {"name": "tokens", "keep": keep}, "combiner": combiner}
    check(x, {**spec, "similarity": similarity, "dtype": dtype}, plan, saliency=saliency, valid=valid)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_half_precision(dtype: torch.dtype) -> None:
    """Computed in float32, as ever: half precision has many more ties."""
    x, saliency = features("noise", 2, 20, 3).to(dtype), torch.rand(2, 20).to(dtype)
    check(x, {"recipe": "scope", "budget": 6}, saliency=saliency)


@pytest.mark.parametrize("plan", [None, on_triton.Plan(32, 1, True, 4), on_triton.Plan(4, 3, False)])
def test_ties_go_to_the_lowest_index(plan: on_triton.Plan | None) -> None:
    level = torch.ones(1, 12, dtype=torch.int8)
    level[0, [0, 5]] = torch.tensor([0, 2], dtype=torch.int8)
    one = torch.ones(1, 12, dtype=torch.float64)
    made = on_triton.run(torch.ones(1, 12, 12), level, one, one, [6], plan)
    assert made.picks.tolist() == [[5, 1, 2, 3, 4, 6]]
    assert made.gains.tolist() == [[12, 0, 0, 0, 0, 0]]
    assert made.scores.tolist() == [[13, 1, 1, 1, 1, 1]]


@pytest.mark.parametrize("plan", [None, on_triton.Plan(8, 4, False, 16)])
def test_unequal_counts_and_required_tokens(plan: on_triton.Plan | None) -> None:
    x, saliency = features("ties", 3, 30, 3), torch.rand(3, 30, generator=torch.Generator().manual_seed(0))
    spec = {"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 0.25}}
    spec["constraints"] = [{"name": "cells", "keep": [[0, 4], [3, 1]]}]
    valid = torch.arange(30) < torch.tensor([[30], [20], [22]])
    made = check(x, spec, plan, saliency=saliency, valid=valid, grid=(5, 6))
    assert len(set(made.counts)) > 1
    assert {4, 19} == set(made.picks[0, :2].tolist())


@pytest.mark.parametrize("plan", [None, on_triton.Plan(256, 3, False)])
def test_real_photographs(photo_features: Photos, plan: on_triton.Plan | None) -> None:
    x, saliency = photo_features.one("coffee")
    made = check(x, {"recipe": "scope", "budget": 12}, plan, saliency=saliency)
    assert torch.equal(made.picks, scope.select(x, saliency=saliency, spec="scope@12").picks)


def test_matrices_that_are_not_contiguous_or_want_gradients() -> None:
    generator = torch.Generator().manual_seed(5)
    whole = torch.rand(2, 9, 9, generator=generator)
    level, one = torch.ones(2, 9, dtype=torch.int8), torch.ones(2, 9, dtype=torch.float64)
    wanted = on_triton.run(whole, level, one, one, [4, 3]).picks
    padded = torch.full((2, 9, 16), torch.nan)
    padded[..., :9] = whole
    for view in (whole.mT.contiguous().mT, padded[..., :9], whole.clone().requires_grad_()):
        assert torch.equal(on_triton.run(view, level, one, one, [4, 3]).picks, wanted)
    shared = whole[:1].expand(2, 9, 9)
    assert torch.equal(on_triton.run(shared, level, one, one, [4, 4]).picks[1], wanted[0])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # numpy's, of the interpreter
def test_scores_that_are_no_numbers_are_blamed_as_ever() -> None:
    x, saliency = features("noise", 1, 6, 1), torch.full((1, 6), 1e200, dtype=torch.float64)
    spec = {"recipe": "scope", "budget": 2, "combiner": {"name": "sum", "alpha": 2.0}, "dtype": "float64"}
    with on_kernels(), pytest.raises(scope.PluginOutputError, match="has score inf"):
        scope.select(x, saliency=saliency, spec=spec)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork with threads: the children start none
def test_programs_that_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """All picks in one launch by three programs of a group, run at the same time: one process each, memory shared."""
    fork = multiprocessing.get_context("fork")
    kernel = triton_kernel.greedy

    class Concurrent:
        def __getitem__(self, grid: tuple[int, int]) -> Any:
            def launch(*arguments: Any, **shape: Any) -> None:
                assert shape["TOGETHER"]
                assert shape["launch_cooperative_grid"]
                for argument in arguments:
                    if isinstance(argument, Tensor):
                        argument.share_memory_()
                given = [(grid[0], block, arguments, shape) for block in range(grid[1])]
                programs = [fork.Process(target=program, args=one, daemon=True) for one in given]
                for one in programs:
                    one.start()
                try:
                    running = programs
                    while running:
                        assert wait([one.sentinel for one in running], 60), "programs wait for each other for ever"
                        assert {one.exitcode for one in programs} <= {None, 0}, "a program failed"
                        running = [one for one in running if one.exitcode is None]
                finally:
                    for one in programs:
                        one.kill()
                asked.append(len(programs))

            return launch

    def program(batch: int, block: int, arguments: Any, shape: Any) -> None:
        builder = interpreter.interpreter_builder
        index, size = builder.set_grid_idx, builder.set_grid_dim
        builder.set_grid_idx = lambda x, y, z: index(x, block, z)
        builder.set_grid_dim = lambda x, y, z: size(x, block + 1, z)
        interpreter.GridExecutor._restore_args_dev = lambda *given: None  # it would write memory that others write
        kernel[(batch, 1)](*arguments, **shape)
        os._exit(0)

    asked: list[int] = []
    generator = torch.Generator().manual_seed(11)
    x, saliency = torch.randn(2, 22, 6, generator=generator).round(), torch.rand(2, 22, generator=generator)
    monkeypatch.setattr(triton_kernel, "greedy", Concurrent())
    valid = torch.arange(22) < torch.tensor([[22], [16]])
    spec = {"recipe": "scope", "budget": {"name": "ratio", "keep_ratio": 0.4}}
    check(x, spec, on_triton.Plan(8, 3, True), saliency=saliency, valid=valid)
    assert asked == [3]
