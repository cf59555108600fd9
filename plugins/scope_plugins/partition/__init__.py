"""Built-in partitions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.partition.chunks import Chunks, ChunksSpec
from scope_plugins.partition.image import ByImage, ByImageSpec
from scope_plugins.partition.prompt import ByPrompt, ByPromptSpec
from scope_plugins.partition.tile import ByTile, ByTileSpec


@hookimpl
def scope_partitions() -> Iterable[Entry]:
    """By image, by tile, or a prompt's images together."""
    yield Entry(ByImageSpec, ByImage, "each image by itself, its tiles together", default=True)
    yield Entry(ByTileSpec, ByTile, "each tile of each image by itself")
    yield Entry(ByPromptSpec, ByPrompt, "all images of a prompt together")
    yield Entry(ChunksSpec, Chunks, "each image cut into runs of tokens", paper="HoloV, arXiv 2510.02912")
