"""Receipts of each call of the encoder: lines in the log, and counters.

The logger is a child of vLLM's, so that vLLM's handlers and level apply in each of its processes.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from scope_adapters.serving.metrics import Counts
from scope_core import Layout, Selection

log = logging.getLogger(f"vllm.{__package__}")

PAUSE = 60.0
"""Seconds between two lines about the same failure."""

_last: dict[tuple[str, str, str], tuple[float, int]] = {}
"""Time of the last line about a failure, and the number of failures since."""


@dataclass(frozen=True)
class Failure:
    """A failure of a part on one image.

    Attributes:
        part: Kind and name, e.g. ``"saliency 'cls_attention'"``; ``"unknown"`` if the error names no part of the spec.
        distribution: Name and version of the package that the part came from; empty if unknown.
        reason: Class of the error.
        text: Its message.
    """

    part: str
    distribution: str
    reason: str
    text: str


class Call:
    """The sums of one spec in one call."""

    def __init__(self) -> None:
        self.images = self.tokens = self.kept = 0
        self.seconds = self.encoder = 0.0
        self.failures: list[Failure] = []

    def note(self, layout: Layout, selection: Selection, seconds: float) -> None:
        """Add the selection of some images."""
        self.images += len(layout.images)
        self.tokens += sum(image.tokens for image in layout.images)
        self.kept += sum(selection.row_counts)
        self.seconds += seconds

    def close(self, label: str, strict: bool = False) -> Counts:
        """Log the sums, and return them for the counters; nothing is logged if another rank selected.

        Args:
            label: The spec in short.
            strict: True if requests with an image that a part failed on end with an error.
        """
        if self.images:
            log.info(
                "%s: %d images, %d -> %d visual tokens (%.1f%% kept), selection %.1f ms",
                label,
                self.images,
                self.tokens,
                self.kept,
                100 * self.kept / max(self.tokens, 1),
                1e3 * self.seconds,
            )
        counts = Counts(
            {label: [self.images, self.tokens, self.kept, self.seconds, self.encoder]} if self.images else {}
        )
        for failure in self.failures:
            self._warn(label, failure, strict)
            counts.add_fallback(failure.part, failure.distribution, failure.reason)
        return counts

    @staticmethod
    def _warn(label: str, failure: Failure, strict: bool) -> None:
        """Log a failure, at most once in `PAUSE` seconds for the same part and reason."""
        key, now = (failure.part, failure.distribution, failure.reason), time.monotonic()
        before, silent = _last.get(key, (-PAUSE, 0))
        if now - before < PAUSE:
            _last[key] = before, silent + 1
            return
        _last[key] = now, 0
        log.warning(
            "%s: %s%s failed on an image, %s: %s: %s%s",
            label,
            failure.part,
            f" ({failure.distribution})" if failure.distribution else "",
            "whose requests end with an error" if strict else "which keeps evenly spaced tokens instead",
            failure.reason,
            failure.text,
            f" ({silent} more since the last line about it)" if silent else "",
        )


def wait(tensor: Tensor) -> None:
    """Wait for the device, so that the time of the tower does not count as time of selection."""
    if tensor.device.type != "cpu":
        torch.accelerator.synchronize(tensor.device)
