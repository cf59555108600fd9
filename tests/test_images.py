"""The one loader: the same pixels bit for bit by every way in, against pixels worked out here; the rest is refused."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scope_core import ZooError, images
from scope_core.adapters import read_images, upright_rgb
from scope_core.cli.photos import open_pictures

HEIGHT, WIDTH = 6, 9
GREY = (np.arange(HEIGHT * WIDTH, dtype=np.uint8) * 4).reshape(HEIGHT, WIDTH)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], 2)
ALPHA = np.where(np.arange(WIDTH) < 3, 0, np.where(np.arange(WIDTH) < 5, 90, 255)).astype(np.uint8) + GREY * 0
DEEP = GREY.astype(np.uint16) * 257 + 19  # the upper eight bits are GREY's


def grey3(plane: np.ndarray) -> np.ndarray:
    return np.stack([plane] * 3, 2)


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def palette_image() -> Image.Image:
    image = Image.new("P", (WIDTH, HEIGHT))
    image.putdata((GREY // 64).flatten().tolist())
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    return image


def merged(mode: str, *planes: np.ndarray) -> Image.Image:
    return Image.merge(mode, [Image.fromarray(np.ascontiguousarray(plane)) for plane in planes])


PALETTE = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)


def turned(orientation: int, **options: Any) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(COLOUR).save(path, exif=exif, **options)

    return save


def saved(image: Callable[[], Image.Image], **options: Any) -> Callable[[Path], None]:
    return lambda path: image().save(path, **options)


def frames(path: Path) -> None:
    first, second = Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1].copy())
    first.save(path, save_all=True, append_images=[second], **({"lossless": True} if path.suffix == ".webp" else {}))


# name: (ending, function that writes the file, the pixels, True if its array means the same)
PICTURES: dict[str, tuple[str, Callable[[Path], None], np.ndarray, bool]] = {
    "rgb": ("png", saved(lambda: Image.fromarray(COLOUR)), COLOUR, True),
    "grey": ("png", saved(lambda: Image.fromarray(GREY)), grey3(GREY), True),
    "one bit": ("png", saved(lambda: Image.fromarray(GREY > 90)), grey3((GREY > 90) * 255), True),
    "16 bit png": ("png", saved(lambda: Image.fromarray(DEEP)), grey3(GREY), True),
    "16 bit tiff": ("tif", saved(lambda: Image.fromarray(DEEP)), grey3(GREY), True),
    "16 bit big-endian": ("tif", saved(lambda: Image.fromarray(DEEP.astype(">u2"))), grey3(GREY), True),
    "dark 16 bit": ("tif", saved(lambda: Image.fromarray(DEEP // 257)), grey3(GREY * 0), True),
    "32 bit, 8 used": ("tif", saved(lambda: Image.fromarray(GREY.astype(np.int32))), grey3(GREY), True),
    "32 bit, 16 used": ("tif", saved(lambda: Image.fromarray(DEEP.astype(np.int32))), grey3(GREY), True),
    "float 0..1": ("tif", saved(lambda: Image.fromarray(GREY.astype(np.float32) / 255)), grey3(GREY), True),
    "float 0..255": ("tif", saved(lambda: Image.fromarray(GREY.astype(np.float32))), grey3(GREY), True),
    "rgba": ("png", saved(lambda: Image.fromarray(np.dstack([COLOUR, ALPHA]))), on_white(COLOUR, ALPHA), True),
    "grey and alpha": (
        "png",
        saved(lambda: merged("LA", GREY, ALPHA)),
        on_white(grey3(GREY), ALPHA),
        True,
    ),
    "palette": ("png", saved(palette_image), PALETTE[GREY // 64], False),
    "palette, one clear": (
        "png",
        saved(palette_image, transparency=1),
        np.where((GREY // 64 == 1)[..., None], 255, PALETTE[GREY // 64]),
        False,
    ),
    "grey, one clear": (
        "png",
        saved(lambda: Image.fromarray(GREY), transparency=40),
        grey3(np.where(GREY == 40, 255, GREY)),
        False,
    ),
    "16 bit, one clear": (
        "png",
        saved(lambda: Image.fromarray(DEEP), transparency=int(DEEP[1, 1])),
        grey3(np.where(GREY[1, 1] == GREY, 255, GREY)),
        False,
    ),
    "cmyk": ("tif", saved(lambda: merged("CMYK", *np.moveaxis(COLOUR, 2, 0), GREY * 0)), 255 - COLOUR, False),
    "exif 3": ("png", turned(3), COLOUR[::-1, ::-1], False),
    "exif 6": ("png", turned(6), np.rot90(COLOUR, -1), False),
    "exif 7": ("webp", turned(7, lossless=True), np.rot90(COLOUR, 2).transpose(1, 0, 2), False),
    "exif 8": ("png", turned(8), np.rot90(COLOUR), False),
    "gif of frames": ("gif", frames, COLOUR, False),
    "webp of frames": ("webp", frames, COLOUR, False),
    "png of frames": ("png", frames, COLOUR, False),
    "tiff of pages": ("tif", frames, COLOUR, False),
    "one pixel": ("png", saved(lambda: Image.fromarray(COLOUR[:1, :1])), COLOUR[:1, :1], True),
    "a row": ("png", saved(lambda: Image.new("RGB", (10_000, 1), (1, 2, 3))), np.full((1, 10_000, 3), (1, 2, 3)), True),
    "a column": (
        "png",
        saved(lambda: Image.new("RGB", (1, 9_999), (1, 2, 3))),
        np.full((9_999, 1, 3), (1, 2, 3)),
        True,
    ),
}


def loaded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def kept_open(path: Path) -> io.BufferedReader:
    file = path.open("rb")
    file.read()  # the position does not matter
    return file


FILES: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "path": Path,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "in memory": lambda path: io.BytesIO(path.read_bytes()),
    "open file": kept_open,
    "pillow": Image.open,
    "pillow, loaded": loaded,
    "pillow, twice": lambda path: upright_rgb(path),
}


def tensor(path: Path) -> torch.Tensor:
    array = np.array(loaded(path))
    array = array.astype(array.dtype.newbyteorder("=")) if array.dtype.byteorder == ">" else array
    if array.dtype == np.uint16:
        if not hasattr(torch, "uint16"):
            pytest.skip("this torch has no uint16")
        return torch.from_numpy(array.astype(np.int32)).to(torch.uint16)
    made = torch.from_numpy(array)
    return made if made.dim() == 2 else made.permute(2, 0, 1)


ARRAYS: dict[str, Callable[[Path], Any]] = {
    "array": lambda path: np.asarray(loaded(path)),
    "channels first": lambda path: np.moveaxis(np.atleast_3d(np.asarray(loaded(path))), 2, 0),
    "tensor": tensor,
    "reversed strides": lambda path: np.asarray(loaded(path))[::-1].copy()[::-1],
}


def written(name: str, folder: Path) -> Path:
    ending, save, _, _ = PICTURES[name]
    path = folder / f"picture.{ending}"
    save(path)
    return path


def ways_in() -> Iterator[tuple[str, str]]:
    """Every picture by every way that can hold it.

    Arrays lack palettes, colour spaces, orientations and transparent values; and of a single row or column, channels
    cannot be told apart.
    """
    for name, (_, _, wanted, plain) in PICTURES.items():
        yield from ((name, way) for way in FILES)
        thin = min(wanted.shape[:2]) == 1
        yield from ((name, way) for way in ARRAYS if plain and not (thin and way == "channels first"))


@pytest.mark.filterwarnings("ignore:.*several frames or pages", "ignore:.*unclosed file")
@pytest.mark.parametrize(("name", "way"), list(ways_in()))
def test_the_same_pixels_by_every_way_in(name: str, way: str, tmp_path: Path) -> None:
    path, (_, _, wanted, _) = written(name, tmp_path), PICTURES[name]
    first = upright_rgb(path)
    assert first.mode == "RGB"
    given = {**FILES, **ARRAYS}[way](path)
    assert np.array_equal(np.asarray(upright_rgb(given)), np.asarray(first))
    assert np.array_equal(np.asarray(open_pictures([str(path)])[0].image), np.asarray(first))
    if name == "gif of frames":
        return  # a GIF has 256 colours
    close = 1 if name in ("rgba", "grey and alpha") else 0  # Pillow rounds the mixture its own way
    assert np.abs(np.asarray(first).astype(float) - wanted).max() <= close


def test_an_open_file_stays_open_and_an_image_is_not_changed(tmp_path: Path) -> None:
    path = written("exif 6", tmp_path)
    with path.open("rb") as file:
        upright_rgb(file)
        assert not file.closed
    with Image.open(path) as image:
        upright_rgb(image)
        assert image.size == (WIDTH, HEIGHT)
        assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("https://example.org/cat.jpg", "download it first"),
        ("DATA:image/png;base64,AAAA", "download it first"),
        (Path("https://example.org/cat.jpg"), "download it first"),
        ("", "path of an image is empty"),
        ("a" * 5000, "cannot be opened: File name too long"),
        ("/dev/zero", "a device or a pipe"),
        ("/dev/null/x.png", "folder '/dev/null' does not exist"),
    ],
)
def test_paths_that_are_no_files(given: Any, wanted: str) -> None:
    with pytest.raises(ZooError, match=wanted) as caught:
        upright_rgb(given)
    assert len(str(caught.value)) < 400


def test_near_names_folders_and_damage(tmp_path: Path) -> None:
    path = written("rgb", tmp_path)
    with pytest.raises(ZooError, match=r"did you mean 'picture\.png'\?"):
        upright_rgb(path.with_name("pictrue.png"))
    with pytest.raises(ZooError, match="is a folder"):
        upright_rgb(tmp_path)
    cut = tmp_path / "cut.png"
    Image.effect_noise((99, 99), 90).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    with pytest.raises(ZooError, match=r"cut\.png' .*damaged or truncated"):
        upright_rgb(cut)
    with Image.open(cut) as image, pytest.raises(ZooError, match=r"image 1 of the list \('.*cut\.png'\) cannot"):
        read_images([image])
    closed = Image.open(path)
    closed.close()
    with pytest.raises(ZooError, match="open it again"):
        upright_rgb(closed)
    drawing = tmp_path / "drawing.eps"
    drawing.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ZooError, match="a drawing"):
        upright_rgb(drawing)


@pytest.mark.parametrize("given", ["photo.png", Image.new("L", (2, 2)), np.zeros((4, 4, 3)), b"x", None, {}, 3])
def test_what_is_not_a_list_is_refused(given: Any) -> None:
    with pytest.raises(ZooError, match=r"^images is .*not a list; give"):
        read_images(given)


def test_batches_and_no_images() -> None:
    assert read_images([]) == []
    for batch in (np.zeros((2, 4, 5, 3), np.uint8), torch.zeros(2, 3, 4, 5)):
        assert [image.size for image in read_images(batch)] == [(5, 4), (5, 4)]


def test_the_first_frame_is_read_with_a_warning_and_any_other_without(tmp_path: Path) -> None:
    path = written("webp of frames", tmp_path)
    with pytest.warns(UserWarning, match=r"picture\.webp' has several frames or pages; the first is read"):
        upright_rgb(path)
    with Image.open(path) as image, warnings.catch_warnings():
        warnings.simplefilter("error")
        image.seek(1)
        assert np.array_equal(np.asarray(upright_rgb(image)), COLOUR[::-1])


@pytest.mark.parametrize("way", [str, loaded, lambda path: np.asarray(loaded(path))])
def test_gigantic_images_are_refused(way: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (2000, 1000)).save(path)
    given = way(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 1_000_000)
    with pytest.raises(ZooError, match="more than 1,000,000 pixels"):
        upright_rgb(given)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.png"
    Image.new("1", (40_000, 20_000)).save(path)
    tracemalloc.start()
    try:
        with pytest.raises(ZooError, match="more than 178,956,970 pixels"):
            upright_rgb(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
