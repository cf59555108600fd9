"""`Combiner`: combines coverage gain and saliency into one score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.tokens import VisualTokens


class Combiner(Part[S]):
    """Combines coverage gain and saliency into one score.

    Attributes:
        uses_saliency: If False, the saliency source is not called; ``combine`` then gets ones.
        uses_coverage: If False, no similarity matrix is computed.
        matrices: Number of N x N matrices that `condition` holds at once beside the similarity, its result included.
        condition: Optional method ``condition(similarity, saliency)``: the (B, N, N) similarity that the coverage
            function gets instead of the metric's, e.g. the kernel of a DPP. ``saliency`` comes from `prepare`.
        affine: Optional method ``affine(saliency)``: ``(scale, offset)``, (B, N) each, such that `combine` equals
            ``gain * scale + offset`` for every gain; None if there are no such numbers for this saliency. ``saliency``
            comes from `prepare`. A coverage function's `Kernel` needs it.
    """

    uses_saliency: ClassVar[bool] = True
    uses_coverage: ClassVar[bool] = True
    matrices: ClassVar[float] = 2
    copies: ClassVar[float] = 0
    condition: Callable[[Tensor, Tensor], Tensor] | None = None
    affine: Callable[[Tensor], tuple[Tensor, Tensor] | None] | None = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"affine": ("combine",)}

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) saliency in the form that `combine` needs; computed once per call, not once per pick."""
        return saliency

    @abstractmethod
    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) score; the highest is picked.

        Args:
            gain: (B, N) from the coverage function.
            saliency: (B, N), from `prepare`.
        """
