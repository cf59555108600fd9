"""Reading pictures: every mode, every way to be broken, and the demo photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import offers
import pytest
from PIL import Image

from cli.conftest import Ran
from scope_core import MissingDependencyError, ZooError
from scope_core.cli import photos
from scope_core.cli.photos import open_pictures

DEMOS = ("astronaut", "camera", "chelsea", "china", "coffee", "flower", "hubble", "motorcycle", "retina", "rocket")


@pytest.mark.parametrize("name", DEMOS)
def test_every_demo_photograph_is_there(name: str) -> None:
    (picture,) = open_pictures([f"demo:{name}"])
    assert picture.image.mode == "RGB"
    assert min(picture.image.size) >= 300
    assert picture.title == name


def test_photos_are_listed(scope_: Callable[..., Ran]) -> None:
    rows = scope_("photos", "--json").json
    assert [row["name"] for row in rows] == [f"demo:{name}" for name in DEMOS]
    assert all(Path(row["path"]).is_file() for row in rows)
    assert "demo:rocket" in scope_("photos").stdout


def test_a_missing_package_says_what_to_install(scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install scikit-image"):
        open_pictures(["demo:coffee"])
    assert "pip install scikit-image" in scope_("photos").words


@pytest.mark.parametrize(
    ("mode", "colour", "ending", "wanted"),
    [
        ("L", 128, "png", (128, 128, 128)),
        ("1", 1, "png", (255, 255, 255)),
        ("LA", (0, 0), "png", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 0), "png", (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), "png", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 0), "tif", (255, 255, 255)),
        ("I;16", 65535, "png", (255, 255, 255)),
        ("I;16", 32768, "tif", (128, 128, 128)),
        ("I", 200, "tif", (200, 200, 200)),
        pytest.param("YCbCr", (128, 128, 128), "tif", (128, 128, 128), marks=offers.ycbcr_tiff),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, colour: object, ending: str, wanted: tuple[int, ...]
) -> None:
    path = tmp_path / f"picture.{ending}"
    Image.new(mode, (8, 6), colour).save(path)
    (picture,) = open_pictures([str(path)])
    assert (picture.image.mode, picture.image.size) == ("RGB", (8, 6))
    assert picture.image.getpixel((3, 3)) == wanted


def test_values_without_a_range_are_4_and_named(fake: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "depth.tif"
    Image.new("F", (4, 4), -3.0).save(path)
    ran = fake("select", path, "--tower", "fake-tower")
    assert ran.code == 4
    assert "depth.tif' has floating-point values from -3 to -3; they are read as 0..1" in ran.stderr


@pytest.mark.filterwarnings("default:.*several frames")
def test_the_first_frame_is_used_with_a_warning(fake: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "frames.gif"
    first, second = (Image.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    first.save(path, save_all=True, append_images=[second])
    ran = fake("select", path, "--tower", "fake-tower")
    assert ran.code == 0
    assert "warning: '" in ran.stderr
    assert "frames.gif' has several frames or pages; the first is read" in ran.stderr


def test_a_transparent_palette_is_put_on_white(tmp_path: Path) -> None:
    path = tmp_path / "icon.gif"
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(path)
    (picture,) = open_pictures([str(path)])
    assert picture.image.getpixel((1, 1)) == (255, 255, 255)


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    path, exif = tmp_path / "sideways.jpg", Image.Exif()
    exif[0x112] = 6
    Image.linear_gradient("L").resize((64, 32)).save(path, exif=exif)
    (picture,) = open_pictures([str(path)])
    assert picture.image.size == (32, 64)


def broken_picture(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.jpg"
    if kind == "truncated":
        Image.effect_noise((200, 200), 90).save(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("truncated", "damaged or truncated"),
        ("text", "not an image that Pillow can read"),
        ("empty", "not an image that Pillow can read"),
        ("folder", "is a folder"),
        ("missing", "there is no file"),
    ],
)
def test_broken_pictures_are_4_and_named(fake: Callable[..., Ran], tmp_path: Path, kind: str, wanted: str) -> None:
    path = broken_picture(kind, tmp_path)
    ran = fake("select", path, "--tower", "fake-tower")
    assert ran.code == 4
    assert wanted in ran.stderr
    assert path.name in ran.stderr


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("demo:chelsae", "did you mean 'chelsea'?"),
        ("chelsea", "did you mean 'demo:chelsea'?"),
        ("https://example.org/cat.jpg", "download it first"),
    ],
)
def test_near_names(name: str, wanted: str) -> None:
    with pytest.raises(ZooError) as caught:
        open_pictures([name])
    assert wanted in str(caught.value)


def test_near_files(photo: Path) -> None:
    with pytest.raises(ZooError, match=r"did you mean 'photo\.png'\?"):
        open_pictures([str(photo.with_name("foto.png"))])
