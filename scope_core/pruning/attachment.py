"""`Attachment`: a pruner attached to a model instance, until it is detached."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from torch import Tensor

from scope_core.display import card
from scope_core.errors import AttachError
from scope_core.pruning.compatibility import find_adapter
from scope_core.pruning.recipe_fit import check_model
from scope_core.pruning.schedule import Schedule
from scope_core.pruning.session import GivenSignal, Session, checked_signals
from scope_core.registry.observers import observe
from scope_core.structures.encoding import Asked, Encoding, Memo
from scope_core.structures.layout import Plan

_attached: weakref.WeakValueDictionary[int, Attachment] = weakref.WeakValueDictionary()
"""The attachment of each model by the id of the unwrapped model, so that a second one is refused instead of pruning
twice. Safe: an Attachment keeps its model alive, so an id cannot be reused while its entry exists; the table keeps
nothing alive."""


class Attachment(Session):
    """A pruner attached to one model instance; a context manager that detaches it at the end.

    Attributes:
        pruner: The pruner.
        model: The model it is attached to.
        adapter: The adapter that intercepts the model's calls.
        declaration: The points and signals that the model offers.
        receipt: Report of the latest call; falsy before the first one.
        given: Signals that the caller of `Pruner.attach` supplies.
        positions: (B, L') int64: for each position of the latest shortened prompt, its position in the caller's
            prompt; -1 where a shorter row was filled up. The caller's own padding keeps its position (`shorten` the
            attention mask to tell it apart). None before the first call. Outputs of ``forward`` have these positions;
            see `expand`.
    """

    def __init__(
        self,
        pruner: Schedule,
        model: Any,
        *,
        adapter: str | None = None,
        signals: Mapping[str, GivenSignal] | None = None,
        replace: bool = False,
    ) -> None:
        given = checked_signals(signals)
        self.model = model
        self.adapter = find_adapter(model, pruner, adapter)
        key = id(self.adapter.unwrapped(model))
        current = _attached.get(key)
        if current is not None and not replace:
            through = "" if current.model is model else f", through {type(current.model).__name__}"
            raise AttachError(
                f"{current.pruner!r} is already attached to this {type(model).__name__}{through}; leave its `with` "
                f"block or call scope.detach(model) first (scope.attached(model) returns the attachment), or take its "
                f"place with attach(model, replace=True)"
            )
        declaration = check_model(model, pruner, self.adapter, given)
        if current is not None:
            current.detach()  # only now, so that a pruner that does not fit changes nothing
        super().__init__(pruner, declaration, str(self.adapter.spec.name), given)
        self._undo = ExitStack()
        try:
            self.adapter.install(model, self, self._undo)
            _attached[key] = self
            self.active = True
            self._undo.callback(self._forget, key)
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

    def encode(self, inputs: Mapping[str, Any], *, memo: Memo | None = None) -> Encoding:
        """Images and videos of one call after tower and projector, from which several pruners can select; see `answer`.

        Args:
            inputs: Keyword arguments of the model's ``generate``, as for an ordinary call.
            memo: A cache for the tower's outputs for these pixels.

        Raises:
            AttachError: the adapter cannot reuse encoded images, or the pruner was detached.
        """
        self._check_reuse("encode")
        return self.adapter.encode_once(self.model, inputs, self, memo)

    def answer(self, asked: Sequence[Asked], **options: Any) -> list[Tensor]:
        """Answers to prompts about images and videos encoded before, as ``generate`` would give them one by one.

        Args:
            asked: Prompts; those with the same encoding and selection share its tokens.
            options: Options of ``generate``, e.g. ``max_new_tokens``. Beam search and sampling are not supported.

        Returns:
            The new ids of each prompt, (n,) int64, up to and including an end-of-sequence id.

        Raises:
            AttachError: the adapter cannot reuse encoded images, or the pruner was detached.
        """
        self._check_reuse("answer")
        return self.adapter.answer(self.model, asked, self, **options)

    def _check_reuse(self, method: str) -> None:
        if not self.active:
            raise AttachError("this pruner was detached; call attach() again")
        if not self.adapter.reuses:
            raise AttachError(
                f"adapter '{self.adapter.spec.name}' does not support {method}(): it cannot reuse encoded images; "
                f"call the model's own generate() instead"
            )

    def plan(self, sizes: Sequence[tuple[int, int]]) -> Plan:
        """Exact counts for images of the given (height, width) in pixels, before any tensor exists."""
        return self.pruner.plan(self.adapter.layout(self.model, sizes))

    def expand(self, tensor: Tensor, fill: float = 0.0, *, axis: int = 1) -> Tensor:
        """A ``forward`` output, e.g. logits, at the positions of the caller's full prompt; the inverse of `shorten`.

        Args:
            tensor: (B, L', ...) of the latest call; or (R, L', ...) with R a multiple of B, for beams.
            fill: Value at positions that were dropped.
            axis: The axis of length L'. Attention maps (B, H, L', L') have two; expand one after the other.

        Returns:
            (B, L, ...), where L is the length of the caller's prompt.

        Raises:
            AttachError: there was no call yet, or the tensor does not have (B, L') as its first axis and ``axis``.
        """
        positions, length, shape = self.positions, self.prompt_length, tuple(tensor.shape)
        if positions is None:
            raise AttachError(f"cannot expand a tensor of shape {shape}: there was no call with images yet")
        rows, short = positions.shape
        if not 0 < axis < len(shape) or shape[axis] != short or shape[0] == 0 or shape[0] % rows:
            where = "first two axes" if axis == 1 else f"axes 0 and {axis}"
            raise AttachError(
                f"cannot expand a tensor of shape {shape}: its {where} must be {(rows, short)}, or for beams a "
                f"multiple of {rows}, and {short}"
            )
        moved = tensor.movedim(axis, 1)
        full = moved.new_full((shape[0], length + 1, *moved.shape[2:]), fill)
        index = positions.to(tensor.device).repeat_interleave(shape[0] // rows, 0)
        index = index.masked_fill(index < 0, length)
        index = index.view(*index.shape, *[1] * (tensor.dim() - 2)).expand_as(moved)
        return full.scatter(1, index, moved)[:, :length].movedim(1, axis)

    def shorten(self, tensor: Tensor, fill: float = 0.0) -> Tensor:
        """A tensor of the caller's full prompt, e.g. its attention mask, shortened as in the latest call.

        Args:
            tensor: (B, L, ...), where L is the length of the caller's prompt.
            fill: Value at positions that only fill up shorter rows.

        Returns:
            (B, L', ...).

        Raises:
            AttachError: there was no call yet, or the tensor does not start with (B, L).
        """
        positions = self.positions
        if positions is None or tuple(tensor.shape[:2]) != (positions.shape[0], self.prompt_length):
            full = None if positions is None else (positions.shape[0], self.prompt_length)
            wanted = "there was no call with images yet" if full is None else f"its first two axes must be {full}"
            raise AttachError(f"cannot shorten a tensor of shape {tuple(tensor.shape)}: {wanted}")
        index = positions.to(tensor.device)
        index = index.view(*index.shape, *[1] * (tensor.dim() - 2)).expand(*index.shape, *tensor.shape[2:])
        return tensor.gather(1, index.clamp(min=0)).masked_fill(index < 0, fill)

    def detach(self) -> None:
        """Undo all changes to the model. Safe to call twice."""
        self._undo.close()

    def _forget(self, key: int) -> None:
        self.active = False
        _attached.pop(key, None)

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

    def _repr_html_(self) -> str:
        """What a notebook shows: whether it is attached, and the latest receipt."""
        return card(repr(self), self.receipt._repr_html_())


def attached(model: Any) -> Attachment | None:
    """The attachment of a model, for code that did not keep what `Pruner.attach` returned; None if it has none.

    Args:
        model: A model, wrapped (``torch.compile``, PEFT) or not; or a module that contains one.

    Raises:
        AttachError: the module contains several models with an attachment; lists them.
    """
    everyone = list(_attached.values())
    for attachment in everyone:
        if _attached.get(id(attachment.adapter.unwrapped(model))) is attachment:
            return attachment
    parts = {id(part) for part in model.modules()} if callable(getattr(model, "modules", None)) else set()
    found = [one for one in everyone if id(one.adapter.unwrapped(one.model)) in parts]
    if len(found) > 1:
        raise AttachError(
            f"this {type(model).__name__} contains {len(found)} models with a pruner: "
            f"{'; '.join(map(repr, found))}; pass one of these models"
        )
    return found[0] if found else None


def detach(model: Any) -> None:
    """Undo what `Pruner.attach` did to a model; nothing happens if no pruner is attached.

    Args:
        model: As for `attached`.

    Raises:
        AttachError: as for `attached`.
    """
    attachment = attached(model)
    if attachment is not None:
        attachment.detach()
