"""The images and videos of a call: encoded by kind, then one list of items in the order of the prompt."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.image_rows import Encoded, Part
from scope_adapters.hosts.huggingface.prompt import owners
from scope_core import AttachError, Layout, VisualTokens
from scope_core.adapters import Session, with_frames
from scope_core.parts import parse_signal

_BY_HEAD = ("vision.cls_attention", "vision.received_attention", "vision.keys")
"""Signals whose second axis is the heads; that of the others is the tokens."""

_Kind = tuple[str, Callable[..., Encoded], tuple[str, ...], "int | None"]


class Items:
    """The images and videos that a model's calls may hold.

    Attributes:
        placeholder: Id of image placeholders.
        video: Id of video placeholders; None for models whose calls with videos are refused.
    """

    def __init__(self, adapter: HuggingFaceModel[Any], model: Any, placeholder: int | None) -> None:
        self.adapter, self.model, self.placeholder = adapter, model, placeholder
        self.video = adapter.video_placeholder(model) if adapter.video_inputs else None
        self.inputs = (*adapter.image_inputs, *adapter.video_inputs)
        """Arguments of both kinds."""

    @property
    def pixels(self) -> dict[str, int | None]:
        """Id of the placeholders of each argument for pixels."""
        pixels: dict[str, int | None] = {self.adapter.image_inputs[0]: self.placeholder}
        return pixels if self.video is None else {**pixels, self.adapter.video_inputs[0]: self.video}

    def given(self, kwargs: Mapping[str, Any]) -> bool:
        """True if a call has images or videos."""
        return any(kwargs.get(name) is not None for name in self.pixels)

    def marked(self, ids: Tensor, kinds: Collection[str]) -> Tensor:
        """``ids`` with the image placeholder wherever an item of these kinds goes, if videos are among them."""
        if "video" not in kinds or self.video is None or self.placeholder is None:
            return ids
        changed = ids if "image" in kinds else ids.masked_fill(ids == self.placeholder, -1)
        return changed.masked_fill(ids == self.video, self.placeholder)

    def check_order(self, ids: Tensor, encoded: Encoded, prompt: int) -> None:
        """Refuse a prompt whose images and videos stand in another order than those that were encoded.

        Args:
            ids: (1, L) the prompt, with as many placeholders as the items have.
            encoded: Its items.
            prompt: Its number, for the message.
        """
        names = {self.placeholder: "image", self.video: "video"}
        places = [names[one] for one in ids.flatten().tolist() if one in names]
        wanted = [kind for kind, count in zip(encoded.kinds, encoded.counts, strict=True) for _ in range(count)]
        if places != wanted:
            order = ", ".join(encoded.kinds)
            raise AttachError(
                f"prompt {prompt}: its placeholders of images and videos are not those of the encoded items, which are "
                f"in this order: {order}. Encode the items in the order in which the prompt has them"
            )

    def encode(self, kwargs: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """The items of a call after tower and projector, in placeholder order."""
        kinds: list[_Kind] = [("image", self.adapter.encode, self.adapter.image_inputs, self.placeholder)]
        if self.video is not None:
            kinds.append(("video", self.adapter.encode_videos, self.adapter.video_inputs, self.video))
        shown = [kind for kind in kinds if kwargs.get(kind[2][0]) is not None]
        if len({kind[3] for kind in shown}) < len(shown):
            raise AttachError(
                f"{' and '.join(kind[2][0] for kind in shown)}: {type(self.model).__name__} has one placeholder (id "
                f"{self.video}) for images and videos, so a call cannot hold both; make a call of each"
            )
        found: list[tuple[int, str, int]] = []
        parts: dict[str, Encoded] = {}
        for kind, encode, inputs, placeholder in shown:
            given = {name: kwargs[name] for name in inputs if kwargs.get(name) is not None}
            _check_pixels(inputs[0], given[inputs[0]], kind)
            parts[kind] = encoded = encode(self.model, given, ids, attachment)
            if shown == kinds[:1]:
                return encoded  # images alone
            sizes = encoded.counts
            owners(ids, int(placeholder or 0), sizes, kind)
            spots = torch.eq(ids, int(placeholder or 0)).flatten().nonzero().flatten().tolist()
            starts = [min(start, len(spots) - 1) for start in accumulate(sizes[:-1], initial=0)]
            found += [(spots[start] if spots else 0, kind, number) for number, start in enumerate(starts)]
        order = [kind for _, kind, _ in sorted(found)]
        numbers = {kind: tuple(n for n, other in enumerate(order) if other == kind) for kind in parts}
        return _joined([Part(kind, encoded, numbers[kind]) for kind, encoded in parts.items()])

    def layout(self, encoded: Encoded, prompts: Sequence[int]) -> Layout:
        """Tiles, frames and prompts of the items."""
        if not encoded.parts:
            return self.adapter.layout_of(encoded, prompts)
        images: list[Any] = [None] * len(prompts)
        for part in encoded.parts:
            layout_of = self.adapter.layout_of if part.kind == "image" else self.adapter.video_layout_of
            layout = layout_of(part.encoded, [prompts[number] for number in part.numbers])
            for number, image in zip(part.numbers, layout.images, strict=True):
                images[number] = image
        return Layout(tuple(images))

    def framed(self, encoded: Encoded, layout: Layout) -> Encoded:
        """The items, with the frames and times of the layout in their tokens."""
        return replace(encoded, tokens=with_frames(encoded.tokens, layout))

    def together(self, calls: Sequence[Encoded]) -> tuple[Part, ...]:
        """The items of several calls, by kind, numbered through."""
        found: dict[str, list[tuple[Encoded, list[int]]]] = {}
        starts = accumulate((len(encoded.rows) for encoded in calls[:-1]), initial=0)
        for start, encoded in zip(starts, calls, strict=True):
            for part in encoded.by_kind:
                found.setdefault(part.kind, []).append((part.encoded, [start + number for number in part.numbers]))
        return tuple(
            Part(kind, self._as_one([encoded for encoded, _ in each]), tuple(n for _, numbers in each for n in numbers))
            for kind, each in found.items()
        )

    def _as_one(self, each: Sequence[Encoded]) -> Encoded:
        """The first of several encodings of a kind, with the further features (DeepStack) of all in its output."""
        if len(each) == 1 or not self.adapter.has_token_fields:
            return each[0]
        output = copy.copy(each[0].output)
        layers = zip(*(one.output.deepstack_features for one in each), strict=True)
        output.deepstack_features = [[item for of in layer for item in of] for layer in layers]
        return replace(each[0], output=output)

    def outputs(
        self, parts: Sequence[Part], rows: list[Tensor], remaining: Callable[[int, Tensor], Tensor]
    ) -> dict[str, Any]:
        """A fresh features output of each kind, which holds only ``rows``; see `HuggingFaceModel.with_rows`."""

        def output(part: Part) -> Any:
            mine = [rows[number] for number in part.numbers]
            return self.adapter.with_rows(part.encoded, mine, lambda n, values: remaining(part.numbers[n], values))

        return {part.kind: output(part) for part in parts}

    def rows(self, parts: Sequence[Part], outputs: Mapping[str, Any]) -> Tensor:
        """(R, D) rows of `outputs`, in placeholder order."""
        return _in_order(parts, [outputs[part.kind].pooler_output for part in parts])

    def layers(self, parts: Sequence[Part], outputs: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Features of further layers (DeepStack), (R, D) each, of the rows of `outputs` in placeholder order."""
        if not self.adapter.has_token_fields:
            return ()
        each = [outputs[part.kind]["deepstack_features"] for part in parts]
        return tuple(_in_order(parts, layers) for layers in zip(*each, strict=True))


