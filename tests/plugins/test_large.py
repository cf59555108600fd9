"""Peak memory of whole selections, by the operating system's own accounting, against what the plan says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import scope_core as scope

resource = pytest.importorskip("resource", reason="peak memory is read as Unix counts it")

PROGRAM = """
import json, resource, sys
import torch
torch.set_num_threads(1)
import scope_core as scope

spec, sizes, keep = json.loads(sys.argv[1])
unit = 1 if sys.platform == "darwin" else 1024
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
generator = torch.Generator().manual_seed(0)
features = torch.randn(len(sizes), max(sizes), 32, generator=generator)
valid = torch.arange(max(sizes))[None] < torch.tensor(sizes)[:, None]
saliency = torch.rand(valid.shape, generator=generator)
pruner = scope.Pruner({**spec, "budget": keep})
small = torch.randn(1, 300, 32, generator=generator)
pruner.select(small, saliency=small[..., 0].abs())  # compiled, imported
before = peak()
pruner.select(features, saliency=saliency, valid=valid)
print(json.dumps([peak() - before, pruner.plan(sizes).memory]))
"""

LOOP = {"name": "greedy", "path": "loop"}


def measured(spec: dict[str, object], sizes: list[int], keep: int) -> tuple[float, float]:
    """Bytes that a selection added to its process' peak, and what its plan says."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([spec, sizes, keep])], capture_output=True, text=True, check=True
    )
    added, planned = json.loads(done.stdout)
    return added, planned


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ({"recipe": "scope"}, [5000]),
        ({"recipe": "scope"}, [3000] * 5 + [500]),  # a matrix of each together would take 216 MB
    ],
    ids=["whole prompt", "unequal images"],
)
def test_it_takes_what_the_plan_says(spec: dict[str, object], sizes: list[int]) -> None:
    added, planned = measured(spec, sizes, 100)
    assert planned >= max(sizes) ** 2 * 4
    assert added < 1.15 * planned + 40e6  # the tokens themselves, and what picks need


def test_the_loop_makes_no_matrix_per_pick() -> None:
    """A pick that touched all pairs in float64 would add 288 MB or more to them."""
    added, _ = measured({"recipe": "scope", "optimizer": LOOP}, [3000], 6)
    assert added < 2 * 3000**2 * 4 + 220e6  # two matrices, blocks, and what the allocator keeps


def test_groups_that_fit_one_by_one_are_not_refused_together() -> None:
    features, saliency = torch.randn(3, 576, 8), torch.rand(3, 576)
    pruner = scope.Pruner({"recipe": "scope", "budget": 8, "selector": {"name": "composite", "memory": 0.002}})
    alone = [pruner.select(features[k : k + 1], saliency=saliency[k : k + 1]).picks[0] for k in range(3)]
    assert torch.equal(pruner.select(features, saliency=saliency).picks, torch.stack(alone))


@pytest.mark.parametrize(("coverage", "combiner"), [("max_min", "product"), ("redundancy", "sum")])
def test_saliency_finer_than_gains_is_not_rounded(coverage: str, combiner: str) -> None:
    """The compiled way has the precision of gains; a source that gives more is served by the loop."""
    features, fine = torch.eye(64)[None], 1 + 1e-10 * torch.arange(64, dtype=torch.float64)[None]
    made = []
    for path in ("auto", "loop"):
        spec = {
            "recipe": "scope",
            "budget": 5,
            "coverage": coverage,
            "combiner": combiner,
            "saliency": {"name": "uniform"},
        }
        pruner = scope.Pruner({**spec, "optimizer": {"name": "greedy", "path": path}})
        made.append(pruner.select(features, saliency=fine).picks)
    assert torch.equal(*made)
