"""Built-in partitions."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_partitions() -> Iterable[Entry]:
    """By image, tile, frame or video, a prompt's images together, and pieces of an image."""
    yield Entry("scope_plugins.partition.image:ByImage", "image", "one group per image, tiles together", default=True)
    yield Entry("scope_plugins.partition.tile:ByTile", "tile", "one group per tile of each image")
    yield Entry("scope_plugins.partition.frame:ByFrame", "frame", "one group per frame of each video; images alone")
    yield Entry(
        "scope_plugins.partition.video:ByVideo", "video", "one group per video; a prompt's images are frames of one"
    )
    yield Entry("scope_plugins.partition.prompt:ByPrompt", "prompt", "one group per prompt, all its images together")
    yield Entry(
        "scope_plugins.partition.chunks:Chunks",
        "chunks",
        "each image divided into runs of consecutive tokens",
        paper="HoloV, arXiv 2510.02912",
    )
    yield Entry(
        "scope_plugins.partition.windows:Windows",
        "windows",
        "each tile divided into windows of its grid, inside a selector",
        paper="VScan, arXiv 2505.22654",
    )
    yield Entry(
        "scope_plugins.partition.components:Components",
        "components",
        "tokens connected by similarity, inside a selector",
        paper="LLaVA-Scissor, arXiv 2506.21862",
    )
    yield Entry(
        "scope_plugins.partition.principal:Principal",
        "principal",
        "tokens of the same principal component, inside a selector",
        paper="PruneSID, arXiv 2603.09480",
    )
    yield Entry(
        "scope_plugins.partition.segment:Segment",
        "segment",
        "runs of frames, cut where the scene of a video changes, inside a selector",
        paper="FastVID, arXiv 2503.11187; FlashVID, ICLR 2026",
    )
    yield Entry(
        "scope_plugins.partition.still_segments:StillSegments",
        "still_segments",
        "runs of frames in which most tokens stand still, inside a selector",
        paper="HoliTom, arXiv 2505.21334",
    )
    yield Entry(
        "scope_plugins.partition.frame_clusters:FrameClusters",
        "frame_clusters",
        "runs of frames of one cluster, inside a selector",
        paper="PruneVid, arXiv 2412.16117",
    )
