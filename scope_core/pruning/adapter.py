"""`ModelAdapter`: intercepts the image tokens of one family of models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from scope_core.errors import AdapterError
from scope_core.parts.base import Part, S
from scope_core.pruning.schedule import Schedule
from scope_core.pruning.session import Session
from scope_core.structures.declaration import Declaration
from scope_core.structures.encoding import Asked, Encoding, Memo
from scope_core.structures.layout import Layout


class ModelAdapter(Part[S]):
    """Intercepts the image tokens of one family of models, and keeps the rest of the call consistent.

    Attributes:
        reuses: True if `encode_once` and `answer` are implemented.
        fallback: True if the adapter serves a model only where no other adapter matches.
    """

    reuses: bool = False
    fallback: bool = False

    @abstractmethod
    def matches(self, model: Any) -> bool:
        """True if this adapter serves ``model``; decided by names and attributes, without imports."""

    def unwrapped(self, model: Any) -> Any:
        """The object whose calls `install` changes: ``model``, or the model inside wrappers around it."""
        return model

    @abstractmethod
    def check(self, model: Any) -> Declaration:
        """The points and signals that the model offers. Resolves every module path and hooks nothing.

        Raises:
            AdapterError: a path does not exist; names the deepest prefix that does, and similar names.
        """

    def check_pruner(self, model: Any, pruner: Schedule, given: Collection[str] = ()) -> None:
        """Refuse a pruner that `install` could not serve, although the model has its points and signals. Optional.

        Called before anything is hooked, by `Pruner.check` and `Pruner.attach` alike.

        Args:
            model: The model; without weights when recipes are listed for a folder.
            pruner: The pruner.
            given: Names of the signals that the caller supplies.

        Raises:
            AdapterError: what does not go together, or `SignalError`, or `AttachError`; says what would.
        """

    def without_weights(self, folder: Path) -> Any:
        """A model without weights, as ``folder`` describes it, for `check`; None if it is no model of this family."""
        return None

    @abstractmethod
    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """The layout of images of the given (height, width) in pixels. Pure."""

    def video_layout(self, model: Any, sizes: Sequence[tuple[int, int, int]]) -> Layout:
        """The layout of videos of the given (frames, height, width). Pure; optional.

        Raises:
            AdapterError: the adapter does not say.
        """
        raise AdapterError(
            f"adapter '{self.spec.name}' does not say how many tokens a video of a size has; give the tokens of its "
            f"frames: plan(Layout.of([[196] * 8], videos=[0]))"
        )

    @abstractmethod
    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Intercept ``model``'s calls. Every change is undone by a callback pushed on ``undo``."""

    def encode_once(
        self, model: Any, inputs: Mapping[str, Any], attachment: Session, memo: Memo | None = None
    ) -> Encoding:
        """The images and videos of one call after tower and projector; nothing is selected. Optional: see `reuses`.

        Args:
            model: The model.
            inputs: Keyword arguments of its ``generate``.
            attachment: Its pruner determines which features and signals are taken.
            memo: A cache for the tower's outputs for these pixels.
        """
        raise NotImplementedError

    def answer(self, model: Any, asked: Sequence[Asked], attachment: Session, **options: Any) -> list[Tensor]:
        """The new ids of each prompt, as ``generate`` would return them one by one. Optional: see `reuses`.

        Args:
            model: The model.
            asked: Prompts, each about images that were encoded before.
            attachment: Its pruner made the selections.
            options: Options of ``generate``, e.g. ``max_new_tokens``.
        """
        raise NotImplementedError
