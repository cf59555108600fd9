"""Built-in partitions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_partitions() -> Iterable[Entry]:
    """By image, by tile, or a prompt's images together."""
    yield Entry(
        "scope_plugins.partition.image:ByImage", "image", "each image by itself, its tiles together", default=True
    )
    yield Entry("scope_plugins.partition.tile:ByTile", "tile", "each tile of each image by itself")
    yield Entry("scope_plugins.partition.prompt:ByPrompt", "prompt", "all images of a prompt together")
    yield Entry(
        "scope_plugins.partition.chunks:Chunks",
        "chunks",
        "each image cut into runs of tokens",
        paper="HoloV, arXiv 2510.02912",
    )
