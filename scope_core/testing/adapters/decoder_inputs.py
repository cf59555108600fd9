"""Properties of what the decoder reads, observed at the decoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scope_core.pruning.attachment import Attachment
from scope_core.testing.adapters.harness import Harness, Skipped, first_difference
from scope_core.testing.failures import PropertyViolation


@dataclass(frozen=True)
class Pair:
    """A single prompt, unpruned and pruned.

    Attributes:
        row: Its number.
        full: (1, L, D) embeddings that the unpruned decoder reads.
        full_logits: Its logits.
        short: (1, L', D) embeddings that the pruned decoder reads.
        logits: Its logits.
        places: (N_i,) per image: the column of each candidate in ``full``.
        found: (N_i,) per image: its column in ``short``, -1 where it is not read.
        whole: The attachment that kept everything.
        pruning: The attachment that did not.
    """

    row: int
    full: Tensor
    full_logits: Tensor
    short: Tensor
    logits: Tensor
    places: list[Tensor]
    found: list[Tensor]
    whole: Attachment
    pruning: Attachment

    @property
    def stay(self) -> Tensor:
        """(L',) columns of ``full`` without those of dropped candidates."""
        gone = [
            int(place[candidate])
            for image, place in enumerate(self.places)
            for candidate in set(range(len(place))) - set(_kept(self.pruning, image))
        ]
        mask = torch.ones(self.full.shape[1], dtype=torch.bool)
        mask[gone] = False
        return mask.nonzero().flatten()

    @property
    def separators_gone(self) -> int:
        """The number of separators that were dropped, by the receipts."""
        whole, short = self.whole.receipt.images, self.pruning.receipt.images
        return sum(image.separators for image in whole) - sum(image.separators for image in short)


def decoder_reads_exactly_the_kept_tokens(harness: Harness) -> None:
    """Embedding by embedding, the decoder reads the kept tokens."""
    for pair in _pairs(harness):
        for image, (place, found) in enumerate(zip(pair.places, pair.found, strict=True)):
            where = f"prompt {pair.row}, image {image}"
            missing = (place < 0).nonzero().flatten().tolist()
            if missing:
                raise PropertyViolation(
                    f"{where}: the unpruned decoder does not read candidate {missing[0]} as it is at 'projected', nor "
                    f"{len(missing) - 1} others"
                )
            wanted, got = _kept(pair.pruning, image), _in_order(found)
            if sorted(got) != wanted:
                raise PropertyViolation(
                    f"{where}: candidates {wanted[:8]} were kept, but the decoder reads {sorted(got)[:8]}"
                )
            before = [candidate for candidate in _in_order(place) if candidate in set(got)]
            if got != before:
                raise PropertyViolation(
                    f"{where}: the decoder reads candidates in the order {got[:8]}; unpruned it is {before[:8]}"
                )
        by_hand = pair.full[:, pair.stay]
        if pair.short.shape[1] + pair.separators_gone != by_hand.shape[1]:
            raise PropertyViolation(
                f"prompt {pair.row}: the decoder reads {pair.short.shape[1]} embeddings instead of {by_hand.shape[1]}"
            )
        if pair.separators_gone:
            continue  # the adapter decides which separators go
        positions = pair.pruning.positions
        if positions is not None and positions.tolist() != [pair.stay.tolist()]:
            raise PropertyViolation(
                f"prompt {pair.row}: positions say {positions[0].tolist()[:12]}; they are {pair.stay.tolist()[:12]}"
            )
        if not harness.close(pair.short, by_hand):
            raise PropertyViolation(
                f"prompt {pair.row}: the decoder does not read the unpruned embeddings with the dropped ones left out: "
                f"{first_difference(pair.short, by_hand)}"
            )


def logits_match_hand_built_embeddings(harness: Harness) -> None:
    """The bare model's logits for embeddings with the dropped ones left out."""
    for pair in _pairs(harness):
        inputs = harness.inputs([pair.row])
        ids = inputs.pop("input_ids", None)
        if ids is None or ids.shape != pair.full.shape[:2]:
            raise Skipped("the decoder does not read one embedding for each of input_ids")
        if pair.separators_gone:
            raise Skipped("separators are dropped with tokens, and the adapter decides which")
        along = {n: value for n, value in inputs.items() if isinstance(value, Tensor) and value.shape == ids.shape}
        try:
            own = harness.logits({"inputs_embeds": pair.full, **along})
        except Exception as error:  # whatever a bare model raises that takes no embeddings
            raise Skipped(f"the model takes no inputs_embeds ({type(error).__name__})") from error
        if not harness.close(own, pair.full_logits):
            raise Skipped("the model's own embeddings do not give its own logits: it reads ids or images elsewhere too")
        stay = {name: value[:, pair.stay] for name, value in along.items()}
        wanted = harness.logits({"inputs_embeds": pair.full[:, pair.stay], **stay})
        if not harness.close(pair.logits, wanted):
            raise PropertyViolation(f"prompt {pair.row}: {first_difference(pair.logits, wanted)}")


def receipts_match_what_the_decoder_reads(harness: Harness) -> None:
    """Counts of images and separators equal the embeddings that are read."""
    for pair in _pairs(harness):
        images, wholes = pair.pruning.receipt.images, pair.whole.receipt.images
        if len(images) != len(wholes) or len(images) != (1 if pair.row == 0 else 2):
            raise PropertyViolation(
                f"prompt {pair.row}: the receipts give it {len(wholes)} images in one call, then {len(images)}"
            )
        for number, (image, found) in enumerate(zip(images, pair.found, strict=True)):
            read = len(_in_order(found))
            if (image.kept, image.tokens) != (read, len(found)):
                raise PropertyViolation(
                    f"prompt {pair.row}: the receipt says {image.kept} of {image.tokens} tokens of image {number} were "
                    f"kept; the decoder reads {read} of {len(found)}"
                )
        gone = pair.full.shape[1] - pair.short.shape[1]
        dropped = sum(image.tokens - image.kept for image in images) + pair.separators_gone
        if gone != dropped:
            raise PropertyViolation(
                f"prompt {pair.row}: {gone} fewer embeddings are read; by the receipts it should be {dropped}"
            )


def _pairs(harness: Harness) -> list[Pair]:
    if "projected" not in harness.declaration.points:
        raise Skipped("it declares no point 'projected', where candidates are what the decoder reads")
    return [_pair(harness, row) for row in (0, 2)]


def _pair(harness: Harness, row: int) -> Pair:
    full, full_logits = harness.read(harness.inputs([row]))
    with harness.attached(at="projected") as whole:
        harness.logits(harness.inputs([row]))
    with harness.attached(at="projected", share=0.4) as pruning:
        short, logits = harness.read(harness.inputs([row]))
    selection = whole.receipt.selection
    if selection is None:
        raise PropertyViolation("the receipt of a call with images holds no selection")
    tokens = selection.tokens
    if full.shape[0] != 1 or tokens.shape[2] != full.shape[2]:
        raise Skipped(
            f"candidates at 'projected' are {tokens.shape[2]} wide, and the decoder reads {tuple(full.shape)}, so they "
            f"cannot be identified there"
        )
    features = [each[valid] for each, valid in zip(tokens.features, tokens.valid, strict=True)]
    places, found = ([_locate(each, embeds[0]) for each in features] for embeds in (full, short))
    return Pair(row, full, full_logits, short, logits, places, found, whole, pruning)


def _locate(features: Tensor, embeds: Tensor) -> Tensor:
    """(N,) column of (L, D) embeddings that holds each of (N, D) features, up to a factor; -1 for none."""
    unit = torch.nn.functional.normalize
    alike = unit(features.double(), dim=-1) @ unit(embeds.double(), dim=-1).T
    same = alike > 1 - 1e-6
    twice = (same.sum(1) > 1).nonzero().flatten().tolist()
    if twice:
        raise Skipped(
            f"candidate {twice[0]} of an image is read at {int(same[twice[0]].sum())} places, so they cannot be told "
            f"apart; make inputs from random images"
        )
    return torch.where(same.any(1), alike.argmax(1), -1)


def _in_order(columns: Tensor) -> list[int]:
    """The candidates that are read, by column."""
    there = (columns >= 0).nonzero().flatten()
    return [int(i) for i in there[columns[there].argsort()]]


def _kept(pruning: Attachment, image: int) -> list[int]:
    """The kept candidates of an image, ascending, counted among the valid ones."""
    selection = pruning.receipt.selection
    if selection is None:
        raise PropertyViolation("the receipt of a call with images holds no selection")
    places = selection.tokens.valid[image].nonzero().flatten().tolist()
    return [places.index(place) for place in selection.kept[image].tolist() if place >= 0]
