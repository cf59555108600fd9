"""The property that signals, rows and columns belong to the token that a patch of the image moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scope_core.pruning.attachment import Attachment
from scope_core.structures.signals import token_axis
from scope_core.testing.adapters.declarations import offered_names
from scope_core.testing.adapters.harness import Harness, Skipped
from scope_core.testing.adapters.pixels import Claim, Region, Slab, patches_of, slabs_of
from scope_core.testing.failures import PropertyViolation, defined_at

_MARGIN = 1.5
"""How many times as much another token must move to count as the one that moves most."""
_FAR = 10.0
_WEAKER = 0.03
_PROBES = 24


def signals_and_places_belong_to_the_token_that_a_patch_moves(harness: Harness) -> None:
    """New pixels in one patch move the features of one token most: that of the same signals, row and column."""
    points = _points(harness)
    with _weakened(harness.model):
        for number, (point, names) in enumerate(points.items()):
            with harness.attached(at=point, reads=names) as pruning:
                _try(_Look(harness, pruning, point, names), thorough=number == 0)


@dataclass(frozen=True)
class _Look:
    """Tokens of calls with one attached pruner."""

    harness: Harness
    pruning: Attachment
    point: str
    names: Sequence[str]

    def read(self, region: Region | None = None, seed: int = 0) -> tuple[dict[str, Tensor], list[Claim]]:
        """``{name: (tokens, values)}`` of features and signals, and what each token claims; of all valid tokens."""
        inputs = self.harness.inputs(self.harness.rows)
        self.harness.logits(inputs if region is None else region.changed(inputs, seed))
        selection = self.pruning.receipt.selection
        if selection is None:
            raise PropertyViolation("the receipt of a call with images holds no selection")
        tokens = selection.tokens
        batch, count, _ = tokens.shape
        valid = tokens.valid.flatten()
        found = {f"features at '{self.point}'": tokens.features.flatten(0, 1)[valid]}
        for name in self.names:
            signal = tokens.signal(name)
            axis = token_axis(name, tuple(signal.shape), batch, count)
            if axis is not None:
                found[name] = signal.movedim(axis, 1).reshape(batch * count, -1)[valid]
        planes = (tokens.image, tokens.tile, tokens.row, tokens.col)
        claims = list(zip(*(plane.flatten()[valid].tolist() for plane in planes), strict=True))
        return {name: values.detach().cpu().double() for name, values in found.items()}, claims

    def moved(self, before: dict[str, Tensor], region: Region, seed: int) -> dict[str, Tensor]:
        """``{name: (tokens,)}`` how far each token moves if the region's pixels are replaced."""
        after, _ = self.read(region, seed)
        return {name: (after[name] - values).norm(dim=1) for name, values in before.items()}

    @property
    def where(self) -> str:
        """The adapter's file and line."""
        return f" ({defined_at(type(self.pruning.adapter))})"


