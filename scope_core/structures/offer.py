"""A family of signals that an adapter or a tower offers, and the layers of it."""

from __future__ import annotations

from dataclasses import dataclass

from scope_core.structures.signals import parse_signal


@dataclass(frozen=True)
class Offer:
    """A family of signals that an adapter or a tower can give.

    Attributes:
        family: e.g. ``"vision.cls_attention"``.
        layers: Number of layers of the tower, or of the language model for families ``decoder.*``; None for families
            without a layer.
        only: The layers that are offered, numbered from 1 (``decoder.*``: from 0); None for all of them.
        whole: The layers, numbered from 1, that attend to whole images, of a tower whose other layers attend in
            windows; None if the signal is the same in all layers. Names then mean the layer that corresponds; see
            `layer_of`.
    """

    family: str
    layers: int | None = None
    only: tuple[int, ...] | None = None
    whole: tuple[int, ...] | None = None

    def covers(self, name: str) -> bool:
        """True if the signal ``name`` is offered.

        Layers of a tower are numbered from 1, since 0 would be the embeddings, or from the end with -1. Those of a
        language model are numbered from 0, as points are, and not from the end.
        """
        family, layer = parse_signal(name)
        if family != self.family or (layer is None) != (self.layers is None):
            return False
        return layer is None or self.layer_of(layer) is not None

    def layer_of(self, layer: int) -> int | None:
        """The number of the layer that ``layer`` means; None if it is not offered.

        Among layers that attend to whole images, -1 is the last of them, -2 the last but one. A layer counted from the
        start means itself, or else the next one above it that attends to whole images.
        """
        if self._inside:
            return layer if layer in (range(self.layers or 0) if self.only is None else self.only) else None
        if self.whole is not None and layer > 0:
            return next((number for number in self.whole if layer <= number), None)
        if self.whole is not None:
            return self.whole[layer] if -len(self.whole) <= layer < 0 else None
        number = (self.layers or 0) + 1 + layer if layer < 0 else layer
        return number if number in (range(1, (self.layers or 0) + 1) if self.only is None else self.only) else None

    @property
    def _inside(self) -> bool:
        return self.family.startswith("decoder.")

    @property
    def _all_inside(self) -> bool:
        return self._inside and (self.only is None or self.only == tuple(range(self.layers or 0)))

    @property
    def some(self) -> tuple[int, ...]:
        """The layers in `only`, numbered as in names: for a tower from the end, the last (-1) first.

        Empty if all are offered.
        """
        if self._inside:
            return () if self._all_inside else tuple(sorted(self.only or ()))
        return tuple(sorted((number - (self.layers or 0) - 1 for number in self.only or ()), reverse=True))

    def __str__(self) -> str:
        if self.layers is None:
            return self.family
        if self._all_inside:
            return f"{self.family}[0..{self.layers - 1}]"
        if self.whole is not None:
            numbers = ", ".join(map(str, self.whole))
            return f"{self.family}[-{len(self.whole)}..-1] (layers {numbers} of {self.layers}, which see whole images)"
        if self.only is None:
            return f"{self.family}[-{self.layers}..-1]"
        return " and ".join(f"{self.family}[{layer}]" for layer in self.some) or f"no {self.family}"
