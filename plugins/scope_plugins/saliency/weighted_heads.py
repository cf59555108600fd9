"""Attention from one signal, with a weight for each head."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import SignalName, parse_signal
from scope_plugins.saliency._heads import HeadSource, HeadsSpec


class WeightedHeadsSpec(HeadsSpec):
    """The weighted mean over heads of a signal with heads."""

    name: Literal["weighted_heads"] = "weighted_heads"
    signal: SignalName = "vision.cls_attention[-2]"
    """A signal with one value for each head and token: CLS attention or received attention of the tower, last-query or
    received attention of the language model."""

    @field_validator("signal")
    @classmethod
    def _has_heads(cls, signal: str) -> str:
        if parse_signal(signal)[0] not in _WITH_HEADS:
            raise ValueError(
                f"'{signal}' has no value for each head and token; those that have: {', '.join(_WITH_HEADS)}"
            )
        return signal


_WITH_HEADS = (
    "vision.cls_attention",
    "vision.received_attention",
    "decoder.last_query_attention",
    "decoder.received_attention",
)


class WeightedHeads(HeadSource[WeightedHeadsSpec]):
    """The patches that the better heads attend to; heads that look the same at every image count for less.

    Use it with a calibration file: some heads of a tower attend to fixed places, whatever the image shows.

    ``a_j = sum_h w_h a_hj / sum_h w_h``. Weights are those of HAWK, CVPR 2026, arXiv 2604.07812, in form; how
    ``scope calibrate`` measures them is its own.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The signal."""
        return frozenset({self.spec.signal})

    def by_head(self, tokens: VisualTokens) -> Tensor:
        """(B, H, N)."""
        return tokens.signal(self.spec.signal)
