"""The one loader of images: files, Pillow images, arrays and tensors become 8-bit RGB, upright.

* EXIF orientation is applied. Transparent pixels are put on white.
* 16-bit values keep their upper eight bits, as Pillow reads 16-bit colour. See `scope_core.pixels` for other numbers.
* Of several frames or pages the current one is read, with a warning if it is the first; `Image.seek` chooses another.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_core.errors import ScopeError, ZooError, did_you_mean
from scope_core.pixels import grey_of, image_of, is_array

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 178_956_970
"""Larger images are refused, since decoding one takes half a gigabyte. Pillow's own limit."""

ALLOWED = "an image is a path, a Pillow image, an array or tensor, or a file's bytes or an open file"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+:/|data:)", re.IGNORECASE)
_DRAWINGS = ("EPS", "WMF")  # Pillow would run another program to draw them
_PAGES = ("MPO", "ICO", "ICNS")  # formats whose further images are previews and other sizes of the first


def read_images(images: Iterable[Any]) -> list[Image]:
    """Every image of a list, or of a batch (an array of four dimensions), by `upright_rgb`.

    Raises:
        ZooError: this is not a list, or an image cannot be read; names it, e.g. ``image 3 of the list``.
    """
    import PIL.Image

    if is_array(images) and len(getattr(images, "shape", ())) == 4:
        images = list(images)
    one = isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, PIL.Image.Image)) or is_array(images)
    if one or isinstance(images, dict) or not isinstance(images, Iterable) or hasattr(images, "read"):
        raise ZooError(
            f"images is {_kind(images)}, not a list; "
            + ("give [image], a list of one" if one or hasattr(images, "read") else "give a list of images, or []")
        )
    return [upright_rgb(image, f"image {number} of the list") for number, image in enumerate(images, 1)]


def upright_rgb(image: Any, name: str = "the image") -> Image:
    """``image`` as 8-bit RGB, upright; the same pixels for a file, an open Pillow image and its array.

    Args:
        image: A path, a Pillow image, an array or tensor (rows and columns, with 1 to 4 channels last or first), the
            bytes of a file, or an open binary file.
        name: Name for messages; paths are named by themselves.

    Raises:
        ZooError: it cannot be read, or it may be read in two ways; the message names it.
    """
    if isinstance(image, (str, os.PathLike)):
        name = f"'{_short(os.fsdecode(image))}'"
    elif isinstance(source := getattr(image, "filename", None), str) and source:
        name = f"{name} ('{_short(source)}')"
    with _explaining(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and of odd metadata
        with _opened(image, name) as opened:
            _check_size(*opened.size, name)
            if opened.format in _DRAWINGS:
                raise ZooError(f"{name} is a drawing ({opened.format}), not pixels; export it as PNG first")
            opened.load()
            several = _has_frames(opened)
            result = _rgb(opened, name)
    if several:
        warnings.warn(
            f"{name} has several frames or pages; the first is read. Give frames as images of their own to read others",
            stacklevel=2,
        )
    return result


def existing_file(name: str) -> Path:
    """The path of a file.

    Raises:
        ZooError: there is no such file; names the nearest one.
    """
    short = _short(name)
    if not name:
        raise ZooError("the path of an image is empty; give a file")
    if _ADDRESS.match(name):
        raise ZooError(f"'{short}' is an address; images are not downloaded, so download it first and give the file")
    path = Path(name)
    try:
        if path.is_dir():
            raise ZooError(f"'{short}' is a folder; give the images in it, e.g. {name.rstrip('/')}/*.jpg")
        if path.is_file():
            return path
        if path.exists():
            raise ZooError(f"'{short}' is a device or a pipe; write the image to a file and give that")
        here = path.parent.is_dir()
        near = did_you_mean(path.name, [p.name for p in islice(path.parent.iterdir(), 10_000)]) if here else ""
    except (OSError, ValueError) as error:  # too long, a null byte, or a folder that may not be read
        if isinstance(error, ScopeError):
            raise
        raise ZooError(f"'{short}' cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    where = "" if here else f": folder '{_short(str(path.parent))}' does not exist"
    raise ZooError(f"there is no file '{short}'{where}{near}")


@contextmanager
def _opened(image: Any, name: str) -> Iterator[Image]:
    """The image as a Pillow image, whose file is closed at the end if it was opened here."""
    import PIL.Image

    if isinstance(image, PIL.Image.Image):
        yield image
        return
    if is_array(image):
        yield image_of(image, name, MAX_PIXELS)
        return
    if isinstance(image, (str, os.PathLike)):
        image = existing_file(os.fsdecode(image))
    elif isinstance(image, (bytes, bytearray, memoryview)):
        image = io.BytesIO(image)
    elif isinstance(image, io.TextIOBase):
        raise ZooError(f"{name} is a file that is open for text; open it with mode 'rb'")
    elif not hasattr(image, "read"):
        raise ZooError(f"{name} is {_kind(image)}; {ALLOWED}")
    with PIL.Image.open(image) as opened:
        yield opened


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    """Turn the many kinds of error that Pillow raises on damaged files into one that names the image."""
    import PIL.Image
    from PIL import UnidentifiedImageError

    try:
        yield
    except ScopeError:
        raise
    except UnidentifiedImageError as error:
        raise ZooError(f"{name} is not an image that Pillow can read; convert it to PNG or JPEG") from error
    except PIL.Image.DecompressionBombError as error:
        raise ZooError(_too_large(name)) from error
    except MemoryError as error:
        raise ZooError(f"{name} needs more memory than is free; make it smaller first") from error
    except PermissionError as error:
        raise ZooError(f"{name} cannot be read: {error.strerror}") from error
    except Exception as error:  # which kind depends on the format and on where the file is damaged
        raise ZooError(f"{name} cannot be read: {error or type(error).__name__}; {_reason(error)}") from error


def _reason(error: Exception) -> str:
    closed = "closed" in str(error) or isinstance(error, AttributeError)
    return "it was closed before it was read, so open it again" if closed else "the file is damaged or truncated"


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ZooError(f"{name} has {width} x {height} pixels; an image has at least one")
    if width * height > MAX_PIXELS:
        raise ZooError(_too_large(name))


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller first"


def _has_frames(image: Image) -> bool:
    """True at the first of several frames; a damaged later one does not matter."""
    with suppress(Exception):
        return bool(getattr(image, "is_animated", False)) and image.format not in _PAGES and image.tell() == 0
    return False


def _rgb(image: Image, name: str) -> Image:
    import PIL.Image
    from PIL import ImageOps

    with suppress(Exception):  # metadata that cannot be read tells no orientation
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = grey_of(image, name)
    palette = getattr(image.palette, "mode", "") if image.mode == "P" else ""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or palette == "RGBA" or "transparency" in image.info:
        top = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", top.size, "white"), top)
    try:
        result = image.convert("RGB")
    except ValueError as error:
        raise ZooError(
            f"{name} has the colour mode {image.mode}, which Pillow cannot turn into RGB; convert it first"
        ) from error
    result.info = {}  # so that reading the result again changes nothing
    return result


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _short(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:100]}...{name[-40:]}"
