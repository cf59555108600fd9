"""`Session`: what an adapter may ask while a pruner is attached to its model."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scope_core.engine.attention_bias import sizes_of
from scope_core.errors import SignalError, quoted
from scope_core.notes import add_note
from scope_core.pruning.schedule import Schedule
from scope_core.registry.observers import observe
from scope_core.structures.declaration import AttentionBias, Declaration
from scope_core.structures.layout import Layout
from scope_core.structures.receipt import Receipt
from scope_core.structures.selection import Selection
from scope_core.structures.signals import parse_signal
from scope_core.structures.tokens import VisualTokens
from scope_core.untraced import untraced

GivenSignal = Callable[[Mapping[str, Any], "VisualTokens"], "Tensor"]
"""``function(inputs, tokens) -> tensor``: a signal that the caller of `Pruner.attach` supplies. ``inputs`` holds the
keyword arguments of the model's call and, as ``prompts``, the batch row of each image. If the function reads signals of
``tokens``, its attribute ``needs`` names them."""


class Session:
    """A pruner attached to one model, as the model's adapter sees it.

    Attributes:
        pruner: The pruner: its stages, parts and plans.
        declaration: The points and signals that the model offers.
        receipt: Report of the latest call; falsy before the first one.
        given: Signals that the caller of `Pruner.attach` supplies.
        active: True until the pruner is detached.
        positions: (B, L') int64: for each position of the latest shortened prompt, its position in the caller's
            prompt; -1 where a shorter row was filled up. The caller's own padding keeps its position. None before the
            first call. Set by the adapter.
        prompt_length: Length L of the caller's prompt in the latest call. Set by the adapter.
    """

    def __init__(
        self, pruner: Schedule, declaration: Declaration, adapter: str, given: Mapping[str, GivenSignal]
    ) -> None:
        self.pruner, self.declaration, self.given = pruner, declaration, given
        self.receipt = Receipt(pruner.label, declaration.model, adapter)
        self.positions: Tensor | None = None
        self.prompt_length = 0
        self.active = False
        self._adapter_name = adapter
        self._counting = threading.Lock()
        self._told: set[str] = set()

    @cached_property
    def needs(self) -> frozenset[str]:
        """Signals that the adapter has to give before the language model runs, for all stages together."""
        none: frozenset[str] = frozenset()
        read = none.union(self.pruner.needs, *(stage.needs for stage in self.pruner.stages[1:]))
        more: Iterator[frozenset[str]] = (
            getattr(give, "needs", frozenset()) for name, give in self.given.items() if name in read
        )
        return frozenset(name for name in (read - set(self.given)).union(*more) if not name.startswith("decoder."))

    @property
    def at(self) -> str:
        """The interception point at which features are taken before the language model runs."""
        return self.pruner.spec.at if self.pruner.decoder_layer is None else "projected"

    def with_given(self, tokens: VisualTokens, inputs: Mapping[str, Any]) -> VisualTokens:
        """The tokens with the signals that the caller supplies added; each is computed when first read.

        Args:
            tokens: From the adapter, with its own signals.
            inputs: Keyword arguments of the model's call, images included, and ``prompts``: the prompt (batch row) of
                each image.
        """

        def later(name: str, give: GivenSignal) -> Callable[[], Tensor]:
            def compute() -> Tensor:
                try:
                    return give(inputs, tokens)
                except Exception as error:
                    add_note(error, f"raised by the function given for signal '{name}'")
                    raise

            return compute

        signals = {name: later(name, give) for name, give in self.given.items()}
        return replace(tokens, signals=tokens.signals.beside(signals)) if signals else tokens

    def left_unpruned(self, why: str) -> None:
        """Note that images of a call were not pruned: the receipt is falsy and tells why, and a warning does so once.

        Args:
            why: The reason, and what to do instead.
        """
        with self._counting:
            self.receipt = Receipt(
                self.receipt.spec, self.receipt.model, self.receipt.adapter, calls=self.receipt.calls, unpruned=why
            )
            told = why in self._told
            self._told.add(why)
        if not told:
            warnings.warn(f"{self.pruner.label} is attached, but this call runs unpruned: {why}", stacklevel=2)

    @untraced
    def prune(
        self,
        tokens: VisualTokens,
        layout: Layout,
        *,
        stage: int = 0,
        encode_ms: float | None = None,
        separators: Callable[[Selection], Sequence[int]] | None = None,
    ) -> Selection:
        """Select, store the receipt and call observers. Adapters call it once per stage in each call with images.

        Args:
            tokens: The candidates, one group per image.
            layout: Tiles and prompts of the images; for later stages the result of ``Layout.after``.
            stage: Number of the stage, from 0.
            encode_ms: Wall time of tower and projector, for the receipt.
            separators: ``selection -> `` the number of separators that remain of each image, if it depends on the
                selection; the layout's number if left out.
        """
        pruner = self.pruner.stages[stage] if stage else self.pruner
        start = time.perf_counter()
        selection = pruner.prune(tokens, layout)
        elapsed = (time.perf_counter() - start) * 1e3
        with self._counting:  # calls may come from several threads
            receipt = pruner.receipt(
                selection,
                layout,
                separators=None if separators is None else separators(selection),
                model=self.declaration.model,
                adapter=self._adapter_name,
                encode_ms=encode_ms,
                select_ms=elapsed,
                calls=self.receipt.calls + (stage == 0),
                notes=self.declaration.notes(pruner.spec.at, pruner.needs, pruner.parts["merger"].mixes)
                + _bias_note(pruner.spec.attention_bias, selection),
            )
            if stage:
                receipt = replace(self.receipt, later=(*self.receipt.later, receipt))
            self.receipt = receipt
        observe(self.pruner.registry, "scope_selected", receipt=receipt)
        return selection


def _bias_note(by: AttentionBias, selection: Selection) -> tuple[str, ...]:
    """A sentence on the attention bias of a selection, if there is one."""
    if by == "none":
        return ()
    rows = [row[:count] for row, count in zip(sizes_of(selection, by), selection.row_counts, strict=True) if count]
    if not rows:
        return ()
    least, most = (float(pick(torch.cat(rows))) for pick in (torch.amin, torch.amax))
    more = ", and for the distance of its tokens" if by == "restore" else ""
    return (f"attention towards a row is raised for the {least:.3g} to {most:.3g} tokens that it stands for{more}",)


def checked_signals(signals: Any) -> Mapping[str, GivenSignal]:
    """The signals that the caller of `Pruner.attach` supplies, checked.

    Raises:
        SignalError: ``signals`` is not a mapping from signal names to functions.
    """
    if signals is None:
        return {}
    if not isinstance(signals, Mapping) or not all(callable(give) for give in signals.values()):
        raise SignalError(
            f"signals must map names to functions, e.g. {{'clip.text_similarity': function}}, each of which takes "
            f"(inputs, tokens) and returns a tensor; got {quoted(signals)}"
        )
    for name in signals:
        parse_signal(name)
    return dict(signals)
