"""`Combiner`: how gain and saliency make one score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.tokens import VisualTokens


class Combiner(Part[S]):
    """How gain and saliency make one score.

    Attributes:
        uses_saliency: False lets the saliency source be skipped; ``combine`` then gets ones.
        uses_coverage: False lets the similarity matrix be skipped.
        matrices: How many N x N matrices `condition` holds at once beside the similarity, its result included.
        condition: Optional method ``condition(similarity, saliency)``: the (B, N, N) similarity that the coverage
            function sees in place of the metric's, e.g. the kernel of a DPP. ``saliency`` is after `prepare`.
        affine: Optional method ``affine(saliency)``: ``(scale, offset)``, (B, N) each, such that `combine` is
            ``gain * scale + offset`` for every gain; None for saliency that makes no such score. ``saliency`` is after
            `prepare`. A coverage function's `Kernel` can serve combiners that have it.
    """

    uses_saliency: ClassVar[bool] = True
    uses_coverage: ClassVar[bool] = True
    matrices: ClassVar[float] = 2
    condition: Callable[[Tensor, Tensor], Tensor] | None = None
    affine: Callable[[Tensor], tuple[Tensor, Tensor] | None] | None = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"affine": ("combine",)}

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) saliency as `combine` wants it, computed once per call instead of once per pick."""
        return saliency

    @abstractmethod
    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) score; the highest is picked.

        Args:
            gain: (B, N) from the coverage function.
            saliency: (B, N), after `prepare`.
        """
