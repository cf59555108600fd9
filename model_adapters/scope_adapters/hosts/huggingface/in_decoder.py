"""Calls whose images are pruned inside the language model: refusals, and the positions that enter it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import cache_of
from scope_adapters.hosts.huggingface.decoder.decoder import Decoder, checked_mask_axes, readings
from scope_adapters.hosts.huggingface.decoder.offers import check_cache, check_cache_kind, decoder_of
from scope_adapters.hosts.huggingface.decoder.run import Run, entry
from scope_adapters.hosts.huggingface.decoder.steps import ADDED, SEPARATOR
from scope_adapters.hosts.huggingface.generation import Rewritten, setting
from scope_adapters.hosts.huggingface.image_rows import Encoded, raster
from scope_core import AttachError, Layout, Selection, VisualTokens
from scope_core.adapters import Schedule, Session


class Inside:
    """The stages of an attached model inside its language model."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    @property
    def alone(self) -> bool:
        """True if nothing is pruned before the language model."""
        return 0 in self.decoder.stages.values()

    def check(self, kwargs: Mapping[str, Any], *configs: Any) -> None:
        """Refuse calls that stages inside the language model cannot prune, before anything runs.

        Raises:
            AttachError: names the argument, and the one to use instead.
        """
        check_cache(cache_of(kwargs))
        check_cache_kind(setting("cache_implementation", kwargs, *configs))
        for name in ("prefill_chunk_size", "prompt_lookup_num_tokens"):
            if setting(name, kwargs, *configs):
                raise AttachError(
                    f"{name}: a prompt that is pruned inside the language model has to reach it in one piece; omit "
                    f"{name}"
                )
        if kwargs.get("labels") is not None:
            raise AttachError(
                "labels run along the prompt that entered the language model, but logits along the pruned one; omit "
                "labels, and compute the loss from the logits and `pruning.shorten(labels, -100)`"
            )
        mask: Any = kwargs.get("attention_mask")
        if getattr(mask, "ndim", 2) != 2:
            raise AttachError(f"attention_mask has {mask.ndim} axes; pruning inside the language model needs (B, L)")

    def run(
        self,
        rewritten: Rewritten,
        encoded: Encoded,
        selection: Selection,
        layout: Layout,
        placeholder: int,
        ids: Tensor,
    ) -> Run:
        """The call as it enters the language model.

        Args:
            rewritten: The shortened call.
            encoded: Its images.
            selection: The selection before the language model.
            layout: Tiles and prompts of the images.
            placeholder: Id of placeholders.
            ids: (B, L) the shortened ids, with ``placeholder`` for images and videos alike.
        """
        mask = rewritten.kwargs.get("attention_mask")
        images = [contents(encoded, selection, image) for image in range(len(encoded.rows))]
        table, entered = entry(rewritten.short, ids, mask, placeholder, images)
        return Run(
            self.decoder,
            self.decoder.attachment,
            table,
            entered,
            encoded.tokens,
            layout if self.alone else layout.after(selection.row_counts),
            None if encoded.separators is None else _stays(encoded),
        )


def check_inside(model: Any, pruner: Schedule, given: Collection[str]) -> None:
    """Refuse stages inside the language model that could not run there. Hooks nothing.

    Raises:
        SignalError: a stage reads a layer that runs after it.
        AttachError: the attention of the language model cannot be served.
    """
    if any(stage.decoder_layer is not None for stage in pruner.stages):
        readings(pruner, given)
        checked_mask_axes(decoder_of(model))


def inside(model: Any, attachment: Session, undo: ExitStack) -> Inside | None:
    """The stages inside the language model, with their hooks; None if the pruner has none there."""
    if all(stage.decoder_layer is None for stage in attachment.pruner.stages):
        return None
    decoder = Decoder(model, attachment)
    decoder.install(undo)
    return Inside(decoder)


def everything(tokens: VisualTokens) -> Selection:
    """A selection that keeps all tokens, for a pruner whose first stage is inside the language model."""
    order = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.valid.shape)
    picks = order.masked_fill(~tokens.valid, -1)
    order = (picks < 0).int().argsort(dim=1, stable=True)
    unknown = torch.full(picks.shape, torch.nan, device=tokens.device)
    return Selection(picks=picks.gather(1, order), gains=unknown, scores=unknown, tokens=tokens)


def contents(encoded: Encoded, selection: Selection, image: int) -> tuple[Tensor, Tensor]:
    """The content of one image's placeholders, in the order of `rows_for`.

    Returns:
        (k,) int64 number of the feature row, -1 for rows that a merger added; and (k,) int64 number of the candidate,
        or `SEPARATOR` or `ADDED`.
    """
    flags = encoded.rows_kept(image, selection.mask[image])
    count = int(encoded.tokens.valid[image].sum())
    place = torch.arange(count) if encoded.places is None else encoded.places[image]
    place = place.to(flags.device)
    candidate = torch.full((len(flags),), SEPARATOR, device=flags.device)
    candidate[place] = torch.arange(len(place), device=flags.device)
    if selection.mixed is None and selection.order == "raster":
        rows = flags.nonzero()[:, 0]
        return rows, candidate[rows]
    source = selection.rows[image, : selection.row_counts[image]].to(flags.device)
    row = torch.where(source >= 0, place[source.clamp(min=0)], -1)
    apart = flags.clone()
    apart[row[row >= 0]] = False
    order = raster(source, place, apart) if selection.order == "raster" else torch.arange(len(row))
    rows = torch.cat([row, apart.nonzero()[:, 0]])[order]
    which = torch.where(rows >= 0, candidate[rows.clamp(min=0)], ADDED)
    return rows, which


def _stays(encoded: Encoded) -> Any:
    """A function ``(image, rows) -> `` (n,) bool: separators that stay if these feature rows are kept."""

    def stays(image: int, rows: Tensor) -> Tensor:
        kept = torch.zeros(len(encoded.rows[image]), dtype=torch.bool, device=encoded.rows[image].device)
        kept[rows.to(kept.device)] = True
        return encoded.separators(image, kept)  # type: ignore[misc]

    return stays


def refuse_reuse(attachment: Session) -> None:
    """Refuse to continue from encoded images if the pruner has stages inside the language model.

    Raises:
        AttachError: names the stages.
    """
    points = [stage.spec.at for stage in attachment.pruner.stages if stage.decoder_layer is not None]
    if points:
        raise AttachError(
            f"{attachment.pruner.label} prunes at {', '.join(points)}, inside the language model, so its calls cannot "
            f"continue from encoded images; call the model's own generate() instead"
        )
