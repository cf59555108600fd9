"""Attaching a pruner to a model instance, and undoing it completely."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scope_core.errors import AdapterError, AttachError, SignalError, did_you_mean, listed
from scope_core.fitting import check_fit, find_adapter
from scope_core.notes import add_note
from scope_core.registry.observers import observe
from scope_core.structures.receipt import Receipt
from scope_core.structures.signals import parse_signal
from scope_core.untraced import untraced

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.pruner import Pruner
    from scope_core.structures.encoding import Asked, Encoding, Memo
    from scope_core.structures.layout import Layout, Plan
    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens

GivenSignal = Callable[[Mapping[str, Any], "VisualTokens"], "Tensor"]
"""``function(inputs, tokens) -> tensor``: a signal that the caller of `Pruner.attach` supplies. ``inputs`` are the
keyword arguments of the model's call and, as ``prompts``, the batch row of each image; an attribute ``needs`` on it
names signals of ``tokens`` that it reads."""

_attached: weakref.WeakValueDictionary[int, Attachment] = weakref.WeakValueDictionary()
"""By the model's id: who is at work on it, so that a second one is refused instead of pruning twice. An id stays
true as long as its entry does, for an attachment holds its model; the table itself holds nothing alive."""


class Attachment:
    """A pruner at work on one model instance; a context manager.

    Attributes:
        pruner: The pruner.
        model: The model it is attached to.
        adapter: The adapter in charge.
        declaration: What the model offers.
        receipt: What the latest call pruned; falsy until there was one.
        given: Signals that the caller of `Pruner.attach` supplies.
        positions: (B, L') int64: which position of the caller's prompt each position of the latest
            shortened prompt was, -1 where a row was filled up; padding of the caller's own keeps its
            position (`shorten` of the attention mask tells). None until there was a call. Outputs of
            ``forward`` run along it; see `expand`.
    """

    def __init__(
        self,
        pruner: Pruner,
        model: Any,
        *,
        adapter: str | None = None,
        signals: Mapping[str, GivenSignal] | None = None,
    ) -> None:
        self.pruner = pruner
        self.model = model
        self.given = checked_signals(signals)
        self.adapter = find_adapter(model, pruner, adapter)
        current = _attachment_of(model)
        if current is not None:
            raise AttachError(
                f"{current.pruner!r} is attached to this {type(model).__name__} already; "
                f"call its detach() or leave its `with` block first"
            )
        self.declaration = self.adapter.check(model)
        check_fit(pruner, self.declaration, self.given)
        self.receipt = Receipt(pruner.label, self.declaration.model, str(self.adapter.spec.name))
        self.positions: Tensor | None = None
        self.prompt_length = 0
        self._counting = threading.Lock()
        self._active = False
        self._undo = ExitStack()
        try:
            self.adapter.install(model, self, self._undo)
            _attached[id(model)] = self
            self._active = True
            self._undo.callback(self._forget)
            observe(
                pruner.registry,
                "scope_attached",
                model=model,
                adapter=self.adapter.spec.name,
                spec=pruner.spec.model_dump_json(),
            )
        except BaseException:
            self._undo.close()
            raise

    @property
    def active(self) -> bool:
        """Whether the pruner is attached still."""
        return self._active

    @cached_property
    def needs(self) -> frozenset[str]:
        """Signals that the adapter has to give before the language model runs, for all stages together."""
        none: frozenset[str] = frozenset()
        read = none.union(*(stage.needs for stage in self.pruner.stages))
        more: Iterator[frozenset[str]] = (
            getattr(give, "needs", frozenset()) for name, give in self.given.items() if name in read
        )
        return frozenset(name for name in (read - set(self.given)).union(*more) if not name.startswith("decoder."))

    @property
    def at(self) -> str:
        """Where candidates' features are taken before the language model runs."""
        return self.pruner.spec.at if self.pruner.decoder_layer is None else "projected"

    def with_given(self, tokens: VisualTokens, inputs: Mapping[str, Any]) -> VisualTokens:
        """The tokens with the signals that the caller supplies, each computed when first read.

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
                    add_note(error, f"raised by the function that was given for signal '{name}'")
                    raise

            return compute

        made = {name: later(name, give) for name, give in self.given.items()}
        return replace(tokens, signals=tokens.signals.beside(made)) if made else tokens

    def prune(
        self,
        tokens: VisualTokens,
        layout: Layout,
        *,
        stage: int = 0,
        encode_ms: float | None = None,
        separators: Callable[[Selection], Sequence[int]] | None = None,
    ) -> Selection:
        """Called by adapters once per call that has images, and stage; keeps the receipt and tells observers.

        Args:
            tokens: The candidates, one group per image.
            layout: Tiles and prompts of the images; for later stages what ``Layout.after`` makes of it.
            stage: Which stage of the schedule.
            encode_ms: Wall time of tower and projector, for the receipt.
            separators: ``selection -> `` separators that stay of each image, where that depends on what is kept;
                the layout says it otherwise.
        """
        return untraced(self._prune)(tokens, layout, stage, encode_ms, separators)

    def _prune(
        self,
        tokens: VisualTokens,
        layout: Layout,
        stage: int,
        encode_ms: float | None,
        separators: Callable[[Selection], Sequence[int]] | None,
    ) -> Selection:
        pruner = self.pruner.stages[stage]
        start = time.perf_counter()
        selection = pruner.prune(tokens, layout)
        elapsed = (time.perf_counter() - start) * 1e3
        with self._counting:  # calls may come from several threads
            receipt = pruner.receipt(
                selection,
                layout,
                separators=None if separators is None else separators(selection),
                model=self.declaration.model,
                adapter=self.adapter.spec.name,
                encode_ms=encode_ms,
                select_ms=elapsed,
                calls=self.receipt.calls + (stage == 0),
            )
            if stage:
                receipt = replace(self.receipt, later=(*self.receipt.later, receipt))
            self.receipt = receipt
        observe(self.pruner.registry, "scope_selected", receipt=receipt)
        return selection

    def encode(self, inputs: Mapping[str, Any], *, memo: Memo | None = None) -> Encoding:
        """The images of one call after tower and projector, for other pruners to select from, and see `answer`.

        Args:
            inputs: Keyword arguments of the model's ``generate``, as for an ordinary call.
            memo: Where the tower may keep what it made of these pixels.

        Raises:
            AttachError: the adapter cannot keep encoded images, or the pruner was detached.
        """
        self._check_reuse("encode")
        return self.adapter.encode_once(self.model, inputs, self, memo)

    def answer(self, asked: Sequence[Asked], **options: Any) -> list[Tensor]:
        """Answers about images that were encoded before: what ``generate`` would say to each prompt by itself.

        Args:
            asked: Prompts; those about one encoding and selection share its tokens.
            options: Of ``generate``, e.g. ``max_new_tokens``. Beams and sampling are not served.

        Returns:
            The new ids of each prompt, (n,) int64, up to and with an end-of-sequence id.

        Raises:
            AttachError: the adapter cannot go on from encoded images, or the pruner was detached.
        """
        self._check_reuse("answer")
        return self.adapter.answer(self.model, asked, self, **options)

    def _check_reuse(self, method: str) -> None:
        if not self.active:
            raise AttachError("this pruner was detached; call attach() again")
        if not self.adapter.reuses:
            raise AttachError(
                f"adapter '{self.adapter.spec.name}' has no {method}(): it cannot go on from images that were encoded "
                f"before; call the model's own generate() instead"
            )

    def plan(self, sizes: Sequence[tuple[int, int]]) -> Plan:
        """Exact counts for images of the given (height, width) in pixels, before any tensor exists."""
        return self.pruner.plan(self.adapter.layout(self.model, sizes))

    def expand(self, tensor: Tensor, fill: float = 0.0) -> Tensor:
        """A ``forward`` output, e.g. logits, laid out along the caller's full prompt.

        Args:
            tensor: (B, L', ...) of the latest call.
            fill: Value at positions that were dropped.

        Returns:
            (B, L, ...), L being the length of the caller's prompt.

        Raises:
            AttachError: there was no call yet, or the tensor does not run along its prompt.
        """
        positions, length = self.positions, self.prompt_length
        if positions is None or tuple(tensor.shape[:2]) != tuple(positions.shape):
            wanted = (
                "no call with images has come through yet"
                if positions is None
                else f"expected {tuple(positions.shape)} first"
            )
            raise AttachError(f"cannot expand a tensor of shape {tuple(tensor.shape)}: {wanted}")
        full = tensor.new_full((tensor.shape[0], length + 1, *tensor.shape[2:]), fill)
        index = positions.to(tensor.device).masked_fill(positions.to(tensor.device) < 0, length)
        index = index.view(*index.shape, *[1] * (tensor.dim() - 2)).expand_as(tensor)
        return full.scatter(1, index, tensor)[:, :length]

    def shorten(self, tensor: Tensor, fill: float = 0.0) -> Tensor:
        """The other way round: a tensor along the caller's full prompt, e.g. its mask, as the latest call shortened it.

        Args:
            tensor: (B, L, ...), L being the length of the caller's prompt.
            fill: Value at positions that only fill up shorter rows.

        Returns:
            (B, L', ...).

        Raises:
            AttachError: there was no call yet, or the tensor does not run along its prompt.
        """
        positions = self.positions
        if positions is None or tuple(tensor.shape[:2]) != (positions.shape[0], self.prompt_length):
            full = None if positions is None else (positions.shape[0], self.prompt_length)
            wanted = "no call with images has come through yet" if full is None else f"expected {full} first"
            raise AttachError(f"cannot shorten a tensor of shape {tuple(tensor.shape)}: {wanted}")
        index = positions.to(tensor.device)
        index = index.view(*index.shape, *[1] * (tensor.dim() - 2)).expand(*index.shape, *tensor.shape[2:])
        return tensor.gather(1, index.clamp(min=0)).masked_fill(index < 0, fill)

    def detach(self) -> None:
        """Undo everything; the model is as it was found. Safe to call twice."""
        self._undo.close()

    def _forget(self) -> None:
        self._active = False
        _attached.pop(id(self.model), None)

    def __enter__(self) -> Attachment:
        if not self.active:
            raise AttachError("this pruner was detached; call attach() again")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def __repr__(self) -> str:
        state = "attached to" if self.active else "detached from"
        return f"<{self.pruner!r} {state} {self.declaration.model} through adapter '{self.adapter.spec.name}'>"


def _attachment_of(model: Any) -> Attachment | None:
    return _attached.get(id(model))


def checked_signals(signals: Any) -> Mapping[str, GivenSignal]:
    """The signals that a caller of `Pruner.attach` supplies.

    Raises:
        SignalError: something is no table of functions by the signals' names.
    """
    if signals is None:
        return {}
    if not isinstance(signals, Mapping) or not all(callable(give) for give in signals.values()):
        raise SignalError(
            f"signals must be a table of functions, {{'clip.text_similarity': function}}, each called as "
            f"function(inputs, tokens) and returning a tensor; got {signals!r}"
        )
    for name in signals:
        parse_signal(name)
    return dict(signals)


def resolve(root: Any, path: str, *, what: str) -> Any:
    """The object at the dotted ``path`` below ``root``.

    Raises:
        AdapterError: names the deepest prefix that exists and the names near the missing one.
    """
    here, done = root, type(root).__name__
    for step in path.split("."):
        if not hasattr(here, step):
            names = [n for n in getattr(here, "_modules", {}) or vars(here) if not n.startswith("_")]
            raise AdapterError(
                f"{what}: there is no '{path}' in {type(root).__name__}; {done} exists ({type(here).__name__}) but "
                f"has no '{step}'{did_you_mean(step, names)}. It has: {listed(names)}. The model class may "
                f"have moved it in this "
                f"release; see `scope doctor`"
            )
        here, done = getattr(here, step), f"{done}.{step}"
    return here


def replace_attribute(owner: Any, name: str, value: Callable[..., Any], undo: ExitStack) -> None:
    """Set an instance attribute, and push what restores exactly what was there (or nothing)."""
    had, old = name in vars(owner), vars(owner).get(name)
    setattr(owner, name, value)

    def restore() -> None:
        if vars(owner).get(name) is not value:
            return  # somebody wrapped it after us; our wrapper passes calls through once detached
        if had:
            setattr(owner, name, old)
        else:
            delattr(owner, name)

    undo.callback(restore)
