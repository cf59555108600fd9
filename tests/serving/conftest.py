"""Checkpoints, made once per run. These tests need the environment that `environment.py` builds."""

from __future__ import annotations

from pathlib import Path

import checkpoints
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA-1.5."""
    return checkpoints.llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def llava_next(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA-NeXT."""
    return checkpoints.llava_next(tmp_path_factory.mktemp("llava_next"))
