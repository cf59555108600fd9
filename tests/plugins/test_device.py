"""Selection away from the CPU: the same numbers, and between picks nothing that waits for the device.

No accelerator is needed: the branches for them are taken with tensors of the CPU, or with fake tensors of a CUDA device
that torch refuses to read a number from.

Tests parts together: parts by themselves are tested in the folders of their kinds.
"""

from __future__ import annotations

from typing import Any

import offers
import pytest
import torch
from fakes import built, with_part
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import scope_core as scope
from scope_core.parts import SimilarityMetric
from scope_plugins.coverage._fast import arithmetic, on_triton
from scope_plugins.coverage._fast.arithmetic import grid

READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero", "item"}
COVERAGES = ("facility_location", "graph_cut", "log_det", "max_min", "redundancy", "saturated", "theta_cover")


class HostReads(TorchDispatchMode):
    """Counts what would make the host wait for an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = [i for a in args if isinstance(a, list | tuple) for i in a if isinstance(i, Tensor)]
        if name in READS or (
            name in {"index", "index_put_", "index_put"} and any(m.dtype is torch.bool for m in masks)
        ):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


class Lists(TorchFunctionMode):
    """And what reads a tensor without an operator."""

    def __init__(self, into: list[str]) -> None:
        super().__init__()
        self.into = into

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in {"tolist", "numpy", "cpu"}:
            self.into.append(func.__name__)
        return func(*args, **(kwargs or {}))


def reads(keep: int, batch: int = 2, **spec: Any) -> list[str]:
    """Host reads of one selection of 40 tokens."""
    generator = torch.Generator().manual_seed(3)
    x, saliency = torch.randn(batch, 40, 6, generator=generator), torch.rand(batch, 40, generator=generator)
    pruner = scope.Pruner({"recipe": "scope", "budget": keep, **spec})
    with HostReads() as mode, Lists(mode.seen):
        pruner.select(x, saliency=saliency)
    return mode.seen


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branches for accelerators, where Triton is not installed."""
    monkeypatch.setattr(arithmetic, "on_host", lambda device: False)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("optimizer", [{"name": "greedy", "path": "loop"}, {"name": "k_per_step", "step": 2}], ids=str)
@pytest.mark.parametrize("batch", [1, 2])
def test_host_reads_do_not_grow_with_the_number_of_picks(coverage: str, optimizer: Any, batch: int) -> None:
    spec: dict[str, Any] = {"coverage": coverage, "combiner": "coverage_only", "optimizer": optimizer, "batch": batch}
    spec["similarity"] = (
        {"name": "without_negatives", "of": "cosine"} if coverage in {"saturated", "graph_cut"} else "cosine"
    )
    few = reads(4, **spec)
    assert few, "the checks before and after the picks read something"
    assert reads(16, **spec) == few


def test_the_counter_sees_reads_inside_the_loop() -> None:
    loop = {"optimizer": {"name": "greedy", "path": "loop"}}
    assert len(reads(16, **loop)) > len(reads(4, **loop))  # on the CPU rows that rose are looked up


