"""What the zoo gives: vision towers and models, ready to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from scope_core.errors import UnknownNameError
from scope_core.registry.discovery import default_registry
from scope_core.registry.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.structures.declaration import Declaration
    from scope_core.structures.tokens import VisualTokens


class Tower(Protocol):
    """A vision tower that turns images into tokens; what zoo entries of kind ``tower`` load."""

    @property
    def declaration(self) -> Declaration:
        """What the tower offers."""
        ...

    def view(self, image: Image) -> Image:
        """The picture as the tower sees it: resized and cropped, for overlays."""
        ...

    def encode(self, images: Sequence[Image], *, at: str, needs: frozenset[str]) -> VisualTokens:
        """Tokens of the images, one group each, with the signals in ``needs``."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A model with what it takes to talk to it; what zoo entries of kind ``model`` load.

    Attributes:
        model: The model, in eval mode.
        inputs: ``(images, question) -> `` keyword arguments of ``model.generate`` for one prompt.
        decode: ``ids -> text`` for generated ids.
        name: For tables and receipts.
        notes: What a user has to know, e.g. that the weights are random; empty otherwise.
        view: The picture as the model's tower sees it, resized and cropped, for overlays; None if nobody can say.
    """

    model: Any
    inputs: Callable[[Sequence[Image], str], dict[str, Any]]
    decode: Callable[[Any], str]
    name: str
    notes: str = ""
    view: Callable[[Image], Image] | None = None


def load(name: str | None = None, *, registry: Registry | None = None, **options: Any) -> Any:
    """A model or a tower of the zoo, ready to use.

    Args:
        name: As ``scope models`` lists it, e.g. ``"dinov2-small"``; the zoo's default model if left out.
        registry: Where names are looked up.
        options: Passed to the loader, e.g. ``dtype`` or ``device_map`` for checkpoints on a hub.

    Returns:
        A `Tower` for towers, a `LoadedModel` for models.

    Raises:
        UnknownNameError: nothing in the zoo has this name.
        ZooError: its weights cannot be had; says what to run.
        MissingDependencyError: an optional package is not installed.
    """
    known = registry or default_registry()
    if name is None:
        models = [record.item for record in known.records("zoo") if record.item.kind == "model"]
        if not models:
            raise UnknownNameError("no model is installed; name a tower, or see `scope doctor`")
        return next((entry for entry in models if entry.default), models[0]).load(**options)
    return known.get("zoo", name).item.load(**options)