def _try(look: _Look, *, thorough: bool) -> None:
    before, claims = look.read()
    inputs = look.harness.inputs(look.harness.rows)
    slabs = slabs_of(inputs)
    tiles = sorted({claim[:2] for claim in claims})
    regions = patches_of(inputs, claims) if not slabs else None
    if not slabs and regions is None:
        raise Skipped(
            "no argument holds pixels that the kit finds: a floating-point tensor (..., channels, height, width), or "
            "packed patches with an integer tensor of each image's rows and columns"
        )
    if all(row < 0 for _, _, row, _ in claims):
        raise Skipped("no candidate has a row and a column, so the pixels that it shows are unknown")
    if slabs and len(slabs) != len(tiles):
        corners = ((0, 0), (0, 1), (1, 0), (1, 1)) if thorough else ((0, 1),)
        _try_order(_Verdict(look, before, claims, reach=1), slabs, corners)
        return
    verdict = _Verdict(look, before, claims)
    regions = regions or _cells(claims, dict(zip(tiles, slabs, strict=True)))
    sample = _sample(claims, _PROBES if thorough else _PROBES // 3)
    tangled = 0
    for probe, token in enumerate(sample):
        features, *signals = look.moved(before, regions[token], probe).items()
        if _behind(features[1], token, _MARGIN):
            ahead = int(features[1].argmax())
            raise PropertyViolation(
                f"token {token} says that it is {_said(claims[token])}, but new {regions[token].about} move the "
                f"{features[0]} of token {ahead} most, which says that it is {_said(claims[ahead])}{look.where}"
            )
        verdict.hear(token, regions[token], signals)
        tangled += int((features[1] > features[1].max() / _MARGIN).sum()) > 1
    verdict.close()
    if tangled * 2 > len(sample):
        raise Skipped(f"{tangled} of {len(sample)} patches move several tokens alike, so they cannot be told apart")


def _try_order(verdict: _Verdict, slabs: Sequence[Slab], corners: Sequence[tuple[int, int]]) -> None:
    """Tokens that show several tiles each: rows go down a tile, columns to the right, tiles in the call's order."""
    found: list[_Seen] = []
    step = max(1, -(-len(slabs) // _PROBES))  # where each patch is a slab, there are hundreds
    for number, slab in enumerate(slabs[::step]):
        for down, right in corners:
            top, left = 0.12 + 0.7 * down, 0.12 + 0.7 * right
            region = slab.part(top, top + 0.06, left, left + 0.06)
            (_, features), *signals = verdict.look.moved(verdict.before, region, number).items()
            found.append(_Seen(number, down, right, float(features.max()), int(features.argmax()), region, signals))
    least = sorted(seen.most for seen in found)[len(found) // 2] / 5
    shown = [seen for seen in found if seen.most >= least]  # tiles may be cut: other pixels reach no token
    for seen in shown:
        verdict.hear(seen.token, seen.region, seen.signals)
    verdict.close()
    for one in shown:
        for two in shown:
            first, second = verdict.claims[one.token], verdict.claims[two.token]
            if one.contradicts(two, first, second):
                raise PropertyViolation(
                    f"new {one.region.about} move token {one.token} most, which says that it is {_said(first)}; new "
                    f"{two.region.about} move token {two.token}, which says that it is {_said(second)}: one of them is "
                    f"not there{verdict.look.where}"
                )


@dataclass(frozen=True)
class _Seen:
    """Pixels near a corner of a tile, and the token that it moves most."""

    slab: int
    down: int
    right: int
    most: float
    token: int
    region: Region
    signals: Sequence[tuple[str, Tensor]]

    def contradicts(self, other: _Seen, mine: Claim, theirs: Claim) -> bool:
        """True if the claims of both tokens cannot be true."""
        if self.slab != other.slab:
            return self.slab < other.slab and mine[:2] > theirs[:2]
        if self.token == other.token:
            return False
        rows, cols = theirs[2] - mine[2], theirs[3] - mine[3]
        return any(
            shift <= 0 if here < there else abs(shift) > 1 if here == there else False
            for here, there, shift in ((self.down, other.down, rows), (self.right, other.right, cols))
        )


@dataclass(frozen=True)
class _Verdict:
    """What is known of signals: another token moves far more than the own one once, or more for most patches."""

    look: _Look
    before: dict[str, Tensor]
    claims: Sequence[Claim]
    reach: int = 0
    """How many rows and columns away the other token may be: new pixels may lie across several tokens' patches."""
    behind: dict[str, list[str]] = field(default_factory=dict)
    heard: list[int] = field(default_factory=list)

    def hear(self, token: int, region: Region, signals: Sequence[tuple[str, Tensor]]) -> None:
        """Compare every signal's movement with the token whose features moved most.

        Raises:
            PropertyViolation: another token's signal moves `_FAR` times as much.
        """
        self.heard.append(token)
        for name, movement in signals:
            ahead = int(movement.argmax())
            if not _behind(movement, token, _MARGIN) or self.near(token, ahead):
                continue
            text = (
                f"new {region.about} move the features of token {token} most ({_said(self.claims[token])}), but "
                f"{name} of token {ahead} ({_said(self.claims[ahead])}){self.look.where}"
            )
            if _behind(movement, token, _FAR) and self.always_far(name, token, region):
                raise PropertyViolation(text)
            self.behind.setdefault(name, []).append(text)

    def always_far(self, name: str, token: int, region: Region) -> bool:
        """True with other noise, too: some noise hardly changes the attention to the own token."""
        seeds = (1001, 1002, 1003)
        return all(_behind(self.look.moved(self.before, region, seed)[name], token, _FAR) for seed in seeds)

    def near(self, token: int, other: int) -> bool:
        """True if the tokens are of one tile, and no further apart than `reach`."""
        one, two = self.claims[token], self.claims[other]
        return one[:2] == two[:2] and max(abs(one[2] - two[2]), abs(one[3] - two[3])) <= self.reach

    def close(self) -> None:
        """Compare the counts.

        Raises:
            PropertyViolation: a signal is another token's for most patches.
        """
        for texts in self.behind.values():
            if 2 * len(texts) > len(self.heard):
                raise PropertyViolation(f"{texts[0]}; so it is for {len(texts)} of {len(self.heard)} patches")


def _behind(movement: Tensor, token: int, margin: float) -> bool:
    """True if another token moves more than ``margin`` times as much as ``token``."""
    return bool(movement.max() > margin * movement[token])


def _cells(claims: Sequence[Claim], slabs: dict[tuple[int, int], Slab]) -> list[Region]:
    """The middle of each token's cell of its tile; the grid of a size of tile is the largest that any claims."""
    grids: dict[tuple[int, int], tuple[int, int]] = {}
    for image, tile, row, col in claims:
        rows, cols = grids.get(size := slabs[image, tile].size, (0, 0))
        grids[size] = max(rows, row + 1), max(cols, col + 1)
    made = []
    for image, tile, row, col in claims:
        rows, cols = grids[slabs[image, tile].size]
        made.append(
            slabs[image, tile].part(
                (row + 0.125) / rows, (row + 0.875) / rows, (col + 0.125) / cols, (col + 0.875) / cols
            )
        )
    return made


def _sample(claims: Sequence[Claim], most: int) -> list[int]:
    """Tokens of every tile, about ``most`` in all: the upper right one, which no swap of axes leaves there; any."""
    tiles: dict[tuple[int, int], list[int]] = {}
    for token, (image, tile, row, _) in enumerate(claims):
        if row >= 0:
            tiles.setdefault((image, tile), []).append(token)
    each, made = max(1, most // max(len(tiles), 1)), []
    for number, tokens in enumerate(tiles.values()):
        corner = max(tokens, key=lambda token: (claims[token][3], -claims[token][2]))
        others = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(number)).tolist()
        made += [corner, *(tokens[other] for other in others if tokens[other] != corner)][: min(each, 6)]
    return made


def _said(claim: Claim) -> str:
    image, tile, row, col = claim
    return f"row {row}, column {col} of image {image}, tile {tile}"


def _points(harness: Harness) -> dict[str, tuple[str, ...]]:
    """``{interception point: signals to read there}``, 'projected' first."""
    declared = harness.declaration
    names = [name for offer in declared.offers for name in offered_names(offer)]
    inside = tuple(name for name in names if name.startswith("decoder."))
    outside = tuple(name for name in names if name not in inside)
    points = sorted(declared.points, key=lambda point: point != "projected")
    made = {point: outside if point == points[0] else () for point in points}
    return {**made, "decoder[1]": inside} if declared.decoder_layers > 1 else made


@contextmanager
def _weakened(model: Any) -> Iterator[None]:
    """Scale down the weights of linear layers, so that tokens hardly read each other, and put them back.

    Where tokens are does not depend on weights; with random ones, attention moves other tokens as much as the own one.
    """
    weights = {  # `data` counts no write, which other properties would hold against the adapter
        module.weight.data_ptr(): module.weight.data
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.weight.is_floating_point()
    }
    before = [weight.clone() for weight in weights.values()]
    try:
        for weight in weights.values():
            weight.mul_(_WEAKER)
        yield
    finally:
        for weight, value in zip(weights.values(), before, strict=True):
            weight.copy_(value)
