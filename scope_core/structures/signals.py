"""Signals: named tensors that saliency sources and other parts read; each is computed when it is first read.

A signal's name is a family, with the layer in brackets where it has one: ``vision.cls_attention[-2]``.
Layers of the tower are numbered as in ``hidden_states``: -1 is the last layer's output, -2 the one before. Layers of
the language model are numbered from 0: ``decoder[k]`` is the point before layer k.

=================================  ===========  =======================================================
family                             axes         meaning
=================================  ===========  =======================================================
``vision.cls_attention[l]``        B H N        attention from CLS to each patch, softmax over all keys
``vision.received_attention[l]``   B H N        attention each patch receives, mean over all queries
``vision.joint_attention[l]``      B N          attention from CLS by one head of the layer's full width
``vision.mean_attention[l]``       B N          attention each patch receives, mean over heads, then over all queries
``vision.hidden[l]``               B N D        hidden state after layer l, prefix tokens removed
``vision.keys[l]``                 B H N C      key projections of layer l
``vision.cls[l]``                  B N D        hidden state of CLS after layer l, for each token of its tile
``vision.canvas``                  B N C        row, column on the joined tiles, their rows, columns; 0: the overview
``projected``                      B N D        tokens after the projector, as the language model reads them
``text.embeddings``                B M D        embeddings of the prompt's text tokens; rows of zeros are padding
``clip.text_similarity``           B T N        cosine of each of T chunks of text to each patch, in CLIP's space
``clip.word_similarity``           B T N        the same of each of T words (tokens) of the text
``clip.embeddings``                B N D        patches in CLIP's space, which images and texts share
``projector.sensitivity``          B N          change of the projector's output under small changes of each token
``decoder.last_query_attention[k]``  B H N      attention from the last prompt token, softmax over all real keys
``decoder.received_attention[k]``  B H N        mean over the prompt's other tokens of the attention to each
``decoder.text_attention[k]``      B H M N      attention from each text token after the images, softmax likewise
``decoder.text_information[k]``    B H          mutual information, in bits, of the text after images and these
``decoder.hidden[k]``              B N D        input of decoder layer k
``decoder.normed[k]``              B N D        the same, after the language model's last norm
``decoder.vision_hidden[k]``       B F D        the same for all visual tokens; dropped ones as they were when dropped
``decoder.keys[k]``                B H N C      keys of decoder layer k
``decoder.values[k]``              B H N C      values of decoder layer k
``decoder.text_values[k]``         B H M C      values of decoder layer k for the prompt's text tokens
``decoder.prompt_values[k]``       B H M C      values of decoder layer k for all tokens of the prompt
``decoder.rotary_cosines[k]``      B N C        cosines of the tokens' rotary embedding, mean over axes of positions
``decoder.rotary_sines[k]``        B N C        sines of the tokens' rotary embedding, mean over axes of positions
``decoder.plain_keys[k]``          B H N C      keys of decoder layer k before the rotary embedding
``decoder.image_queries[k]``       B H N C      queries of layer k for the visual tokens, before the rotary embedding
``decoder.text_hidden[k]``         B M D        input of decoder layer k for the prompt's text tokens
``decoder.text_normed[k]``         B M D        the same, after the language model's last norm
``decoder.text_keys[k]``           B H M C      keys of decoder layer k for the prompt's text tokens
``decoder.plain_queries[k]``       B H M C      queries of layer k for the text tokens, before the rotary embedding
=================================  ===========  =======================================================

Adapters may offer other families; their token axis is the one whose length is N.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import AfterValidator

from scope_core.display import shortened
from scope_core.errors import SignalError, TokensError, did_you_mean, listed

if TYPE_CHECKING:
    from torch import Tensor

FAMILIES: Mapping[str, str] = {
    "vision.cls_attention": "B H N",
    "vision.received_attention": "B H N",
    "vision.joint_attention": "B N",
    "vision.mean_attention": "B N",
    "vision.hidden": "B N D",
    "vision.keys": "B H N C",
    "vision.cls": "B N D",
    "vision.canvas": "B N C",
    "projected": "B N D",
    "text.embeddings": "B M D",
    "clip.text_similarity": "B T N",
    "clip.word_similarity": "B T N",
    "clip.embeddings": "B N D",
    "projector.sensitivity": "B N",
    "decoder.last_query_attention": "B H N",
    "decoder.received_attention": "B H N",
    "decoder.text_attention": "B H M N",
    "decoder.text_information": "B H",
    "decoder.hidden": "B N D",
    "decoder.normed": "B N D",
    "decoder.vision_hidden": "B F D",
    "decoder.keys": "B H N C",
    "decoder.values": "B H N C",
    "decoder.text_values": "B H M C",
    "decoder.prompt_values": "B H M C",
    "decoder.rotary_cosines": "B N C",
    "decoder.rotary_sines": "B N C",
    "decoder.plain_keys": "B H N C",
    "decoder.image_queries": "B H N C",
    "decoder.text_hidden": "B M D",
    "decoder.text_normed": "B M D",
    "decoder.text_keys": "B H M C",
    "decoder.plain_queries": "B H M C",
}

_NAME = re.compile(r"(?P<family>[a-z0-9_.]+?)(\[(?P<layer>-?\d+)\])?")


@functools.lru_cache(1024)
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


class Signals(Mapping[str, "Tensor"]):
    """A read-only mapping from signal name to tensor; a value may be a function, called once when first read."""

    def __init__(self, values: Mapping[str, Tensor | Callable[[], Tensor]] | None = None) -> None:
        if not isinstance(values, Mapping | None):
            raise TokensError(f"signals must be a mapping from name to tensor, not {type(values).__name__}")
        self._values: dict[str, Any] = dict(values or {})
        for name in self._values:
            parse_signal(name)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._values:
            raise SignalError(
                f"signal '{name}' was not given{did_you_mean(name, self._values)}. Given: {listed(self._values)}. "
                f"Models compute only declared signals: a part that reads one must name it in `needs`"
            )
        value = self._values[name]
        if callable(value):
            value = self._values[name] = value()
        if not (hasattr(type(value), "shape") and hasattr(value, "detach")):  # a tensor, without importing torch
            raise TokensError(f"signal '{name}' must be a tensor, not {type(value).__name__}")
        tensor: Tensor = value
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return shortened(f"Signals({listed(self._values)})")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled with the tensors computed so far; functions are left out, since they refer to the model's call."""
        return Signals, (dict(self.computed()),)

    def __copy__(self) -> Signals:
        return Signals(self._values)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signals:
        return Signals(copy.deepcopy(self._values, memo))

    def computed(self) -> list[tuple[str, Tensor]]:
        """``(name, tensor)`` of the signals that have been computed."""
        return [(name, value) for name, value in self._values.items() if not callable(value)]

    def beside(self, more: Mapping[str, Tensor | Callable[[], Tensor]]) -> Signals:
        """These signals and ``more``, which take precedence. Computes nothing."""

        def later(name: str) -> Callable[[], Tensor]:
            return lambda: self[name]

        return Signals({**{name: later(name) for name in self._values}, **more})

    def map(self, change: Callable[[str, Tensor], Tensor]) -> Signals:
        """The same signals with ``change(name, tensor)`` applied when each is read."""

        def later(name: str) -> Callable[[], Tensor]:
            return lambda: change(name, self[name])

        return Signals({name: later(name) for name in self._values})


def batched(name: str, tensor: Tensor) -> Tensor:
    """A signal of a single group with its batch axis of length 1, which is added if it is missing."""
    family, _ = parse_signal(name)
    axes = len(FAMILIES[family].split()) if family in FAMILIES else None
    given = tensor.shape[:1] == (1,) if axes is None else tensor.dim() == axes
    return tensor if given else tensor[None]


def token_axis(name: str, shape: tuple[int, ...], groups: int, tokens: int) -> int | None:
    """The axis of a signal that runs over visual tokens; None if it has none (text signals).

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
            f"use one of the known families ({listed(FAMILIES)}), or reshape the other axes"
        )
    return found[0] if found else None
