"""Uploads: read as the command line reads them, or refused in words that name no place on the server."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core.adapters import upright_rgb
from scope_demo.photos import BYTES, PIXELS, read_upload, shipped
from scope_demo.subject import Photo


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that claims a size."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(body)),
        (b"IEND", b""),
    )
    data = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + data


def outcome(path: Path) -> Photo | str:
    """What is read of a file, or why nothing is."""
    try:
        return read_upload(path, path.name)
    except scope.ZooError as error:
        return str(error)


BROKEN = {
    "empty.png": (b"", "is empty"),
    "text.png": (b"hello, not an image", "not an image that Pillow can read"),
    "page.html": (b"<html><script>alert(1)</script></html>", "not an image"),
    "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not an image"),
    "bomb.png": (png(40_000, 40_000), "more than 50,000,000 pixels"),
    "wide.png": (png(90_000, 900), "90,000 x 900 pixels; the limit is 50,000,000"),
    "huge.png": (png(2**31 - 1, 2**31 - 1), "pixels"),
    "short.png": (png(10, 10, b"\0" * 5), "damaged or truncated"),
    "none.png": (png(0, 10), "'none.png'"),
    "lock.pdf": (b"%PDF-1.7\n", "not an image"),
    "draw.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "is a drawing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_answered_in_words(tmp_path: Path, name: str) -> None:
    data, words = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(scope.ZooError) as caught:
        read_upload(path, name)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_is_read_or_refused_in_words(tmp_path: Path, noise, form: str) -> None:
    buffer = io.BytesIO()
    noise.save(buffer, form)
    whole = buffer.getvalue()
    path = tmp_path / "cut"
    for share in (0.001, 0.01, 0.3, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        found = outcome(path)
        if isinstance(found, str):
            assert "'cut'" in found
            assert str(tmp_path) not in found
        else:
            assert found.image.size == noise.size


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBP"]),
)
def test_any_bytes_are_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any-bytes"
    path.write_bytes(head + data)
    found = outcome(path)
    assert not isinstance(found, str) or "'any-bytes'" in found


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(BYTES + 1_000_000)
    with pytest.raises(scope.ZooError, match=r"has 21 MB; the limit is 20 MB"):
        read_upload(path, "large.png")
    assert PIXELS * 3 < 2**28  # what decoding takes at most


def test_an_upload_is_read_as_the_command_line_reads_it(tmp_path: Path, noise) -> None:
    exif = noise.getexif()
    exif[0x0112] = 6  # turned
    path = tmp_path / "turned.jpg"
    noise.save(path, exif=exif)
    photo = read_upload(path, "C:\\Users\\me\\turned.jpg")
    assert photo.title == "turned.jpg"
    assert photo.image.tobytes() == upright_rgb(path).tobytes()
    assert photo.image.size == (200, 300)


def test_the_shipped_images_have_questions(registry: scope.Registry) -> None:
    found = {photo.key: photo for photo in shipped(registry)}
    assert {"demo:astronaut", "demo:coffee"} <= set(found)
    known = [photo for photo in found.values() if not photo.key.startswith("demo:")]
    assert known
    assert all(answer for photo in known for _, answer in photo.questions)


def test_a_video_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "0"
    path.write_bytes(b"anything")
    with pytest.raises(scope.ZooError, match=r"'clip.mp4' is a video, and this page shows images; `scope run clip.mp4"):
        read_upload(path, "clip.mp4")
