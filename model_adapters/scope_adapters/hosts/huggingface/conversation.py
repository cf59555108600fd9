"""A call that continues a cached prompt: ids, masks and positions, in terms of what pruning left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import cached_length
from scope_adapters.hosts.huggingface.cached_prompt import CachedPrompt
from scope_core import AttachError

_CHANCE = 2
"""So many equal ids may be a coincidence; more are the end of the cached prompt, given again."""


class Conversation:
    """A call that continues a cached prompt: its arguments in terms of the shortened prompt.

    Attributes:
        cached: Positions in the cache.
        full: Positions that these were before pruning.
        entered: L', the length of the prompt in the cache.
    """

    def __init__(self, prompt: CachedPrompt, cache: Any, ids: Tensor) -> None:
        self.prompt, rows = prompt, len(prompt.index)
        self.cached, self.entered = cached_length(cache), int(prompt.index.shape[1])
        self.full = self.cached + int(prompt.real.shape[1]) - self.entered
        if self.cached < self.entered:
            raise AttachError(
                f"the cache was cut to {self.cached} positions, inside the prompt that {prompt.label} pruned to "
                f"{self.entered}; crop it to {self.entered} or more, or pass the whole conversation without a cache"
            )
        if len(ids) % rows:
            raise AttachError(f"input_ids has {len(ids)} rows, but the cache holds {rows} pruned prompts")
        each = len(ids) // rows

        def spread(tensor: Tensor, axis: int = 0) -> Tensor:
            return tensor.to(ids.device).repeat_interleave(each, axis)

        self.ids, self.index = spread(prompt.ids), spread(prompt.index)
        self.real, self.mask = spread(prompt.real), spread(prompt.mask)
        self.after = None if prompt.after is None else spread(prompt.after, prompt.after.dim() - 2)
        self.whole = None if prompt.whole is None else spread(prompt.whole)

    def new_ids(self, ids: Tensor, placeholder: int | None) -> tuple[Tensor, bool]:
        """The ids that the cache does not hold yet, and True if ``ids`` were those of the whole conversation.

        Raises:
            AttachError: ids are neither the whole conversation nor new ones.
        """
        known = min(self.ids.shape[1], self.full)
        if ids.shape[1] >= known and torch.equal(ids[:, :known], self.ids[:, :known]):
            new = ids[:, self.full :]
            if new.shape[1] == 0:
                raise AttachError(f"all of these {ids.shape[1]} ids are in the cache already; add new ones")
        else:
            new = ids
        if placeholder is not None and bool((new == placeholder).any()):
            raise AttachError(
                f"these ids hold image placeholders, and the cache holds a prompt that {self.prompt.label} pruned: "
                f"give new ids only, or all ids of the cached conversation followed by new ones; for new images pass "
                f"the whole conversation with its images and without a cache"
            )
        again = known - self.cached
        if (
            new is ids
            and _CHANCE < again <= ids.shape[1]
            and torch.equal(ids[:, :again], self.ids[:, self.cached : known])
        ):
            raise AttachError(
                f"the first {again} of these ids are in the cache already: its {self.cached} positions were "
                f"{self.full} before pruning; cut ids at {self.full}, not at the length of the cache"
            )
        return new, new is not ids

    def short_ids(self, new: Tensor, fill: int) -> Tensor:
        """(R, cached + n) ids of the cached positions, as far as they are known, and new ones."""
        prompt = self.ids.gather(1, self.index.clamp(min=0)).masked_fill(self.index < 0, fill)
        later = self.ids[:, self.real.shape[1] : self.full]
        later = torch.nn.functional.pad(later, (0, self.cached - self.entered - later.shape[1]), value=fill)
        return torch.cat([prompt, later, new], 1)

    def short_mask(self, mask: Any, new: int) -> Tensor | None:
        """The mask of the shortened conversation; None if it may be left out.

        Args:
            mask: Of the whole conversation, of the shortened one, or of the new ids; None for no mask.
            new: Number of new ids.

        Raises:
            AttachError: the mask has another length.
        """
        if mask is None:
            if bool(self.mask.all()):
                return None
            mask = torch.ones_like(self.mask[:, :1]).expand(-1, new)
        elif not isinstance(mask, Tensor) or mask.dim() != 2 or mask.shape[0] != len(self.mask):
            what = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
            raise AttachError(
                f"attention_mask is {what}; to continue from the cache of a pruned prompt it has to be (B, L), with "
                f"{len(self.mask)} rows"
            )
        later, before = self.cached - self.entered, self.mask.to(mask.device, mask.dtype)
        short, whole = self.cached + new, self.full + new
        if mask.shape[1] == short:
            rest = mask[:, self.entered :]
            before = before * mask[:, : self.entered].ne(0)
        elif mask.shape[1] == whole:
            rest = mask[:, self.real.shape[1] :]
            before = before * mask.gather(1, self.index.clamp(min=0).to(mask.device)).ne(0)
        elif mask.shape[1] == new:
            rest = torch.cat([torch.ones_like(mask[:, :1]).expand(-1, later), mask], 1)
        else:
            raise AttachError(
                f"attention_mask counts {mask.shape[1]} positions; with {new} new ids it has to count {whole} (the "
                f"whole conversation), {short} (what pruning left of it) or {new} (the new ids)"
            )
        return torch.cat([before, rest.expand(len(before), -1)], 1)

    def numbers(
        self, given: Any, mask: Tensor | None, new: int, *, by_mask: bool, first: int, shift: int
    ) -> Tensor | None:
        """Position ids of the new positions; None if the model numbers them correctly by itself.

        Args:
            given: The caller's: continued from the whole conversation, or from what pruning left of it.
            mask: As `short_mask` returns it.
            new: Number of new ids.
            by_mask: True if the model would number them by the mask, False if by columns.
            first: Number of the first position.
            shift: Difference of this call's numbers to those of the call that filled the cache.

        Raises:
            AttachError: the caller's are neither.
        """
        seen = torch.ones_like(self.mask[:, :1]).expand(-1, self.cached + new) if mask is None else mask.bool()
        seen = seen.to(self.mask.device)
        tail = seen[:, self.entered :]
        count = (tail.long().cumsum(1) - 1)[:, -new:]
        if self.after is not None:
            right = self.after + count + shift
            whole = right if self.whole is None else self.whole + count
        elif self.prompt.by_mask:
            right, whole = (
                (part.long().cumsum(1) - 1)[:, -new:] + first for part in (seen, torch.cat([self.real, tail], 1))
            )
        else:
            step = torch.arange(new, device=seen.device).expand(len(seen), -1) + first
            right, whole = self.cached + step, self.full + step
        if given is None:
            itself = self.after is None and (self.prompt.by_mask == by_mask or bool(seen.all()))
            return None if itself else right
        given = given.to(seen.device)
        if not any(_same(given, form, tail[:, -new:]) for form in (right, whole)):
            raise AttachError(
                f"position_ids {_few(given)} do not continue the cached prompt: of the whole conversation they would "
                f"be {_few(whole)}, of what pruning left {_few(right)}; omit them to let the model number the new ids"
            )
        return right

    def cache_position(self, given: Tensor, new: int) -> Tensor:
        """``cache_position`` of the new positions.

        Raises:
            AttachError: it is neither that of the whole conversation nor that of what pruning left.
        """
        step = torch.arange(new, device=given.device)
        for start in (self.cached, self.full):
            if given.shape == step.shape and torch.equal(given, step + start):
                return given - start + self.cached
        raise AttachError(
            f"cache_position {_few(given)} does not continue the cache, which holds {self.cached} positions "
            f"({self.full} before pruning); omit it"
        )


def _same(given: Tensor, wanted: Tensor, real: Tensor) -> bool:
    """True if position ids are equal, padding aside; one row may stand for all, and one axis for several."""
    wanted = wanted[-1] if wanted.dim() > given.dim() else wanted[-given.shape[0] :] if given.dim() == 3 else wanted
    if given.dim() != wanted.dim() or given.shape[-1] != wanted.shape[-1] or given.shape[-2] not in (1, len(real)):
        return False
    return bool(((given == wanted) | ~real).all())


def _few(numbers: Tensor) -> Sequence[int]:
    """The numbers of the first row, for messages."""
    row: list[int] = numbers.reshape(-1, numbers.shape[-1])[0].tolist()
    return row
