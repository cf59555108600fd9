"""Tokens on which selectors are tried."""

from __future__ import annotations

import torch

GENERATOR = torch.Generator().manual_seed(0)


FEATURES = torch.randn(2, 30, 8, generator=GENERATOR)


SALIENCY = torch.rand(2, 30, generator=GENERATOR)


TOP_K = {"name": "composite", "coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}
