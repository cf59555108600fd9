"""Signals: named tensors that saliency sources and other parts read, computed only when asked for.

A signal's name is a family, with the layer in brackets where it has one: ``vision.cls_attention[-2]``.
Layers of the tower count as in ``hidden_states``: -1 is the last layer's output, -2 the one before. Layers of the
language model count from 0, as the point ``decoder[k]`` before layer k does.

=================================  ===========  =======================================================
family                             axes         meaning
=================================  ===========  =======================================================
``vision.cls_attention[l]``        B H N        attention from CLS to each patch, softmax over all keys
``vision.received_attention[l]``   B H N        attention each patch receives, mean over all queries
``vision.hidden[l]``               B N D        hidden state after layer l, prefix tokens removed
``vision.keys[l]``                 B H N C      key projections of layer l
``vision.cls[l]``                  B N D        hidden state of CLS after layer l, for each token of its tile
``projected``                      B N D        tokens after the projector, as the language model reads them
``text.embeddings``                B M D        embeddings of the prompt's text tokens; rows of zeros are padding
``clip.text_similarity``           B T N        cosine of each of T chunks of text to each patch, in CLIP's space
``decoder.last_query_attention[k]``  B H N      attention from the last prompt token, softmax over all real keys
``decoder.received_attention[k]``  B H N        mean over the prompt's other tokens of the attention to each
``decoder.text_attention[k]``      B H M N      attention from each text token behind the images, likewise
``decoder.hidden[k]``              B N D        what decoder layer k is given
``decoder.normed[k]``              B N D        likewise, after the language model's last norm
``decoder.vision_hidden[k]``       B F D        likewise, for all visual tokens, those dropped by then as they were
``decoder.keys[k]``                B H N C      keys of decoder layer k
``decoder.text_hidden[k]``         B M D        what decoder layer k is given for the prompt's text tokens
``decoder.text_normed[k]``         B M D        likewise, after the language model's last norm
``decoder.text_keys[k]``           B H M C      their keys
=================================  ===========  =======================================================

Adapters may offer other families; their token axis is then the one whose length is N.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import AfterValidator

from scope_core.errors import SignalError, TokensError, did_you_mean, listed

if TYPE_CHECKING:
    from torch import Tensor

FAMILIES: Mapping[str, str] = {
    "vision.cls_attention": "B H N",
    "vision.received_attention": "B H N",
    "vision.hidden": "B N D",
    "vision.keys": "B H N C",
    "vision.cls": "B N D",
    "projected": "B N D",
    "text.embeddings": "B M D",
    "clip.text_similarity": "B T N",
    "decoder.last_query_attention": "B H N",
    "decoder.received_attention": "B H N",
    "decoder.text_attention": "B H M N",
    "decoder.hidden": "B N D",
    "decoder.normed": "B N D",
    "decoder.vision_hidden": "B F D",
    "decoder.keys": "B H N C",
    "decoder.text_hidden": "B M D",
    "decoder.text_normed": "B M D",
    "decoder.text_keys": "B H M C",
}

_NAME = re.compile(r"(?P<family>[a-z0-9_.]+?)(\[(?P<layer>-?\d+)\])?")


def parse_signal(name: str) -> tuple[str, int | None]:
    """``("vision.keys", -2)`` for ``"vision.keys[-2]"``.

    Raises:
        SignalError: ``name`` is not of the form ``family`` or ``family[layer]``.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise SignalError(f"'{name}' is not a signal name; write family or family[layer], e.g. vision.keys[-2]")
    layer = match["layer"]
    return match["family"], None if layer is None else int(layer)


def _checked(name: str) -> str:
    try:
        parse_signal(name)
    except SignalError as error:
        raise ValueError(str(error)) from error
    return name


SignalName: TypeAlias = Annotated[str, AfterValidator(_checked)]
"""An option of a spec that names a signal."""


