"""Arguments that run along the prompt, and their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.generate import own_options
from scope_adapters.hosts.huggingface.prompt import FILLS, Shortened
from scope_core import AttachError


def along_prompt(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that run along the prompt."""
    return {name: kwargs[name] for name in ("attention_mask", "position_ids", *FILLS) if kwargs.get(name) is not None}


def renamed(kwargs: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The call with arguments under the names that ``forward`` has for them now; both names stay if both are given."""
    return {new if (new := names.get(name)) and kwargs.get(new) is None else name: kwargs[name] for name in kwargs}


PRE_ENCODED = (
    "this call has image features that were encoded elsewhere, without the signals that pruning needs; pass "
    "pixel_values with input_ids, or detach the pruner first"
)


def check_along(
    kwargs: Mapping[str, Any], ids: Tensor, model: Any, axes: tuple[int, ...], images: tuple[str, ...]
) -> None:
    """Refuse arguments that do not run along the prompt, though they should, and unknown ones that do.

    Args:
        kwargs: The call.
        ids: (B, L) the caller's ids.
        model: The model, unwrapped.
        axes: Numbers of axes that position ids may have, besides (B, L).
        images: Arguments that hold images.
    """
    _check_shapes(along_prompt(kwargs), ids, axes)
    _check_unknown(kwargs, ids, SHORTENED | own_options(model) | {"logits_to_keep", *images})


def _check_shapes(along: Mapping[str, Any], ids: Tensor, axes: tuple[int, ...]) -> None:
    """Refuse tensors that do not run along the prompt, since they cannot be shortened with it."""
    numbers = {(1, ids.shape[1]), *((count, *ids.shape) for count in axes)}
    for name, tensor in along.items():
        shape = tuple(getattr(tensor, "shape", ()))
        if shape != tuple(ids.shape) and not (name == "position_ids" and shape in numbers):
            what = f"shape {shape}" if shape else f"type {type(tensor).__name__}"
            more = f" or {' or '.join(map(str, axes))} axes of that" if name == "position_ids" and axes else ""
            raise AttachError(
                f"{name} has {what}; to be shortened with the prompt it has to run along input_ids, (B, L) = "
                f"{tuple(ids.shape)}{more}"
            )


SHORTENED = frozenset({"input_ids", "attention_mask", "position_ids", "cache_position", *FILLS})
"""Arguments along the prompt that are shortened with it, or left to the model."""


def _check_unknown(kwargs: Mapping[str, Any], ids: Tensor, known: frozenset[str]) -> None:
    """Refuse arguments that seem to run along the prompt, or to count its positions, but are not known to."""
    length = ids.shape[1]
    for name, value in kwargs.items():
        if name in known or not isinstance(value, Tensor):
            continue
        sums = value.dim() == 1 and len(value) > 1 and not value.is_floating_point() and int(value[-1]) == ids.numel()
        if length in value.shape or sums:
            raise AttachError(
                f"{name} has shape {tuple(value.shape)} and seems to {'count' if sums else 'run along'} the prompt, "
                f"whose length is {length}, but how to shorten it is not known; omit {name}, or detach the pruner "
                f"first"
            )


def for_shortened(kwargs: Mapping[str, Any], short: Shortened, stays: Tensor, last: bool) -> dict[str, Any]:
    """The call with `logits_to_keep` for the shortened prompt, and without ``cache_position``: the model counts itself.

    Args:
        kwargs: The caller's call.
        short: The positions that remain.
        stays: See `logits_to_keep`.
        last: See `logits_to_keep`.

    Raises:
        AttachError: positions do not fit the prompt, or do not stay.
    """
    call, length = dict(kwargs), stays.shape[1]
    given = call.pop("cache_position", None)
    if given is not None and torch.as_tensor(given).tolist() != list(range(length)):
        raise AttachError(
            f"cache_position of a prompt with images has to be 0, 1, ..., {length - 1}, or omitted: a pruned prompt "
            f"enters an empty cache in one piece"
        )
    if call.get("logits_to_keep") is not None:
        call["logits_to_keep"] = logits_to_keep(call["logits_to_keep"], short, stays, last)
    return call


def logits_to_keep(asked: Any, short: Shortened, stays: Tensor, last: bool) -> Any:
    """`logits_to_keep` of the caller's prompt, for the shortened one.

    Args:
        asked: A number of last positions, 0 for all; or positions as an index, a list, a tensor or a slice.
        short: The positions that remain.
        stays: (B, L) bool: the positions of the full prompt that are sure to stay.
        last: True if only a number of last positions can be served, since more is dropped later.

    Raises:
        AttachError: a position was dropped, or is at different places of the shortened prompts.
    """
    length, width = stays.shape[1], short.index.shape[1]
    if isinstance(asked, int) and asked == 0:
        return asked
    try:
        places = torch.arange(length)[slice(-asked, None) if isinstance(asked, int) else _index(asked)].view(-1)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise AttachError(f"logits_to_keep={asked!r} does not fit a prompt of {length} positions: {error}") from error
    columns = torch.arange(width, device=stays.device)
    found = torch.full(stays.shape, -1, device=stays.device)
    found = found.scatter(1, short.index, columns.expand_as(short.index)).masked_fill(~stays, -1)
    found = found[:, places.to(stays.device)]
    lost = ((found < 0) | (found != found[:1])).any(0)
    tail = isinstance(asked, int) and found.shape[1] <= width and bool((found == columns[-asked:]).all())
    if bool(lost.any()) or (last and not tail):
        at = int(places[lost.nonzero()[0, 0]]) if bool(lost.any()) else int(places[0])
        raise AttachError(
            f"logits_to_keep: position {at} of {length} may be dropped, or is at different places of the shortened "
            f"prompts; ask for a number of last positions, after all images, or call without logits_to_keep and use "
            f"`pruning.expand(logits)`"
        )
    return asked if tail else found[0]


def _index(asked: Any) -> Any:
    """A slice, or positions as a tensor."""
    return asked if isinstance(asked, slice) else torch.as_tensor(asked).cpu()
