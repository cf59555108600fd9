"""`ModelAdapter`: where a model's tokens are intercepted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from scope_core.parts.base import Part, S

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.pruning.session import Session
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.encoding import Asked, Encoding, Memo
    from scope_core.structures.layout import Layout


class ModelAdapter(Part[S]):
    """Where a model's tokens are intercepted, and how the rest of the call is kept consistent.

    Attributes:
        reuses: Whether `encode_once` and `answer` are there.
    """

    reuses: bool = False

    @abstractmethod
    def matches(self, model: Any) -> bool:
        """Whether this adapter serves ``model``. By names and shape; imports nothing."""

    @abstractmethod
    def check(self, model: Any) -> Declaration:
        """What the model offers; every module path resolved before anything is hooked.

        Raises:
            AdapterError: a path is not there; names the deepest prefix that is, and near names.
        """

    @abstractmethod
    def layout(self, model: Any, sizes: Sequence[tuple[int, int]]) -> Layout:
        """Candidate tokens of images of the given (height, width). Pure."""

    @abstractmethod
    def install(self, model: Any, attachment: Session, undo: ExitStack) -> None:
        """Intercept ``model``'s calls; every effect is undone by a callback pushed on ``undo``."""

    def encode_once(
        self, model: Any, inputs: Mapping[str, Any], attachment: Session, memo: Memo | None = None
    ) -> Encoding:
        """Run tower and projector for the images of one call; nothing is selected. Only where `reuses` says so.

        Args:
            model: The model.
            inputs: Keyword arguments of its ``generate``.
            attachment: Whose pruner says which features and signals are taken.
            memo: Where the tower may keep what it made of these pixels, and find it again.
        """
        raise NotImplementedError

    def answer(self, model: Any, asked: Sequence[Asked], attachment: Session, **options: Any) -> list[Tensor]:
        """The new ids of each prompt, as ``generate`` would give them one by one. Only where `reuses` says so.

        Args:
            model: The model.
            asked: Prompts, each about images that were encoded before.
            attachment: Whose pruner made the selections.
            options: Of ``generate``, e.g. ``max_new_tokens``.
        """
        raise NotImplementedError