@dataclass(frozen=True)
class Offer:
    """A family of signals that an adapter or a tower can give.

    Attributes:
        family: e.g. ``"vision.cls_attention"``.
        layers: How many layers the tower has, for families ``decoder.*`` the language model; None for families
            without a layer.
        only: The layers that can be asked for, counted from 1 (``decoder.*``: from 0); None for all of them.
    """

    family: str
    layers: int | None = None
    only: tuple[int, ...] | None = None

    def covers(self, name: str) -> bool:
        """Whether the signal ``name`` is among those offered.

        Layers of a tower count from 1, for no layer makes the embeddings, and back from -1. Those of a language model
        count from 0, as points do, and not from the end.
        """
        family, layer = parse_signal(name)
        if family != self.family or (layer is None) != (self.layers is None):
            return False
        if layer is None or self.layers is None:
            return True
        if self._inside:
            return layer in (range(self.layers) if self.only is None else self.only)
        number = self.layers + 1 + layer if layer < 0 else layer
        return 1 <= number <= self.layers if self.only is None else number in self.only

    @property
    def _inside(self) -> bool:
        return self.family.startswith("decoder.")

    @property
    def _all_inside(self) -> bool:
        return self._inside and (self.only is None or self.only == tuple(range(self.layers or 0)))

    @property
    def some(self) -> tuple[int, ...]:
        """The layers in `only` as names have them: from the end for a tower (-1 is the last), the last first.

        Empty where all are offered.
        """
        if self._inside:
            return () if self._all_inside else tuple(sorted(self.only or ()))
        return tuple(sorted((number - (self.layers or 0) - 1 for number in self.only or ()), reverse=True))

    def __str__(self) -> str:
        if self.layers is None:
            return self.family
        if self._all_inside:
            return f"{self.family}[0..{self.layers - 1}]"
        if self.only is None:
            return f"{self.family}[-{self.layers}..-1]"
        return " and ".join(f"{self.family}[{layer}]" for layer in self.some) or f"no {self.family}"


class Signals(Mapping[str, "Tensor"]):
    """Read-only mapping from signal name to tensor; values may be functions, called once when first read."""

    def __init__(self, values: Mapping[str, Tensor | Callable[[], Tensor]] | None = None) -> None:
        if not isinstance(values, Mapping | None):
            raise TokensError(f"signals must be a mapping from name to tensor, not {type(values).__name__}")
        self._values: dict[str, Any] = dict(values or {})
        for name in self._values:
            parse_signal(name)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            raise SignalError(
                f"signal '{name}' is not there{did_you_mean(name, self._values)}. Given: {listed(self._values)}. "
                f"Models give what parts declare: a part that reads it has to name it in `needs`"
            )
        value = self._values[name]
        if callable(value):
            value = self._values[name] = value()
        if not (hasattr(value, "shape") and hasattr(value, "detach")):  # a tensor, said without importing torch
            raise TokensError(f"signal '{name}' must be a tensor, not {type(value).__name__}")
        tensor: Tensor = value
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with the tensors that are there; functions stay behind, for they hold the pass they came from."""
        return Signals, (dict(self.computed()),)

    def __copy__(self) -> Signals:
        return Signals(self._values)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signals:
        return Signals(copy.deepcopy(self._values, memo))

    def computed(self) -> list[tuple[str, Tensor]]:
        """The signals that are tensors by now, by name."""
        return [(name, value) for name, value in self._values.items() if not callable(value)]

    def beside(self, more: Mapping[str, Tensor | Callable[[], Tensor]]) -> Signals:
        """These signals and ``more``, which take precedence; nothing is computed."""

        def later(name: str) -> Callable[[], Tensor]:
            return lambda: self[name]

        return Signals({**{name: later(name) for name in self._values}, **more})

    def map(self, change: Callable[[str, Tensor], Tensor]) -> Signals:
        """The same signals with ``change(name, tensor)`` applied when each is read."""

        def later(name: str) -> Callable[[], Tensor]:
            return lambda: change(name, self[name])

        return Signals({name: later(name) for name in self._values})


def batched(name: str, tensor: Tensor) -> Tensor:
    """A signal of a single group, given with or without its batch axis of 1, with that axis."""
    family, _ = parse_signal(name)
    axes = len(FAMILIES[family].split()) if family in FAMILIES else None
    given = tensor.shape[:1] == (1,) if axes is None else tensor.dim() == axes
    return tensor if given else tensor[None]


def token_axis(name: str, shape: tuple[int, ...], groups: int, tokens: int) -> int | None:
    """Which axis of a signal runs over tokens; None where it has none (text signals).

    Raises:
        TokensError: the shape does not fit the family's axes, or the axis is ambiguous.
    """
    family, _ = parse_signal(name)
    if family in FAMILIES:
        axes = FAMILIES[family].split()
        axis = axes.index("N") if "N" in axes else None
        fits = len(shape) == len(axes) and shape[0] == groups and (axis is None or shape[axis] == tokens)
        if not fits:
            raise TokensError(
                f"signal '{name}' has shape {tuple(shape)}; expected ({', '.join(axes)}) with B={groups}, N={tokens}"
            )
        return axis
    found = [axis for axis, size in enumerate(shape) if axis > 0 and size == tokens]
    if len(found) > 1:
        raise TokensError(
            f"signal '{name}' of shape {tuple(shape)} has more than one axis of length N={tokens}; "
            f"use one of the known families, or give the tokens axis second and reshape the rest"
        )
    return found[0] if found else None
