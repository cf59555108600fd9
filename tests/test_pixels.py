"""What numbers of arrays and tensors mean, and which are refused by name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scope_core import ZooError
from scope_core.adapters import read_images, upright_rgb


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (torch.full((4, 4), 0.5, dtype=torch.bfloat16), 128),
        (torch.full((1, 5, 5), 0.5, requires_grad=True), 128),
        (torch.full((5, 5, 3), 0.5, dtype=torch.float64), 128),
        (np.full((4, 4), 0.5, np.float16), 128),
        (np.full((4, 4), 199.6), 200),
        (np.full((4, 4), 1.0), 255),
        (np.full((4, 4), 255, np.int64), 255),
        (np.full((4, 4), 512, np.int64), 2),
        (np.full((5, 5, 3), 511, np.uint16), 1),
        (np.full((4, 4), 3, np.int8), 3),
        (torch.ones(4, 4, dtype=torch.bool), 255),
    ],
)
def test_what_numbers_mean(array: Any, wanted: int) -> None:
    assert upright_rgb(array).getpixel((2, 2)) == (wanted,) * 3


def sprinkled(value: float) -> np.ndarray:
    array = np.full((4, 4), 0.5, np.float32)
    array[2, 3] = value
    return array


REFUSED: dict[str, tuple[Any, str]] = {
    "nan": (sprinkled(np.nan), r"not finite \(NaN or infinity\): 1 of 16, the first at row 2, column 3"),
    "infinity": (torch.from_numpy(sprinkled(np.inf)), "not finite"),
    "nan in a pillow image": (Image.fromarray(sprinkled(np.nan)), "not finite"),
    "too large for float32": (sprinkled(1).astype(np.float64) * 1e300, "not finite|floating-point values"),
    "normalised": (sprinkled(-2), "floating-point values from -2 to 0.5; .* undo a normalisation"),
    "overshoot": (sprinkled(1.3), "from 0.5 to 1.3"),
    "too bright": (sprinkled(256), "from 0.5 to 256"),
    "between 8 and 16 bits": (np.full((4, 4), 300), "whole numbers from 300 to 300"),
    "beyond 16 bits": (np.full((4, 4), 65536), "whole numbers"),
    "negative": (np.full((4, 4), -1), "whole numbers"),
    "complex": (np.full((4, 4), 1j), "type complex128"),
    "objects": (np.full((4, 4), None), "type object"),
    "complex tensor": (torch.full((4, 4), 1j), "complex64 tensor"),
    "no values": (torch.empty(4, 4, device="meta"), "meta"),
    "sparse": (torch.eye(4).to_sparse(), "sparse"),
    "a vector": (np.zeros(5), r"shape \(5,\)"),
    "seven channels": (np.zeros((5, 6, 7)), r"shape \(5, 6, 7\)"),
    "a batch": (np.zeros((2, 4, 4, 3)), "batch of 2 images; give the batch in place of the list"),
    "unclear": (torch.zeros(1, 9, 3), "channels may be first or last"),
    "unclear too": (np.zeros((3, 9, 1)), "channels may be first or last"),
    "no rows": (np.zeros((0, 5, 3), np.uint8), "5 x 0 pixels"),
    "no pixels": (Image.new("RGB", (0, 0)), "0 x 0 pixels"),
    "nothing": (None, "is None; an image is a path"),
    "a list": ([Image.new("RGB", (2, 2))], "of type list"),
    "a number": (3, "of type int"),
    "text file": (io.StringIO("x"), "mode 'rb'"),
    "no bytes": (b"", "not an image that Pillow can read"),
    "words": (b"hello", "not an image that Pillow can read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_wrong_is_refused_by_name(name: str) -> None:
    given, wanted = REFUSED[name]
    with pytest.raises(ZooError, match=rf"image 2 of the list .*({wanted})"):
        read_images([Image.new("RGB", (2, 2)), given])
