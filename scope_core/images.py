"""Images as vision towers expect them: 8-bit RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image


def upright_rgb(image: Image) -> Image:
    """``image`` as 8-bit RGB: transparent pixels on white, 16-bit and floating-point grey values scaled to 0..255."""
    import PIL.Image

    if image.mode.startswith(("I", "F")):
        low, high = cast(tuple[float, float], image.convert("F").getextrema())
        if image.mode != "F" and low >= 0:  # whole numbers: 8 bits if they fit, else 16
            low, high = 0.0, 255.0 if high <= 255 else 65535.0
        scale = 255 / (high - low) if high > low else 0.0
        image = image.convert("F").point(lambda value: value * scale + (0.5 - low * scale)).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        top = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", top.size, "white"), top)
    return image.convert("RGB")
