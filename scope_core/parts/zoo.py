"""The zoo: vision towers and models that can be loaded by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from scope_core.display import card, facts_html
from scope_core.errors import UnknownNameError
from scope_core.registry.discovery import default_registry
from scope_core.registry.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.structures.declaration import Declaration
    from scope_core.structures.tokens import VisualTokens


class Tower(Protocol):
    """A vision tower, which turns images into tokens; zoo entries of kind ``tower`` load one."""

    @property
    def declaration(self) -> Declaration:
        """The tower's interception points and signals."""
        ...

    def view(self, image: Image) -> Image:
        """The image as the tower sees it, resized and cropped; overlays are drawn on it."""
        ...

    def encode(self, images: Sequence[Image], *, at: str, needs: frozenset[str]) -> VisualTokens:
        """Tokens of the images, one group each, with the signals in ``needs``."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A model with functions that prepare its inputs and decode its outputs; zoo entries of kind ``model`` load one.

    Attributes:
        model: The model, in eval mode.
        inputs: ``(images, question) -> `` keyword arguments of ``model.generate`` for one prompt. Images are anything
            that `scope_core.adapters.read_images` reads.
        decode: ``ids -> text`` for generated ids.
        name: Name in tables and receipts.
        notes: What a user has to know, e.g. that the weights are random; empty if nothing.
        view: ``image -> `` the image as the model's tower sees it, resized and cropped; a list if the model cuts images
            into tiles. Overlays are drawn on it. None if unknown.
        video_inputs: ``(videos, question) -> `` the same as ``inputs`` for videos, each with ``frames`` (images),
            ``times`` (seconds) and ``fps``. None for models that take no videos.
        video_view: ``frames -> `` the frames as the model sees them, one for each frame of tokens. None if unknown.
        longest: Tokens of the longest prompt that the model can read, visual ones included; None if unknown.
    """

    model: Any
    inputs: Callable[[Sequence[Any], str], dict[str, Any]]
    decode: Callable[[Any], str]
    name: str
    notes: str = ""
    view: Callable[[Image], Image | list[Image]] | None = None
    video_inputs: Callable[[Sequence[Any], str], dict[str, Any]] | None = None
    video_view: Callable[[Sequence[Image]], list[Image]] | None = None
    longest: int | None = None

    def __repr__(self) -> str:
        return f"LoadedModel({self.name!r}, {type(self.model).__name__})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        weights = list(self.model.parameters()) if callable(getattr(self.model, "parameters", None)) else []
        kinds = sorted({f"{str(one.dtype).removeprefix('torch.')} on {one.device}" for one in weights})
        size = f"{sum(one.numel() for one in weights) / 1e6:,.1f} million" if weights else ""
        facts = [("parameters", size), ("weights", ", ".join(kinds)), ("notes", self.notes)]
        return card(self.name, facts_html(facts), aside=type(self.model).__name__)


def load(name: str | None = None, *, registry: Registry | None = None, **options: Any) -> Any:
    """Load a model or a tower of the zoo.

    Args:
        name: A name from ``scope models``, e.g. ``"dinov2-small"``; the zoo's default model if left out.
        registry: The registry that names are looked up in; the process' default registry if left out.
        options: Passed to the loader, e.g. ``dtype`` or ``device_map`` for checkpoints on a hub.

    Returns:
        A `Tower` for towers, a `LoadedModel` for models.

    Raises:
        UnknownNameError: the zoo has no entry of this name.
        ZooError: the weights cannot be loaded; says what to run.
        MissingDependencyError: an optional package is not installed.
    """
    known = registry or default_registry()
    if name is None:
        models = [record.item for record in known.records("zoo") if record.item.kind == "model"]
        if not models:
            raise UnknownNameError("no model is installed; name a tower, or see `scope doctor`")
        return next((entry for entry in models if entry.default), models[0]).load(**options)
    return known.get("zoo", name).item.load(**options)
