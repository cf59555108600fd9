"""Tiny models run fastest on one thread, and the same everywhere."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
