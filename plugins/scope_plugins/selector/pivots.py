"""A few pivots, and for each of them the tokens least like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from typing_extensions import Self

from scope_core import Selection, TokensError, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot, apportion, scores


class PivotsSpec(ComponentSpec):
    """A few pivots of image and text; the rest of the budget goes to tokens that differ from them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text_pivots": 0}, {"keys": 2, "states": 2}]})

    name: Literal["pivots"] = "pivots"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """The saliency by which image tokens become pivots, highest first."""
    pivots: Annotated[int, Field(ge=0)] = 4
    """Number of pivots from the image; they are kept."""
    text_pivots: Annotated[int, Field(ge=0)] = 4
    """Number of pivots from the text after the image, by the 1-norm of their keys."""
    keys: Annotated[int, Field(ge=0)] | None = None
    """Decoder layer of the text's keys, counted from 0; required for text pivots."""
    states: Annotated[int, Field(ge=0)] | None = None
    """Decoder layer whose input is compared, for image and text; by default the tokens' features."""
    normed: bool = False
    """Compare after the language model's last norm."""
    order: Literal["score", "set"] = "score"
    """Order in which pivots choose: by score, image before text; or as Python iterates over a set of positions."""
    offset: Annotated[int, Field(ge=0)] = 35
    """Number of tokens before the image; for ``order: set`` only."""

    @model_validator(mode="after")
    def _pivots_and_their_signals(self) -> Self:
        if self.pivots + self.text_pivots == 0:
            raise ValueError("give at least one pivot: `pivots` from the image, or `text_pivots`")
        if self.text_pivots and (self.keys is None or self.states is None):
            raise ValueError("text pivots need the decoder layers `keys` and `states`; or set `text_pivots: 0`")
        return self


class Pivots(Selector[PivotsSpec]):
    """A few important tokens, and others that do not duplicate them.

    Use it inside the language model, where duplicates matter more than attention, as in DART.

    Each pivot in turn takes its share of the budget: of the tokens left, those with the lowest cosine to it. Shares are
    equal, up to 1 token more for the first pivots. Ties break to the lowest index. Required tokens are taken out of
    the shares. Source: DART, arXiv 2502.11494, section 3.2.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The keys of the text, and the states that are compared."""
        spec, kind = self.spec, "normed" if self.spec.normed else "hidden"
        image = set() if spec.states is None else {f"decoder.{kind}[{spec.states}]"}
        text = {f"decoder.text_keys[{spec.keys}]", f"decoder.text_{kind}[{spec.states}]"} if spec.text_pivots else set()
        return frozenset(image | text)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The image's pivots first, then the tokens that each pivot takes."""
        spec, kind = self.spec, "normed" if self.spec.normed else "hidden"
        saliency = scores(self.parts["saliency"], tokens)
        states = tokens.features if spec.states is None else tokens.signal(f"decoder.{kind}[{spec.states}]")
        selected: list[tuple[Tensor, Tensor]] = []
        for group, count in enumerate(keep):
            text = _no_text(states) if not spec.text_pivots else self._text(tokens, group)
            selected.append(self._select_group(group, count, tokens, saliency[group], states[group], text))
        picks = pad_sequence([pick for pick, _ in selected], batch_first=True, padding_value=-1)
        values = pad_sequence([value for _, value in selected], batch_first=True, padding_value=torch.nan)
        gains = torch.ones_like(values).masked_fill(picks < 0, torch.nan)
        return Selection(picks=picks, gains=gains, scores=values, tokens=tokens)

    def _text(self, tokens: VisualTokens, group: int) -> tuple[Tensor, Tensor]:
        """(M,) positions of the pivots within the text, best first, and (M, D) their states."""
        spec, kind = self.spec, "normed" if self.spec.normed else "hidden"
        keys = tokens.signal(f"decoder.text_keys[{spec.keys}]")[group]
        states = tokens.signal(f"decoder.text_{kind}[{spec.states}]")[group]
        norm = keys.abs().sum((0, 2)).masked_fill(~states.ne(0).any(1), -1)
        best = norm.sort(descending=True, stable=True)
        chosen = best.indices[: spec.text_pivots][best.values[: spec.text_pivots] >= 0]
        return chosen, states[chosen]

    def _select_group(
        self,
        group: int,
        count: int,
        tokens: VisualTokens,
        saliency: Tensor,
        states: Tensor,
        text: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """(K,) picks of one group, and (K,) their scores: saliency of pivots, minus the cosine of others."""
        valid, required = tokens.valid[group], tokens.required[group] & tokens.valid[group]
        rank = saliency.masked_fill(~valid, -torch.inf).sort(descending=True, stable=True).indices
        rank = rank[valid[rank]]
        room = count - int(required.sum())
        image_pivots = rank[: min(self.spec.pivots, count)]
        while int((~required[image_pivots]).sum()) > room:  # required tokens come before pivots
            image_pivots = image_pivots[~required[image_pivots]][:room]
        forced = required.clone()
        forced[image_pivots] = False
        picks = [*image_pivots.tolist(), *forced.nonzero()[:, 0].tolist()]
        values = [float(saliency[pick]) for pick in picks]
        left = valid.clone()
        left[picks] = False
        if count > len(picks) and not len(image_pivots) and not len(text[0]):
            raise TokensError(
                f"selector {self}: {tokens.name_of(group)} has no pivot: there is no text after it, and `pivots` "
                f"allows none of its own tokens; set `pivots` to at least 1"
            )
        size = int((tokens.image[group] >= 0).sum())  # without the padding of smaller images
        pivots = self._turns(image_pivots.tolist(), text[0].tolist(), len(valid), size)
        unit = VisualTokens.of(torch.cat([states, text[1].to(states)])).unit()[0]
        shares = _shares(count - len(picks), len(pivots))
        for pivot, share in zip(pivots, shares, strict=True):
            if share:
                cosine = (unit[: len(valid)] @ unit[pivot]).masked_fill(~left, torch.inf)
                nearest = cosine.sort(stable=True)
                picks += nearest.indices[:share].tolist()
                values += (-nearest.values[:share]).tolist()
                left[nearest.indices[:share]] = False
        device = saliency.device
        return torch.tensor(picks, dtype=torch.int64, device=device), saliency.new_tensor(values)

    def _turns(self, image: list[int], text: list[int], count: int, size: int) -> list[int]:
        """The pivots in the order they choose; text pivots are numbered from ``count`` on, behind ``size`` tokens."""
        if self.spec.order == "score":
            return image + [count + number for number in range(len(text))]
        offset = self.spec.offset
        place = {offset + pivot: pivot for pivot in image}
        place |= {offset + size + pivot: count + number for number, pivot in enumerate(text)}
        positions = list(place)  # the release makes its set of a list, which determines the order
        return [place[position] for position in set(positions)]


def _shares(total: int, pivots: int) -> list[int]:
    return apportion(total, [total] * pivots) if pivots and total else [0] * pivots


def _no_text(states: Tensor) -> tuple[Tensor, Tensor]:
    empty = states.new_zeros(0, states.shape[2])
    return torch.zeros(0, dtype=torch.int64, device=states.device), empty
