"""Built-in partitions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_partitions() -> Iterable[Entry]:
    """By image, by tile, or a prompt's images together."""
    yield Entry("scope_plugins.partition.image:ByImage", "image", "one group per image, tiles together", default=True)
    yield Entry("scope_plugins.partition.tile:ByTile", "tile", "one group per tile of each image")
    yield Entry("scope_plugins.partition.prompt:ByPrompt", "prompt", "one group per prompt, all its images together")
    yield Entry(
        "scope_plugins.partition.chunks:Chunks",
        "chunks",
        "each image divided into runs of consecutive tokens",
        paper="HoloV, arXiv 2510.02912",
    )
