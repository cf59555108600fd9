"""Receipts of each call of the encoder: a line in the log, and counters.

The logger is a child of vLLM's, so that vLLM's handlers and level apply in each of its processes.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from scope_adapters.serving import metrics
from scope_core import Layout, Selection

log = logging.getLogger(f"vllm.{__package__}")


class Call:
    """The sums of one call."""

    def __init__(self) -> None:
        self.images = self.tokens = self.kept = 0
        self.seconds = 0.0

    def note(self, layout: Layout, selection: Selection, seconds: float) -> None:
        """Add the selection of some images."""
        self.images += len(layout.images)
        self.tokens += sum(image.tokens for image in layout.images)
        self.kept += sum(selection.row_counts)
        self.seconds += seconds

    def close(self, label: str, folder: str) -> None:
        """Log and count the sums, unless another rank selected.

        Args:
            label: The engine's spec in short.
            folder: Folder of the counters; see `scope_adapters.serving.metrics`.
        """
        if not self.images:
            return
        log.info(
            "%s: %d images, %d -> %d visual tokens (%.1f%% kept), selection %.1f ms",
            label,
            self.images,
            self.tokens,
            self.kept,
            100 * self.kept / max(self.tokens, 1),
            1e3 * self.seconds,
        )
        metrics.record(folder, images=self.images, tokens=self.tokens, kept=self.kept, seconds=self.seconds)


def wait(tensor: Tensor) -> None:
    """Wait for the device, so that the time of the tower does not count as time of selection."""
    if tensor.device.type != "cpu":
        torch.accelerator.synchronize(tensor.device)
