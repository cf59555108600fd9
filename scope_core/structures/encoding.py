"""Images that were encoded once, for several pruners to select from and several questions to be asked about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.structures.layout import Layout
    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens


@dataclass(frozen=True, eq=False)
class Encoding:
    """One prompt's images after tower and projector, before anything is selected.

    Attributes:
        tokens: The candidates, one group per image, with the signals that were asked for.
        layout: Tiles of the images.
        held: What the adapter needs to go on from here.
    """

    tokens: VisualTokens
    layout: Layout
    held: Any


@dataclass(frozen=True, eq=False)
class Asked:
    """One prompt about images that were encoded before.

    Attributes:
        inputs: ``input_ids`` (1, L) with placeholders for all of the images' tokens, ``attention_mask`` (1, L), and
            whatever else runs along the prompt. Pixels are not read.
        encoding: The images; None for a prompt without any.
        selection: What is kept of them, from ``pruner.prune(encoding.tokens, encoding.layout)``.
    """

    inputs: Mapping[str, Any]
    encoding: Encoding | None = None
    selection: Selection | None = None


class Memo(Protocol):
    """Keeps tensors between calls, e.g. on disk; what is lost is made again."""

    def get(self, key: str) -> Tensor | None:
        """What was put under ``key``; None if it is not there any more."""
        ...

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep ``tensor`` under ``key``, a hexadecimal hash of all that it depends on."""
        ...
