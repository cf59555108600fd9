"""Saliency from one map for each head, with a weight for each of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import TokensError, VisualTokens
from scope_core.parts import Calibration, ComponentSpec, SaliencySource


class HeadsSpec(ComponentSpec):
    """Options of every source that weights heads."""

    weights: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """A weight for each head; divided by their sum. Without ``weights`` and ``file``, all heads weigh the same."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """The weights as a file of ``scope calibrate --kind heads``. A relative path starts at the current folder; a file
    of another source or tower, or of another number of heads, is refused."""

    @model_validator(mode="after")
    def _one_at_most(self) -> Self:
        if self.weights is not None and self.file is not None:
            raise ValueError("give `weights` or `file`, not both")
        if self.weights is not None and not sum(self.weights):
            raise ValueError("all weights are 0; at least one must be above 0")
        return self


S = TypeVar("S", bound=HeadsSpec)


class HeadSource(SaliencySource[S]):
    """The weighted mean of the maps of all heads; ``scope calibrate --kind heads`` reads the maps."""

    def __init__(self, spec: S, parts: Mapping[str, Any] | None = None) -> None:
        super().__init__(spec, parts)
        if spec.file is not None:
            self.calibration = Calibration.read(spec.file, "heads")
            bare = spec.model_copy(update={"file": None}).model_dump(mode="json")
            self.calibration.check_saliency(bare, f"calibration file '{spec.file}'")

    @abstractmethod
    def by_head(self, tokens: VisualTokens) -> Tensor:
        """(B, H, N) the map of each head."""

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), in the range of the maps.

        Raises:
            TokensError: there are not as many weights as heads.
        """
        maps = self.by_head(tokens)
        weights = self.spec.weights if self.calibration is None else self.calibration.values
        if weights is None:
            return maps.mean(1)
        if len(weights) != maps.shape[1]:
            where = "weights" if self.calibration is None else f"calibration file '{self.spec.file}'"
            source = f", measured on '{self.calibration.model}'" if self.calibration is not None else ""
            raise TokensError(
                f"saliency {self}: {where} has {len(weights)} head weights{source}, but the model has {maps.shape[1]} "
                f"heads; measure this model with `scope calibrate --kind heads`"
            )
        share = maps.new_tensor([weight / sum(weights) for weight in weights])
        return (maps * share[:, None]).sum(1)
