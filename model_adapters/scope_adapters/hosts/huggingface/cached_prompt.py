"""Pruned prompts in caches: what was removed is an attribute of the cache, so it lives, is copied and ends with it."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scope_adapters.compat.caches import cached_length
from scope_core import AttachError

_ATTRIBUTE = "_scope_prompt"


@dataclass(frozen=True, eq=False)
class CachedPrompt:
    """A pruned prompt that a cache holds; B prompts, L positions, L' once pruned.

    Attributes:
        label: The pruner's label.
        ids: (B, L or more) the caller's ids, and those that were generated since, as far as they are known.
        real: (B, L) bool: False for the caller's padding.
        index: (B, L') int64: position in the caller's prompt, -1 where a shorter row was filled up.
        after: (B, 1) or (axes, B, 1) position of the next token; None if the model numbered the prompt by itself.
        whole: (B, 1) the same along the caller's prompt; None if it is unknown, or the same.
        by_mask: True if the model numbered it by its mask, as ``generate`` does; otherwise by columns.
        inside: True if it was pruned inside the language model.
        bias: The spec's ``attention_bias``.
        state: Attributes of the base model that the model's own numbering reads, by name.
    """

    label: str
    ids: Tensor
    real: Tensor
    index: Tensor
    after: Tensor | None
    whole: Tensor | None
    by_mask: bool
    inside: bool
    bias: str
    state: Mapping[str, Any]

    @property
    def mask(self) -> Tensor:
        """(B, L') bool: False for padding, the caller's and that of shorter rows."""
        return self.real.gather(1, self.index.clamp(min=0)) & (self.index >= 0)


def remember(cache: Any, prompt: CachedPrompt) -> None:
    """Note that ``cache`` holds ``prompt``."""
    setattr(cache, _ATTRIBUTE, prompt)


def recall(cache: Any) -> CachedPrompt | None:
    """The pruned prompt that a cache holds; None if it holds none. An emptied cache forgets its prompt."""
    prompt: CachedPrompt | None = getattr(cache, _ATTRIBUTE, None)
    if prompt is None:
        return None
    if cached_length(cache) == 0:
        delattr(cache, _ATTRIBUTE)
        return None
    return prompt


def guard(cache: Any) -> None:
    """Warn, or raise, when ``cache`` is used without the pruner: nothing sees such a call but the cache itself."""
    prompt = getattr(cache, _ATTRIBUTE, None)
    if prompt is not None:
        cache.update = _Guard(cache, prompt)


def unguard(cache: Any) -> None:
    """Undo `guard`."""
    if isinstance(vars(cache).get("update"), _Guard):
        del cache.update


class _Guard:
    """The method ``update`` of one cache whose pruner was detached."""

    def __init__(self, cache: Any, prompt: CachedPrompt, warned: bool = False) -> None:
        self.cache, self.prompt, self.warned = weakref.ref(cache), prompt, warned

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        cache: Any = self.cache()
        prompt = self.prompt
        if getattr(cache, _ATTRIBUTE, None) is not None and cached_length(cache):
            removed = int(prompt.real.shape[1] - prompt.index.shape[1])
            what = f"this cache holds a prompt that {prompt.label} pruned, and that pruner was detached"
            if prompt.inside or prompt.after is not None or prompt.bias != "none":
                where = "inside the language model" if prompt.inside else "and numbered with gaps"
                where = where if prompt.bias == "none" else f"with `attention_bias: {prompt.bias}`"
                raise AttachError(
                    f"{what}: the prompt was pruned {where}, which the model alone cannot continue; attach the pruner "
                    f"again, or pass the whole conversation without a cache"
                )
            if not self.warned:
                self.warned = True
                warnings.warn(
                    f"{what}: the model alone continues correctly only from new ids with a mask of the shortened "
                    f"prompt, which is {removed} positions shorter; masks, ids and positions of the whole "
                    f"conversation give wrong answers. Attach a pruner again, or pass the whole conversation without "
                    f"a cache",
                    stacklevel=2,
                )
        return type(cache).update(cache, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _Guard(memo.get(id(self.cache()), self.cache()), self.prompt, self.warned)

    def __reduce__(self) -> Any:
        raise AttachError("a cache whose pruner was detached cannot be pickled; delete its attribute `update` first")
