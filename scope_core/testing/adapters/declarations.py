"""Properties of an adapter's declarations: the signals that it offers, and the counts that it plans."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core.errors import SignalError
from scope_core.structures.offer import Offer
from scope_core.structures.selection import Selection
from scope_core.structures.signals import FAMILIES
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.adapters.harness import Harness, Skipped
from scope_core.testing.failures import PropertyViolation

_LAYERLESS = (
    "projected",
    "text.embeddings",
    "clip.text_similarity",
    "clip.word_similarity",
    "clip.embeddings",
    "projector.sensitivity",
)


def offered_signals_are_delivered(harness: Harness) -> None:
    """Every offered family at up to two layers, from all images together and from one prompt's alone."""
    declared = harness.declaration
    names = [name for offer in declared.offers for name in offered_names(offer)]
    inside = tuple(name for name in names if name.startswith("decoder."))
    points = dict.fromkeys(declared.points, tuple(name for name in names if name not in inside))
    if declared.decoder_layers > 1:
        points["decoder[1]"] = inside
    for point, reads in points.items():
        with harness.attached(share=0.4, at=point, reads=reads) as pruning:
            harness.logits(harness.inputs([2]))
            alone = pruning.receipt.selection
            harness.logits(harness.inputs(harness.rows))
            beside = pruning.receipt.selection
        if alone is None or beside is None:
            raise PropertyViolation("the receipt of a call with images holds no selection")
        before = len(beside.counts) - len(alone.counts)
        for image in range(len(alone.counts)):
            one, two = _image(alone, image), _image(beside, before + image)
            pairs = {f"features at '{point}'": (one.features, two.features)}
            # what a decoder's rotary embedding turned: padding in front of a prompt shifts its positions in `forward`
            turned = ("decoder.keys", "decoder.text_keys", "decoder.rotary_")
            own = [name for name in reads if not name.startswith(turned)]
            for name, (by_itself, in_batch) in {**pairs, **{n: (one.signal(n), two.signal(n)) for n in own}}.items():
                if not harness.close(*_of_one_size(in_batch, by_itself)):
                    raise PropertyViolation(
                        f"{name} of image {image} of prompt 2 differs between the prompt alone and in a batch"
                    )
    given = {offer.family for offer in declared.offers}
    for family in FAMILIES:
        if family not in given:
            _refused(harness, family if family in _LAYERLESS else f"{family}[-1]")


def plans_come_true(harness: Harness) -> None:
    """Tokens, kept tokens and patches of each image are as planned; separators are at most as planned."""
    if harness.sizes is None:
        raise Skipped("check_adapter was not given the images' sizes (sizes=...)")
    for row, sizes in enumerate(harness.sizes):
        if not sizes:
            continue
        with harness.attached(share=0.4) as pruning:
            plan = pruning.plan(list(sizes))
            harness.logits(harness.inputs([row]))
        layouts, images = plan.layout.images, pruning.receipt.images
        planned = [(image.tokens, count, image.patches) for image, count in zip(layouts, plan.images, strict=True)]
        happened = [(image.tokens, image.kept, image.patches) for image in images]
        if planned != happened:
            raise PropertyViolation(
                f"prompt {row}: (tokens, kept, patches) of each image: {planned} planned, {happened} happened"
            )
        for number, (before, after) in enumerate(zip(layouts, images, strict=True)):
            if after.separators > before.separators:
                raise PropertyViolation(
                    f"prompt {row}, image {number}: {before.separators} separators planned, {after.separators} stayed"
                )
        if not plan.exact:
            raise PropertyViolation("a plan of fixed counts says that it is not exact")


def _image(selection: Selection, image: int) -> VisualTokens:
    """The tokens of one image, padding left out."""
    tokens = selection.tokens
    return tokens.regroup(tokens.valid[image].nonzero().flatten()[None] + image * tokens.shape[1])


def _of_one_size(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors, padded with zeros to one size, as text signals are beside longer prompts."""
    sizes = [max(pair) for pair in zip(one.shape, two.shape, strict=True)]

    def filled(tensor: Tensor) -> Tensor:
        missing = [more for have, size in zip(tensor.shape, sizes, strict=True) for more in (size - have, 0)]
        return torch.nn.functional.pad(tensor, missing[::-1])

    return filled(one), filled(two)


def offered_names(offer: Offer) -> list[str]:
    """One or two signals of a family that are offered."""
    if offer.layers is None:
        return [offer.family]
    if offer.family.startswith("decoder."):
        return [name for name in (f"{offer.family}[0]", f"{offer.family}[1]") if offer.covers(name)]
    tried = [f"{offer.family}[{layer}]" for layer in (-1, -2, *range(1, offer.layers + 1))]
    return [name for name in tried if offer.covers(name)][:2]


def _refused(harness: Harness, name: str) -> None:
    """A part that reads a signal which is not offered must be refused, by name."""
    try:
        harness.pruner(reads=(name,)).attach(harness.model).detach()
    except SignalError as error:
        missing = [word for word in (name, harness.declaration.model) if word not in str(error)]
        if missing:
            raise PropertyViolation(f"the error for '{name}' does not name {' and '.join(missing)}: {error}") from error
    else:
        raise PropertyViolation(f"'{name}' is not offered, and a part that reads it was attached nevertheless")
