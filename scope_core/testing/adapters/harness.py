"""Calls of a model with and without a pruner, and a view of what its decoder reads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from scope_core.errors import ScopeError
from scope_core.pruning.attachment import Attachment
from scope_core.pruning.compatibility import find_adapter
from scope_core.pruning.pruner import Pruner
from scope_core.registry.registry import Registry
from scope_core.structures.declaration import Declaration
from scope_core.testing.adapters.snapshots import Snapshot, changed, snapshot
from scope_core.testing.failures import PropertyViolation

MakeInputs = Callable[[Sequence[int]], Mapping[str, Any]]
"""``rows -> `` keyword arguments of the model's call for those of three prompts, shorter ones padded on the left:
prompt 0 has one image, prompt 1 none, prompt 2 two. The same number is always the same prompt with the same images,
alone or beside others. Models without prompts take the images of those rows."""

ROWS = (0, 1, 2)
NEW = 3
MODES: Mapping[str, Mapping[str, Any]] = {
    "greedy search": {},
    "beam search": {"num_beams": 2},
    "no cache": {"use_cache": False},
}


class Skipped(Exception):  # noqa: N818
    """A property cannot be tried on this model; the text says why."""


@dataclass(frozen=True)
class Harness:
    """One adapter on one model.

    Attributes:
        adapter: The adapter's name and options.
        model: The model.
        make_inputs: See `MakeInputs`.
        registry: The registry of the adapter and of the kit's own parts.
        sizes: (height, width) of the images of each prompt; None if they do not determine its layout.
        decoder: The module that reads embeddings, if the model does not name it.
        tolerance: Tolerance of logits, as a share of the largest.
    """

    adapter: Mapping[str, Any]
    model: Any
    make_inputs: MakeInputs
    registry: Registry
    sizes: Sequence[Sequence[tuple[int, int]] | None] | None
    decoder: nn.Module | None
    tolerance: float

    def pruner(self, *, keep: Sequence[int] = (), share: float = 1.0, at: str = "", **picks: Any) -> Pruner:
        """A pruner of the kit's own parts."""
        spec = {
            "selector": {"name": "testing.shuffled", **picks},
            "budget": {"name": "testing.counts", "keep": tuple(keep), "share": share},
            "at": at or next(iter(self.declaration.points), "vision"),
            "dtype": "as_is",
            "adapter": dict(self.adapter),
        }
        return Pruner(spec, registry=self.registry)

    @cached_property
    def kind(self) -> type:
        """The adapter's class; `object` if there is none of its name."""
        try:
            target = self.registry.get("adapter", str(self.adapter["name"])).target
        except ScopeError:
            return object
        return target if isinstance(target, type) else object

    @cached_property
    def declaration(self) -> Declaration:
        """The adapter's declaration about the model."""
        spec = {
            "selector": "testing.shuffled",
            "budget": {"name": "testing.counts"},
            "adapter": dict(self.adapter),
        }
        pruner = Pruner(spec, registry=self.registry)
        return find_adapter(self.model, pruner).check(self.model)

    @contextmanager
    def attached(self, **options: Any) -> Iterator[Attachment]:
        """An attached pruner; options as for `pruner`."""
        with self.pruner(**options).attach(self.model) as pruning:
            yield pruning

    def inputs(self, rows: Sequence[int], *, other: bool = False) -> dict[str, Any]:
        """New arguments, since calls may change theirs; with ``other``, other images of the same sizes."""
        return {name: _copied(value, other=other) for name, value in self.make_inputs(rows).items()}

    @cached_property
    def prompts(self) -> bool:
        """True if inputs hold token ids."""
        return "input_ids" in self.inputs([0])

    @cached_property
    def suppressed(self) -> list[int]:
        """Ids that are never generated; untrained models would generate placeholders."""
        before = getattr(getattr(self.model, "generation_config", None), "suppress_tokens", None) or []
        placeholder = self.declaration.placeholder
        return [*before, *([] if placeholder is None or placeholder < 0 else [placeholder])]

    @property
    def ruled_out(self) -> list[int]:
        """Ids that `ids` cannot hold: suppressed ones, and those that end a sequence."""
        ends = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        return [*self.suppressed, *ends]

    @property
    def rows(self) -> tuple[int, ...]:
        """Prompts of a whole batch."""
        return ROWS if self.prompts else (0, 2)

    @cached_property
    def reader(self) -> Any:
        """The module that reads embeddings; None if it is unknown."""
        if self.decoder is not None:
            return self.decoder
        get = getattr(self.model, "get_decoder", None)
        found = get() if callable(get) else self._holder_of_words()
        return found if isinstance(found, nn.Module) and found is not self.model else None

    def _holder_of_words(self) -> Any:
        """The module that holds the embedding table, and so reads embeddings; None if it is unknown."""
        get = getattr(self.model, "get_input_embeddings", None)
        table = get() if callable(get) else None
        modules = self.model.modules() if isinstance(table, nn.Module) else ()
        return next((module for module in modules if any(child is table for child in module.children())), None)

    @cached_property
    def settled(self) -> tuple[Snapshot, frozenset[str]]:
        """The model after a few bare calls, and the paths that bare calls go on changing.

        Libraries set things up on first use, and some models record things in every call. Read this before anything is
        attached.
        """
        calls = ([0], [2], self.rows)
        for rows in calls:
            self.logits(self.inputs(rows))
            with contextlib.suppress(Skipped):
                self.ids(self.inputs(rows), next(iter(MODES)))
        before = snapshot(self.model, values=True)
        for rows in calls:
            self.logits(self.inputs(rows))
            with contextlib.suppress(Skipped):
                self.ids(self.inputs(rows), next(iter(MODES)))
        after = snapshot(self.model, values=True)
        return after, frozenset(changed(before, after))

    def logits(self, inputs: Mapping[str, Any]) -> Tensor:
        """The logits that ``model(**inputs)`` returns, or its first tensor."""
        with torch.no_grad():
            output = self.model(**inputs)
        found = getattr(output, "logits", output)
        found = found[0] if isinstance(found, tuple | list) else found
        if not isinstance(found, Tensor):
            raise PropertyViolation(f"model(...) returned {type(output).__name__}, which holds no logits")
        return found

    def ids(self, inputs: Mapping[str, Any], mode: str) -> Tensor:
        """The result of ``model.generate``: the prompt and `NEW` tokens, or those alone."""
        if not callable(getattr(self.model, "generate", None)):
            raise Skipped("the model has no generate()")
        given = dict(inputs)
        ids = given.pop("input_ids", None)
        if self.suppressed:
            given["suppress_tokens"] = self.suppressed
        options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, **MODES[mode]}
        made: Tensor = self.model.generate(*([] if ids is None else [ids]), **given, **options)
        return made

    def read(self, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """``(embeddings, logits)`` of a call: (B, L, D) that the decoder reads, and the logits."""
        if self.reader is None:
            raise Skipped("the model does not say which module is its decoder: it has no get_decoder(); pass decoder=")
        seen: list[Tensor] = []

        def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            embeds = kwargs.get("inputs_embeds", args[0] if args else None)
            if isinstance(embeds, Tensor) and embeds.is_floating_point():
                seen.append(embeds.detach().clone())

        hook = self.reader.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            logits = self.logits(inputs)
        finally:
            hook.remove()
        if len(seen) != 1:
            raise Skipped(f"its decoder was given embeddings {len(seen)} times in one call instead of once")
        return seen[0], logits

    def close(self, one: Tensor, other: Tensor) -> bool:
        """True if two tensors are equal within the tolerance."""
        if one.shape != other.shape:
            return False
        scale = float(other.abs().max()) if other.numel() else 1.0
        return bool(((one - other).abs() <= self.tolerance * max(scale, 1e-6)).all())


def _copied(value: Any, *, other: bool) -> Any:
    if isinstance(value, Tensor):
        return -value if other and value.is_floating_point() else value.clone()
    if type(value) in (list, tuple):
        return type(value)(_copied(each, other=other) for each in value)
    return value


def owned(pruning: Attachment, prompt: int) -> list[int]:
    """The images of a prompt, by the receipt."""
    return [number for number, image in enumerate(pruning.receipt.images) if image.prompt == prompt]


def first_difference(got: Tensor, wanted: Tensor) -> str:
    """The first entry that differs, for messages."""
    if got.shape != wanted.shape:
        return f"shape {tuple(got.shape)} instead of {tuple(wanted.shape)}"
    where = (got != wanted).nonzero()
    if len(where) == 0:
        return "no difference"
    at = tuple(int(i) for i in where[0])
    return f"{got[at].item():.6g} instead of {wanted[at].item():.6g} at {list(at)}, and {len(where) - 1} more places"


def some(lines: Sequence[str]) -> str:
    """The first three lines, for messages."""
    more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more