def _check_pixels(name: str, pixels: Any, kind: str) -> None:
    """Refuse an argument for pixels that holds none."""
    if not (pixels.numel() if isinstance(pixels, Tensor) else len(pixels)):
        held = tuple(pixels.shape) if isinstance(pixels, Tensor) else "empty"
        raise AttachError(
            f"{name} is {held}; it holds no pixels. Leave it out of calls without {kind}s; each video has at least one "
            f"frame"
        )


def _in_order(parts: Sequence[Part], each: Sequence[Sequence[Tensor]]) -> Tensor:
    """(R, D) rows of all items in their order, from those of the items of each kind."""
    numbered = zip(parts, each, strict=True)
    found = {number: rows for part, of in numbered for number, rows in zip(part.numbers, of, strict=True)}
    return torch.cat([found[number] for number in sorted(found)])


def _joined(parts: Sequence[Part]) -> Encoded:
    """One list of items, from those of each kind."""
    each = {number: (part, i) for part in parts for i, number in enumerate(part.numbers)}
    dealt = [each[number] for number in range(len(each))]
    encoded = [part.encoded for part in parts]
    places = separators = counts = None
    if any(one.places is not None for one in encoded):
        places = [_places_of(part.encoded, i) for part, i in dealt]
    if any(one.separators is not None for one in encoded):

        def separators(item: int, kept: Tensor) -> Tensor:
            part, i = dealt[item]
            stay = part.encoded.separators
            return torch.zeros_like(kept) if stay is None else stay(i, kept)

    if any(one.placeholders is not None for one in encoded):
        counts = [part.encoded.counts[i] for part, i in dealt]
    return Encoded(
        output={part.kind: part.encoded.output for part in parts},
        rows=[part.encoded.rows[i] for part, i in dealt],
        tokens=_tokens(parts),
        places=places,
        separators=separators,
        placeholders=counts,
        parts=tuple(parts),
    )


def _places_of(encoded: Encoded, item: int) -> Tensor:
    return torch.arange(len(encoded.rows[item])) if encoded.places is None else encoded.places[item]


def _tokens(parts: Sequence[Part]) -> VisualTokens:
    """The candidates of all items, in their order, padded to one N."""
    tokens = [part.encoded.tokens for part in parts]
    widths = {one.shape[2] for one in tokens}
    if len(widths) > 1:
        raise AttachError(
            f"features of images and videos have {' and '.join(map(str, sorted(widths)))} channels at this point, so "
            f"they cannot be selected together; use `at: projected`"
        )
    most = max(one.shape[1] for one in tokens)
    order = torch.tensor([number for part in parts for number in part.numbers]).argsort()

    def joined(each: Sequence[Tensor], axis: int = 1, fill: float = 0) -> Tensor:
        size = [(0, 0) * (one.dim() - axis - 1) + (0, most - one.shape[axis]) for one in each]
        padded = [torch.nn.functional.pad(one, more, value=fill) for one, more in zip(each, size, strict=True)]
        return torch.cat([one.to(padded[0]) for one in padded])[order.to(padded[0].device)]

    def signal(name: str) -> Callable[[], Tensor]:
        axis = 2 if parse_signal(name)[0] in _BY_HEAD else 1
        return lambda: joined([one.signals[name] for one in tokens], axis)

    shared = [name for name in tokens[0].signals if all(name in one.signals for one in tokens)]
    return VisualTokens.of(
        joined([one.features for one in tokens]),
        valid=joined([one.valid.int() for one in tokens]).bool(),
        row=joined([one.row for one in tokens], fill=-1),
        col=joined([one.col for one in tokens], fill=-1),
        tile=joined([one.tile for one in tokens]),
        signals={name: signal(name) for name in shared},
    )
