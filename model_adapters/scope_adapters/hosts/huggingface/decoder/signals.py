"""Signals for stages inside the language model: rows of one layer's attention, its keys, its hidden states.

Only the needed rows are computed, from the layer's own projections, norms and rotary embedding. ``output_attentions``
is not used, so the model may run any attention kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.decoders import rotate

_CHUNK = 256
"""The number of queries whose attention is in memory at once."""


@dataclass(frozen=True)
class View:
    """The prompts of one call as they reach a layer.

    Attributes:
        hidden: (B, L, D) input of the layer.
        rotary: Cosines and sines of the positions, (B, L, C) each, or (3, B, L, C) for positions of several axes.
        valid: (B, L) bool: False for padding.
        prompts: The prompt of each image.
        columns: (n_i,) int64 per image: positions of its tokens, in their order.
        texts: (m_i,) int64 per image: positions of the text tokens after it.
    """

    hidden: Tensor
    rotary: tuple[Tensor, Tensor]
    valid: Tensor
    prompts: Sequence[int]
    columns: Sequence[Tensor]
    texts: Sequence[Tensor]


class Reading:
    """The signals of one layer, one tensor per image, without a batch axis."""

    def __init__(
        self, decoder: Any, number: int, view: View, *, half: bool, projected: Mapping[str, Tensor] | None = None
    ) -> None:
        """Args: the decoder, the layer's number, the prompts, and True to return softmax in the model's own dtype.

        And (B, L, H * C) queries (``q``) and keys (``k``) of the layer, if it has computed them.
        """
        self.projected = projected or {}
        self.decoder, self.layer, self.view, self.half = decoder, decoder.layers[number], view, half
        self.attention = self.layer.self_attn
        self._normed: Tensor | None = None
        self._keys: Tensor | None = None

    def read(self, family: str) -> list[Tensor]:
        """The signal of each image."""
        return [_FAMILIES[family](self, image) for image in range(len(self.view.columns))]

    def taken(self, image: int, columns: Tensor, states: Tensor) -> Tensor:
        """(n, D) states at ``columns`` of the image's prompt."""
        taken: Tensor = states[self.view.prompts[image]][columns]
        return taken

    @property
    def normed(self) -> Tensor:
        """(B, L, D) input of the layer's attention."""
        if self._normed is None:
            self._normed = self.layer.input_layernorm(self.view.hidden)
        return self._normed

    @property
    def keys(self) -> Tensor:
        """(B, H, L, C) rotated keys, one per key head."""
        if self._keys is None:
            self._keys = self.rotated(self.heads("k"), *self.view.rotary)
        return self._keys

    def heads(self, which: str, prompt: int | None = None, columns: Tensor | None = None) -> Tensor:
        """(B, H, L, C) projections of all prompts, or (1, H, n, C) of columns of one; normed if the layer does so."""
        place = ... if prompt is None else (slice(prompt, prompt + 1), columns)
        if which in self.projected:
            projected = self.projected[which][place]
        else:
            projected = getattr(self.attention, f"{which}_proj")(self.normed[place])
        split = projected.view(*projected.shape[:-1], -1, self.attention.head_dim)
        norm = getattr(self.attention, f"{which}_norm", None)
        heads: Tensor = (split if norm is None else norm(split)).transpose(1, 2)
        return heads

    def rotated(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The heads under the model's own rotary embedding."""
        rotated: Tensor = rotate(self.attention, heads, cos.to(heads.device), sin.to(heads.device))
        return rotated

    def rows(self, image: int, queries: Tensor) -> Tensor:
        """(H, Q, L) attention from columns of the image's prompt; softmax over all real keys up to each query."""
        prompt = self.view.prompts[image]
        cos, sin = (
            part[..., [prompt if part.shape[-3] > 1 else 0], :, :][..., queries.to(part.device), :]
            for part in self.view.rotary
        )
        query = self.rotated(self.heads("q", prompt, queries), cos, sin)[0]
        key = self.keys[prompt].repeat_interleave(self.attention.num_key_value_groups, 0)
        scores = query @ key.transpose(1, 2) * getattr(self.attention, "scaling", key.shape[-1] ** -0.5)
        column = torch.arange(scores.shape[2], device=scores.device)
        seen = self.view.valid[prompt].to(scores.device) & (column <= queries.to(scores.device)[:, None])
        attention: Tensor = scores.masked_fill(~seen, -torch.inf).softmax(-1, dtype=torch.float32)
        return attention.to(scores.dtype) if self.half else attention

    def last_query(self, image: int) -> Tensor:
        """(H, N) attention from the last token of the prompt."""
        last = self.view.valid[self.view.prompts[image]].nonzero()[-1]
        return self.rows(image, last)[:, 0, self.view.columns[image]]

    def text_rows(self, image: int) -> Tensor:
        """(H, M, N) attention from each text token after the image."""
        return self.rows(image, self.view.texts[image])[:, :, self.view.columns[image]]

    def text_information(self, image: int) -> Tensor:
        """(H,) mutual information of text and image, each text token as likely as the others; 0 without text.

        Of attention p(y|x) from text token x to token y: sum of ``p(x) p(y|x) log2(p(y|x) / (p(y) + 1e-6 / p(x)))``;
        the small number is that of AutoPrune's release, whose slope depends on it.
        """
        rows = self.text_rows(image).float()
        chance = 1 / max(rows.shape[1], 1)
        joint = chance * rows
        ratio = joint / (chance * joint.sum(1, keepdim=True) + 1e-6)
        return (joint * ratio.clamp(min=1e-6).log2()).sum((1, 2))

    def received(self, image: int) -> Tensor:
        """(H, N) mean attention from all tokens of the prompt except the token itself."""
        queries = self.view.valid[self.view.prompts[image]].nonzero()[:, 0]
        columns = self.view.columns[image]
        total = torch.zeros(())
        for some in torch.split(queries, _CHUNK):
            rows = self.rows(image, some)[:, :, columns].masked_fill(some[:, None] == columns, 0)
            total = rows.float().sum(1) + total.to(rows.device)
        return total / max(len(queries) - 1, 1)

    def prompt_values(self, image: int) -> Tensor:
        """(H, L, C) values of all tokens of the image's prompt."""
        prompt = self.view.prompts[image]
        return self.heads("v", prompt, self.view.valid[prompt])[0]

    def rotation(self, image: int, which: int) -> Tensor:
        """(N, C) cosines (0) or sines (1) of the tokens' rotary embedding, mean over axes of positions."""
        part = self.view.rotary[which]
        part = part.mean(0) if part.dim() == 4 else part
        prompt = self.view.prompts[image] if len(part) > 1 else 0
        return part[prompt][self.view.columns[image].to(part.device)].to(self.view.hidden.device)


def _of_tokens(states: Callable[[Reading], Tensor]) -> Callable[[Reading, int], Tensor]:
    return lambda reading, image: reading.taken(image, reading.view.columns[image], states(reading))


def _of_text(states: Callable[[Reading], Tensor]) -> Callable[[Reading, int], Tensor]:
    return lambda reading, image: reading.taken(image, reading.view.texts[image], states(reading))


def _hidden(reading: Reading) -> Tensor:
    return reading.view.hidden


def _final(reading: Reading) -> Tensor:
    normed: Tensor = reading.decoder.norm(reading.view.hidden)
    return normed


def _keys(reading: Reading, image: int, columns: Tensor) -> Tensor:
    return reading.keys[reading.view.prompts[image]][:, columns]


def _plain(which: str, text: bool = False) -> Callable[[Reading, int], Tensor]:
    """A function that gives (H, n, C) projections of an image's tokens, or of its text, without rotary embedding."""

    def read(reading: Reading, image: int) -> Tensor:
        columns = (reading.view.texts if text else reading.view.columns)[image]
        return reading.heads(which, reading.view.prompts[image], columns)[0]

    return read


_FAMILIES: dict[str, Callable[[Reading, int], Tensor]] = {
    "decoder.last_query_attention": Reading.last_query,
    "decoder.text_attention": Reading.text_rows,
    "decoder.received_attention": Reading.received,
    "decoder.text_information": Reading.text_information,
    "decoder.hidden": _of_tokens(_hidden),
    "decoder.vision_hidden": _of_tokens(_hidden),
    "decoder.normed": _of_tokens(_final),
    "decoder.keys": lambda reading, image: _keys(reading, image, reading.view.columns[image]),
    "decoder.values": _plain("v"),
    "decoder.text_values": _plain("v", text=True),
    "decoder.prompt_values": Reading.prompt_values,
    "decoder.rotary_cosines": lambda reading, image: reading.rotation(image, 0),
    "decoder.rotary_sines": lambda reading, image: reading.rotation(image, 1),
    "decoder.plain_keys": _plain("k"),
    "decoder.plain_queries": _plain("q", text=True),
    "decoder.image_queries": _plain("q"),
    "decoder.text_hidden": _of_text(_hidden),
    "decoder.text_normed": _of_text(_final),
    "decoder.text_keys": lambda reading, image: _keys(reading, image, reading.view.texts[image]),
}

TOKEN_AXES: dict[str, int | None] = {
    "decoder.last_query_attention": 1,
    "decoder.text_attention": 2,
    "decoder.received_attention": 1,
    "decoder.text_information": None,
    "decoder.hidden": 0,
    "decoder.vision_hidden": None,
    "decoder.normed": 0,
    "decoder.keys": 1,
    "decoder.values": 1,
    "decoder.text_values": None,
    "decoder.prompt_values": None,
    "decoder.rotary_cosines": 0,
    "decoder.rotary_sines": 0,
    "decoder.plain_keys": 1,
    "decoder.plain_queries": None,
    "decoder.image_queries": 1,
    "decoder.text_hidden": None,
    "decoder.text_normed": None,
    "decoder.text_keys": None,
}
"""The token axis of an image's tensor; None if the tensor has none that a stage shortens."""


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of several images as one, padded with zeros to the longest along every axis."""
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    stack = tensors[0].new_zeros((len(tensors), *shape))
    for number, tensor in enumerate(tensors):
        stack[number][tuple(slice(size) for size in tensor.shape)] = tensor
    return stack
