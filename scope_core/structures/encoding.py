"""`Encoding`: images and videos encoded once, from which several pruners select and about which questions are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from scope_core.display import brief_repr
from scope_core.structures.layout import Layout
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


@dataclass(frozen=True, eq=False)
class Encoding:
    """One prompt's images and videos after tower and projector, before anything is selected.

    Attributes:
        tokens: The candidates, one group per image or video, with the signals that the pruner needs.
        layout: Tiles of the images, frames of the videos.
        held: Data that the adapter needs to continue from here.
    """

    tokens: VisualTokens
    layout: Layout
    held: Any

    __repr__ = brief_repr


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt about images and videos that were encoded before.

    Attributes:
        inputs: ``input_ids`` (1, L) with placeholders for all of their tokens, in the order in which they were
            encoded, ``attention_mask`` (1, L), and any other tensor of the prompt's length. Pixels are not read.
        encoding: The images and videos; None for a prompt without any.
        selection: The kept tokens, from ``pruner.prune(encoding.tokens, encoding.layout)``.
    """

    inputs: Mapping[str, Any]
    encoding: Encoding | None = None
    selection: Selection | None = None

    __repr__ = brief_repr


class Memo(Protocol):
    """A cache that keeps tensors between calls, e.g. on disk; lost entries are computed again."""

    def get(self, key: str) -> Tensor | None:
        """The tensor stored under ``key``; None if nothing is stored."""
        ...

    def put(self, key: str, tensor: Tensor) -> None:
        """Store ``tensor`` under ``key``, a hexadecimal hash of everything that it depends on."""
        ...
