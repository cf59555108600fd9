"""Receipts of each call of the encoder: lines in the log, and counters.

The logger is a child of vLLM's, so that vLLM's handlers and level apply in each of its processes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_adapters.serving import pace
from scope_adapters.serving.metrics import Counts
from scope_core import Layout, Selection
from scope_core.parts import Part

log = logging.getLogger(f"vllm.{__package__}")

LONGEST = 500
"""Characters of an error's message."""


@dataclass(frozen=True)
class Failure:
    """A failure of a part on one image.

    Attributes:
        part: Kind and name, e.g. ``"saliency 'cls_attention'"``; ``"unknown"`` if the error names no part of the spec.
        distribution: Name and version of the package that the part came from; empty if unknown.
        reason: Class of the error.
        text: Its message, shortened.
    """

    part: str
    distribution: str
    reason: str
    text: str

    @classmethod
    def of(cls, error: BaseException, parts: Iterable[Part[Any]]) -> Failure:
        """The failure of the part that the error, or a note on it, names first. Never raises."""
        try:
            message = " ".join(str(error).split())
        except Exception:  # an error of a third-party part, whose own message may fail
            message = "(its message cannot be read)"
        text = " ".join([*map(str, getattr(error, "__notes__", ())), message])
        named = [(text.find(f"{part.kind} {part}"), part) for part in parts]
        _, part = min(((at, part) for at, part in named if at >= 0), default=(-1, None), key=lambda pair: pair[0])
        short = message if len(message) <= LONGEST else f"{message[:LONGEST]}..."
        if part is None:
            return cls("unknown", "", type(error).__name__, short)
        return cls(f"{part.kind} '{part.spec.name}'", part.origin, type(error).__name__, short)


class Call:
    """The sums of one spec in one call."""

    def __init__(self) -> None:
        self.images = self.videos = self.tokens = self.kept = 0
        self.seconds = self.encoder = 0.0
        self.failures: list[Failure] = []

    def note(self, layout: Layout, selection: Selection, seconds: float) -> None:
        """Add the selection of some images or videos."""
        self.images += len(layout.images)
        self.videos += sum(bool(image.frames) for image in layout.images)
        self.tokens += sum(image.tokens for image in layout.images)
        self.kept += sum(selection.row_counts)
        self.seconds += seconds

    def add(self, other: Call) -> None:
        """Add another call's images."""
        self.images += other.images
        self.tokens += other.tokens
        self.kept += other.kept
        self.seconds += other.seconds

    def close(self, label: str, strict: bool = False) -> Counts:
        """Log the sums, and return them for the counters; nothing is logged if another rank selected.

        Args:
            label: The spec in short.
            strict: True if requests with an image that a part failed on end with an error.
        """
        if self.images:
            each = {"images": self.images - self.videos, "videos": self.videos}
            log.info(
                "%s: %s, %d -> %d visual tokens (%.1f%% kept), selection %.1f ms",
                label,
                " and ".join(f"{count} {name}" for name, count in each.items() if count),
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
        """Log a failure, at a limited rate for the same part and reason."""
        silent = pace.due((failure.part, failure.distribution, failure.reason))
        if silent is None:
            return
        log.warning(
            "%s: %s%s failed on an image or a video, %s: %s: %s%s",
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
