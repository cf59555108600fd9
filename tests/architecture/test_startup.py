"""What is loaded when: listing parts must not wait for torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LISTING = """
registry = scope_core.default_registry()
for kind in registry.kinds():
    for record in registry.records(kind):
        record.name, record.origin
"""


def loaded_after(code: str) -> set[str]:
    """Top-level packages in ``sys.modules`` of a fresh process."""
    script = f"import json, sys\nimport scope_core\n{code}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("code", ["", LISTING], ids=["import", "list"])
def test_without_torch(code: str) -> None:
    loaded = loaded_after(code)
    assert "scope_core" in loaded
    heavy = loaded & {"torch", "transformers", "timm", "onnx", "numpy", "PIL"}
    assert heavy == set(), f"{', '.join(sorted(heavy))} loaded too early; `python -X importtime -c ...` shows by whom"


def test_pruning_needs_torch_and_no_more() -> None:
    loaded = loaded_after("import torch\nscope_core.select(torch.eye(4), spec='coverage_only@2')")
    assert "torch" in loaded
    assert not loaded & {"transformers", "timm", "onnx"}


def test_importing_builds_no_registry() -> None:
    assert "scope_plugins" not in loaded_after("")
    assert "scope_plugins" in loaded_after("scope_core.default_registry()")
