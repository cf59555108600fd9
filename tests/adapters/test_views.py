"""What models read of an image, from their processors: whole images, tiles, and images that are resized alone."""

from __future__ import annotations

from typing import Any

import pytest
import transformers as hf
from PIL import Image

from scope_adapters.zoo.seen import seen

IMAGE = Image.linear_gradient("L").resize((200, 100)).convert("RGB")  # black above, white below
SMALL = {"height": 28, "width": 28}


@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("CLIPImageProcessor", {"size": {"shortest_edge": 28}, "crop_size": SMALL}, [(28, 28)]),
        (
            "LlavaNextImageProcessor",
            {"size": {"shortest_edge": 28}, "crop_size": SMALL, "image_grid_pinpoints": [[28, 56], [56, 28]]},
            [(28, 28)] * 3,
        ),
        ("LlavaOnevisionImageProcessor", {"size": SMALL, "image_grid_pinpoints": [[28, 56], [56, 56]]}, [(28, 28)] * 3),
        (
            "Idefics3ImageProcessor",
            {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}},
            [(28, 28)] * 3,
        ),
        ("Qwen2VLImageProcessor", {}, [(196, 112)]),
    ],
)
def test_views(name: str, options: dict[str, Any], sizes: list[tuple[int, int]]) -> None:
    processor = getattr(hf, name)(**options)
    found = seen(processor, IMAGE)
    tiles = found if isinstance(found, list) else [found]
    assert [tile.size for tile in tiles] == sizes
    for tile in tiles:  # the normalisation is undone
        dark, bright = (
            tile.getpixel((tile.width // 2, tile.height // 4)),
            tile.getpixel((tile.width // 2, tile.height - 1)),
        )
        assert bright[0] > dark[0] + 40 or len(tiles) > 1
