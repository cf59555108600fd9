"""Numbers of arrays, tensors and grey images of 16 and 32 bits as 8-bit pixels.

What the numbers mean is never taken from the image's contrast:

==========================  ============================================================================================
bool                        black and white
8-bit                       0..255
unsigned 16-bit             0..65535; the upper eight bits are kept
other whole numbers         0..255, or 0..65535 if one is above 511
floating point              0..1, or 0..255 if one is above 2
==========================  ============================================================================================

Other values, numbers that are not finite, and images whose largest value is between two of these ranges are refused.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from scope_core.errors import ZooError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def is_array(value: Any) -> bool:
    """True for NumPy arrays, torch tensors, and others that give themselves as a NumPy array."""
    return hasattr(value, "__array__") and hasattr(value, "shape") and not hasattr(value, "getbands")


def image_of(array: Any, name: str, most: int) -> Image:
    """An array or tensor of one image as a Pillow image.

    Rows come first, then columns, and channels last in arrays and first in tensors. The other order of channels is
    taken where only that is possible.

    Args:
        array: The array.
        name: Name for messages.
        most: Largest number of pixels.

    Raises:
        ZooError: shape, type or values are not those of an image; names it.
    """
    import PIL.Image
    import torch

    shape = tuple(array.shape)
    last = _channels_last(shape, isinstance(array, torch.Tensor), name)
    height, width = shape[:2] if last else shape[1:]
    if not height * width:
        raise ZooError(f"{name} has {width} x {height} pixels; an image has at least one")
    if height * width > most:
        raise ZooError(f"{name} has more than {most:,} pixels; make it smaller first")
    values, sixteen = _numbers(array, name)
    pixels = eight_bits(values if last else values.permute(1, 2, 0), sixteen, name)
    mode = MODES[shape[2 if last else 0] if len(shape) == 3 else 1]
    return PIL.Image.frombytes(mode, (width, height), _bytes(pixels))


def grey_of(image: Image, name: str) -> Image:
    """A Pillow image of a mode ``I``, ``I;16`` or ``F`` as one of mode ``L``; its transparent value becomes white.

    Raises:
        ZooError: its values are not those of an image.
    """
    import PIL.Image
    import torch

    shape, clear = (image.height, image.width), image.info.get("transparency")
    raw = bytearray(image.tobytes())
    if image.mode.startswith("I;16"):  # bytes alone, since large scans are 16 bits deep
        both = torch.frombuffer(raw, dtype=torch.uint8).view(*shape, 2)
        high, low = both.unbind(2)[:: 1 if image.mode == "I;16B" else -1]
        pixels = high.clone()
        if isinstance(clear, int):
            pixels[(high == clear >> 8) & (low == clear & 255)] = 255
        return PIL.Image.frombytes("L", image.size, _bytes(pixels))
    values = torch.frombuffer(raw, dtype=torch.float32 if image.mode == "F" else torch.int32).view(shape)
    # Pillow up to 11 opens 16-bit PNG files with mode I
    pixels = eight_bits(values, image.mode == "I" and image.format == "PNG", name)
    if isinstance(clear, int):
        pixels[values == clear] = 255
    return PIL.Image.frombytes("L", image.size, _bytes(pixels))


def eight_bits(values: Tensor, sixteen: bool, name: str) -> Tensor:
    """``values`` as numbers from 0 to 255, by the table above.

    Args:
        values: (rows, columns) or (rows, columns, channels).
        sixteen: True if they are 16-bit numbers.
        name: Name for messages.

    Raises:
        ZooError: a value is not finite, or outside the range.
    """
    import torch

    if values.dtype in (torch.bool, torch.uint8):
        return values.to(torch.uint8) * (255 if values.dtype == torch.bool else 1)
    if values.is_floating_point():
        bad = ~values.isfinite()
        if bad.any():
            row, column = bad.nonzero()[0, :2].tolist()
            raise ZooError(
                f"{name} has values that are not finite (NaN or infinity): {int(bad.sum())} of {values.numel()}, the "
                f"first at row {row}, column {column}; replace them first"
            )
        low, high = values.min().item(), values.max().item()
        scaled = values.float().mul(1 if high > 2 else 255).round_()
        if scaled.min() < 0 or scaled.max() > 255:
            raise ZooError(
                f"{name} has floating-point values from {low:g} to {high:g}; they are read as 0..1, or as 0..255 if "
                f"one is above 2, so scale them to 0..1 first (and undo a normalisation)"
            )
        return scaled.to(torch.uint8)
    low, high = values.min().item(), values.max().item()
    if not sixteen and (low < 0 or high > 65535 or 255 < high < 512):
        raise ZooError(
            f"{name} has whole numbers from {low} to {high}; they are read as 0..255, or as 0..65535 if one is above "
            f"511, so scale them first"
        )
    return (values >> 8 if sixteen or high > 255 else values).to(torch.uint8)


def _channels_last(shape: tuple[int, ...], tensor: bool, name: str) -> bool:
    """True if channels come last, or are not there.

    Raises:
        ZooError: it is not the shape of an image, or may be read in two ways.
    """
    if len(shape) == 2:
        return True
    if len(shape) == 4:
        raise ZooError(f"{name} is a batch of {shape[0]} images; give the batch in place of the list")
    first, last = (shape[0] in MODES, shape[2] in MODES) if len(shape) == 3 else (False, False)
    if not first and not last:
        raise ZooError(
            f"{name} is an array of shape {shape}; an image has rows and columns, and 1 to 4 channels last or first"
        )
    if first and last:
        likely, other = (shape[0], shape[2]) if tensor else (shape[2], shape[0])
        if likely < 3 <= other:
            raise ZooError(
                f"{name} is {'a tensor' if tensor else 'an array'} of shape {shape}: channels may be first or last; "
                f"give a Pillow image, e.g. Image.fromarray(array)"
            )
        return not tensor
    return last


def _numbers(array: Any, name: str) -> tuple[Tensor, bool]:
    """The values as a tensor of bools, bytes, integers or floats, and True if they are unsigned 16-bit numbers."""
    import torch

    if isinstance(array, torch.Tensor):
        kind = str(array.dtype).removeprefix("torch.")
        try:
            values = array.detach().to("cpu")
            if kind not in ("bool", "uint8"):
                values = values.float() if array.is_floating_point() else values.to(torch.int64)
            dense = not array.is_complex() and values.layout == torch.strided
        except (RuntimeError, NotImplementedError):  # quantized, on the meta device, ...
            dense = False
        if not dense:
            raise ZooError(f"{name} is a {kind} tensor ({array.layout}, {array.device}); give real, dense values")
        return values, kind == "uint16"
    import numpy as np

    found = np.asarray(array)
    types = {"b": ("u1", torch.bool), "u": ("<i8", torch.int64), "i": ("<i8", torch.int64), "f": ("<f4", torch.float32)}
    if found.dtype.kind not in types:
        raise ZooError(f"{name} is an array of type {found.dtype}; give bools, whole numbers or floats")
    wanted, dtype = ("u1", torch.uint8) if found.dtype.name == "uint8" else types[found.dtype.kind]
    with np.errstate(over="ignore"):  # infinity is refused by name
        raw = bytearray(found.astype(wanted).tobytes())
    return torch.frombuffer(raw, dtype=dtype).view(found.shape), found.dtype.name == "uint16"


def _bytes(pixels: Tensor) -> bytes:
    whole = pixels.contiguous()
    return ctypes.string_at(whole.data_ptr(), whole.numel())
