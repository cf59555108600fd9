"""Real models of the original codebase, built once. These tests need the environment that `environment.py` builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tower(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny CLIP tower."""
    return tiny.save_tower(tmp_path_factory.mktemp("tower"))


@pytest.fixture(scope="session")
def shared(tower: str) -> Callable[..., Any]:
    """``(kind, family) ->`` a model, built once; whoever changes it puts it back."""
    built: dict[tuple[str, str], Any] = {}

    def of(kind: str, family: str = "llama") -> Any:
        if (kind, family) not in built:
            built[kind, family] = tiny.build(tower, kind, family)
        return built[kind, family]

    return of
