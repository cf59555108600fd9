"""Pivots, and for each of them the tokens least like it."""

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
    """Which image tokens become pivots: the highest."""
    pivots: Annotated[int, Field(ge=0)] = 4
    """Pivots from the image; they are kept."""
    text_pivots: Annotated[int, Field(ge=0)] = 4
    """Pivots from the text behind the image, by the 1-norm of their keys."""
    keys: Annotated[int, Field(ge=0)] | None = None
    """Decoder layer of the text's keys, counted from 0; needed for text pivots."""
    states: Annotated[int, Field(ge=0)] | None = None
    """Decoder layer whose input is compared, of image and text alike; the tokens' features where left out."""
    normed: bool = False
    """Compare after the language model's last norm."""
    order: Literal["score", "set"] = "score"
    """Which pivot chooses first: by score, image before text; or as Python iterates over a set of their positions."""
    offset: Annotated[int, Field(ge=0)] = 35
    """Tokens before the image, for ``order: set`` alone: positions begin there."""

    @model_validator(mode="after")
    def _pivots_and_their_signals(self) -> Self:
        if self.pivots + self.text_pivots == 0:
            raise ValueError("give at least one pivot: `pivots` from the image, or `text_pivots`")
        if self.text_pivots and (self.keys is None or self.states is None):
            raise ValueError("text pivots need `keys` and `states`, decoder layers; or set `text_pivots: 0`")
        return self


class Pivots(Selector[PivotsSpec]):
    """Each pivot in turn takes its share of the budget: of the tokens left, those with the lowest cosine to it.

    Shares are equal, what is left over going to the first. Ties break to the lowest index. Required tokens come out of
    the shares. Source: DART, arXiv 2502.11494, section 3.2.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Keys of the text, and the states that are compared."""
        spec, kind = self.spec, "normed" if self.spec.normed else "hidden"
        own = set() if spec.states is None else {f"decoder.{kind}[{spec.states}]"}
        text = {f"decoder.text_keys[{spec.keys}]", f"decoder.text_{kind}[{spec.states}]"} if spec.text_pivots else set()
        return frozenset(own | text)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """The image's pivots first, then what each pivot takes."""
        spec, kind = self.spec, "normed" if self.spec.normed else "hidden"
        saliency = scores(self.parts["saliency"], tokens)
        states = tokens.features if spec.states is None else tokens.signal(f"decoder.{kind}[{spec.states}]")
        made: list[tuple[Tensor, Tensor]] = []
        for group, count in enumerate(keep):
            text = _no_text(states) if not spec.text_pivots else self._text(tokens, group)
            made.append(self._one(group, count, tokens, saliency[group], states[group], text))
        picks = pad_sequence([pick for pick, _ in made], batch_first=True, padding_value=-1)
        values = pad_sequence([value for _, value in made], batch_first=True, padding_value=torch.nan)
        gains = torch.ones_like(values).masked_fill(picks < 0, torch.nan)
        return Selection(picks=picks, gains=gains, scores=values, tokens=tokens)

    def _text(self, tokens: VisualTokens, group: int) -> tuple[Tensor, Tensor]:
        """(M,) positions of the text's pivots among the text, best first, and (M, D) their states."""
        spec, kind = self.spec, "normed" if self.spec.normed else "hidden"
        keys = tokens.signal(f"decoder.text_keys[{spec.keys}]")[group]
        states = tokens.signal(f"decoder.text_{kind}[{spec.states}]")[group]
        norm = keys.abs().sum((0, 2)).masked_fill(~states.ne(0).any(1), -1)
        best = norm.sort(descending=True, stable=True)
        chosen = best.indices[: spec.text_pivots][best.values[: spec.text_pivots] >= 0]
        return chosen, states[chosen]

    def _one(
        self,
        group: int,
        count: int,
        tokens: VisualTokens,
        saliency: Tensor,
        states: Tensor,
        text: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """(K,) picks of one group, and (K,) what each was picked by: its saliency, or minus its cosine."""
        valid, required = tokens.valid[group], tokens.required[group] & tokens.valid[group]
        rank = saliency.masked_fill(~valid, -torch.inf).sort(descending=True, stable=True).indices
        rank = rank[valid[rank]]
        room = count - int(required.sum())
        own = rank[: min(self.spec.pivots, count)]
        while int((~required[own]).sum()) > room:  # required tokens go before pivots
            own = own[~required[own]][:room]
        forced = required.clone()
        forced[own] = False
        picks = [*own.tolist(), *forced.nonzero()[:, 0].tolist()]
        values = [float(saliency[pick]) for pick in picks]
        left = valid.clone()
        left[picks] = False
        if count > len(picks) and not len(own) and not len(text[0]):
            raise TokensError(
                f"selector {self}: {tokens.name_of(group)} has no pivot: there is no text behind it, and none of "
                f"its own tokens may be one; set `pivots` to at least 1"
            )
        pivots = self._turns(own.tolist(), text[0].tolist(), len(valid))
        unit = torch.nn.functional.normalize(torch.cat([states, text[1].to(states)]), dim=1)
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

    def _turns(self, own: list[int], text: list[int], count: int) -> list[int]:
        """The pivots in the order they choose; text pivots are numbered after the image's ``count`` tokens."""
        if self.spec.order == "score":
            return own + [count + number for number in range(len(text))]
        offset = self.spec.offset
        place = {offset + pivot: pivot for pivot in own}
        place |= {offset + count + pivot: count + number for number, pivot in enumerate(text)}
        positions = list(place)  # a set made of a list, as the release makes it: its order depends on that
        return [place[position] for position in set(positions)]


def _shares(total: int, pivots: int) -> list[int]:
    return apportion(total, [total] * pivots) if pivots and total else [0] * pivots


def _no_text(states: Tensor) -> tuple[Tensor, Tensor]:
    empty = states.new_zeros(0, states.shape[2])
    return torch.zeros(0, dtype=torch.int64, device=states.device), empty
