"""Selecting inside of what ``torch.compile`` compiles."""

from __future__ import annotations

import subprocess
import sys

import pytest

COLD = """
import sys
import torch
import scope_core as scope

how, backend = sys.argv[1:]
pruner = scope.Pruner("scope@9")
features, saliency = torch.randn(2, 40, 8), torch.rand(2, 40)
tokens = scope.VisualTokens.of

def pruned(features, saliency):
    if how == "select":
        selection = pruner.select(features * 2, saliency=saliency)
    else:
        selection = pruner.prune(tokens(features * 2, saliency=saliency))
    return selection.gather(features) + 1

compiled = torch.compile(pruned, backend=backend)
first = compiled(features, saliency)
wanted = pruned(features, saliency)
assert torch.equal(first, wanted)
assert torch.equal(compiled(features, saliency), wanted)
assert "numba" in sys.modules
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
"""

UNUSED = """
import sys
import torch
import scope_core as scope
scope.select(torch.randn(1, 40, 8), spec="random@9")
assert "torch._dynamo" not in sys.modules
"""


def run(program: str, *args: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize(("how", "backend"), [("select", "eager"), ("prune", "aot_eager")])
def test_the_first_call_may_be_compiled(how: str, backend: str) -> None:
    """In a process of its own: no kernel of the selection has been compiled before."""
    run(COLD, how, backend)


def test_the_tracer_is_not_loaded_where_nothing_is_compiled() -> None:
    run(UNUSED)