@given(
    st.integers(0, 10**6),
    st.sampled_from([1.0, 1e-4, 1e5, 1e-30, 0.0]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(1, 40),
)
def test_the_same_grid(seed: int, scale: float, dtype: torch.dtype, count: int) -> None:
    matrix = torch.randn(2, count, count, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale
    step, _ = grid(matrix)
    wanted = (matrix / step).round() * step if step else matrix
    assert torch.equal(arithmetic.on_grid(matrix, arithmetic.rounding_constant(matrix)), wanted.double())


def test_large_matrices_are_gone_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(2, 30, 30, generator=generator)
    rounder = arithmetic.rounding_constant(matrix)
    best = arithmetic.on_grid(matrix[:, :, 4], rounder).clamp(min=0)
    whole = (arithmetic.on_grid(matrix, rounder) - best[:, :, None]).clamp(min=0).sum(1)
    for block in (1, 2 * 30 * 7):
        monkeypatch.setattr(arithmetic, "BLOCK", block)
        assert torch.equal(arithmetic.full_gains(matrix, rounder, best), whole)


@pytest.mark.parametrize("combiner", ["product", "sum", "coverage_only"])
def test_the_same_picks_and_gains_without_looking(combiner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(7)
    x, saliency = torch.randn(3, 50, 5, generator=generator).round(), torch.rand(3, 50, generator=generator)
    spec = {"recipe": "scope", "budget": 20, "combiner": combiner, "optimizer": {"name": "greedy", "path": "loop"}}
    here = scope.select(x, saliency=saliency, spec=spec)
    monkeypatch.setattr(arithmetic, "on_host", lambda device: False)
    away = scope.select(x, saliency=saliency, spec=spec)
    assert torch.equal(here.picks, away.picks)
    assert torch.equal(here.gains, away.gains)


@offers.pretended_cuda
@pytest.mark.parametrize("name", [name for name in COVERAGES if name != "log_det"])  # it checks its matrix at the start
def test_on_a_pretended_cuda_device(name: str, registry: scope.Registry) -> None:
    """Fake tensors have no numbers: asking for one, or for a shape that depends on one, is an error."""
    coverage = built(registry, "coverage", name)
    with FakeTensorMode(allow_non_fake_inputs=True):
        features = torch.empty(2, 20, 4, device="cuda:0")
        tokens = scope.VisualTokens.of(features)
        matrix = features @ features.mT
        assert matrix.device.type == "cuda"
        state = coverage.start(matrix, tokens)
        for _ in range(3):
            pick = coverage.gain(state).argmax(1)
            state = coverage.add(state, pick)
        assert coverage.gain(state).device.type == "cuda"
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            (matrix > 0).nonzero()


@pytest.mark.usefixtures("elsewhere")
def test_a_matrix_that_is_no_kernel_is_refused_when_all_is_picked(registry: scope.Registry) -> None:
    def indefinite(self: Any, tokens: scope.VisualTokens) -> Tensor:
        return torch.ones(*tokens.shape[:2], tokens.shape[1]) * 2 - torch.eye(tokens.shape[1])

    registry = with_part(registry, SimilarityMetric, "acme.indefinite", pairwise=indefinite)
    spec = {"recipe": "coverage_only", "coverage": "log_det", "similarity": "acme.indefinite", "budget": 3}
    with pytest.raises(scope.PluginOutputError, match=r"gain nan of coverage 'log_det'"):
        scope.select(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), spec=spec, registry=registry)


class TestPath:
    def test_compiled_is_taken_or_refused_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from scope_plugins.coverage._fast import compiled

        x, saliency = torch.randn(1, 12, 4), torch.rand(1, 12)
        spec: dict[str, Any] = {"recipe": "scope", "budget": 4, "optimizer": {"name": "greedy", "path": "compiled"}}
        if compiled.available():
            wanted = scope.select(x, saliency=saliency, spec="scope@4").picks
            assert torch.equal(scope.select(x, saliency=saliency, spec=spec).picks, wanted)
        monkeypatch.setattr(compiled, "available", lambda: False)
        with pytest.raises(scope.SpecError, match=r"path 'compiled'.*'facility_location'.*numba is not installed"):
            scope.select(x, saliency=saliency, spec=spec)

    @pytest.mark.parametrize(
        ("changed", "reason"),
        [
            ({"coverage": "modular"}, "coverage 'modular'.* has no kernel"),
            ({"combiner": "saliency_only"}, "combiner 'saliency_only'.* reads no coverage"),
            ({"dtype": "as_is"}, "half precision are rounded at each step"),
        ],
    )
    def test_compiled_where_there_is_no_such_way(self, changed: dict[str, Any], reason: str) -> None:
        spec = {"recipe": "scope", "budget": 4, "optimizer": {"name": "greedy", "path": "compiled"}, **changed}
        x, saliency = torch.randn(1, 12, 4), torch.rand(1, 12)
        if "dtype" in changed:
            x, saliency = x.half(), saliency.half()
        with pytest.raises(scope.SpecError, match=reason):
            scope.select(x, saliency=saliency, spec=spec)

    def test_devices_without_kernels_are_named(self) -> None:
        assert "but not for mps" in on_triton.why_not(torch.device("mps"))

    def test_without_triton(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(on_triton, "find_spec", lambda name: None)
        assert "triton is not installed" in on_triton.why_not(torch.device("cuda:0"))

    def test_where_triton_fails_the_loop_serves_and_says_so_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*given: Any) -> Any:
            raise RuntimeError("Failed to find C compiler")

        monkeypatch.setattr(on_triton, "run", broken)
        on_triton._trial.cache_clear()
        cuda = torch.device("cuda:0")
        with pytest.warns(UserWarning, match="triton failed on cuda:0: .*the same picks are made step by step"):
            assert "triton failed on cuda:0" in on_triton.why_not(cuda)
        assert "triton failed on cuda:0" in on_triton.why_not(cuda)  # a second warning would be an error
        on_triton._trial.cache_clear()


@given(st.integers(1, 64), st.integers(1, 30_000), st.sampled_from([1, 20, 108, 132]))
def test_every_column_has_a_program_and_those_that_wait_all_run(batch: int, count: int, processors: int) -> None:
    made = on_triton.plan(batch, count, processors, meet=True)
    assert made.width * made.blocks >= count > made.width * (made.blocks - 1)
    assert made.width & (made.width - 1) == 0
    if made.together and made.blocks > 1:
        assert batch * made.blocks <= processors


@pytest.mark.parametrize(
    ("batch", "count", "expected"),
    [
        (1, 576, on_triton.Plan(1024, 1, True)),
        (32, 576, on_triton.Plan(1024, 1, True)),
        (1, 2880, on_triton.Plan(256, 12, True, 2048)),
        (32, 2880, on_triton.Plan(1024, 3, True, 2048)),
        (200, 2880, on_triton.Plan(2048, 2, False, 2048)),
        (1, 20_000, on_triton.Plan(256, 79, True, 2048)),
    ],
)
def test_how_work_is_shared_on_132_processors(batch: int, count: int, expected: on_triton.Plan) -> None:
    assert on_triton.plan(batch, count, 132, meet=True) == expected
