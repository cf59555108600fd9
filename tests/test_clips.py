"""Videos: the frame that is shown at each time, and files that cannot be read."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scope_core import MissingDependencyError, ZooError
from scope_core.clips import USUAL, read_clip, write_clip

av = pytest.importorskip("av")


def written(path: Path, ticks: Sequence[int], codec: str = "mpeg4") -> Path:
    """A video whose frame k is shown from ``ticks[k]`` twelfths of a second on, and has the brightness 10 k."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), (10 * number,) * 3))
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(path: Path, **options: Any) -> list[int]:
    return [round(frame.getpixel((9, 9))[0] / 10) for frame in read_clip(str(path), **options).frames]  # type: ignore[index]


def test_frames_are_those_that_a_viewer_sees(tmp_path: Path) -> None:
    even = written(tmp_path / "even.mp4", range(24))
    clip = read_clip(str(even))
    assert (clip.times, clip.fps, clip.width, clip.height) == ((0.0, 0.5, 1.0, 1.5), 2.0, 64, 48)
    assert numbers(even) == [0, 6, 12, 18]
    assert numbers(even, fps=4, start=0.5, end=1.5) == [6, 9, 12, 15]
    assert numbers(even, start=1.9) == [22]
    uneven = written(tmp_path / "uneven.mp4", [0, 1, 2, 13, 14, 23])
    assert numbers(uneven, fps=3) == [0, 2, 2, 2, 4, 4]  # twelfths 0, 4, 8, 12, 16, 20
    assert numbers(uneven, fps=24, end=0.25) == [0, 0, 1, 1, 2, 2]


def test_long_videos_are_read_at_fewer_frames_a_second(tmp_path: Path) -> None:
    long = written(tmp_path / "long.mkv", [240 * number for number in range(12)])
    clip = read_clip(str(long))
    assert len(clip.frames) == USUAL
    assert clip.fps < 0.2
    with pytest.raises(ZooError, match=r"frames; at most 768 are read: lower --fps"):
        read_clip(str(long), fps=12)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    good = written(tmp_path / "good.mp4", range(24)).read_bytes()
    unknown = written(tmp_path / "unknown.avi", range(24)).read_bytes().replace(b"FMP4", b"ZZZZ")
    sound = tmp_path / "sound.mkv"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.rate = 8000
        container.mux(stream.encode(frame))
    broken = {"empty.mp4": b"", "text.mp4": b"not a video" * 99, "cut.mp4": good[: len(good) // 2], "zzzz.avi": unknown}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "empty.mp4": ("not a video that PyAV can read", {}),
        "text.mp4": ("not a video that PyAV can read", {}),
        "cut.mp4": ("not a video that PyAV can read", {}),
        "zzzz.avi": ("codec that the installed PyAV cannot decode", {}),
        "sound.mkv": ("has no pictures, only audio", {}),
        "none.mp4": ("there is no file", {}),
        "good.mp4": ("lasts 2 s, so it has no frame from 3 s on", {"start": 3}),
    }
    for name, (why, options) in cases.items():
        with pytest.raises(ZooError, match=f"{re.escape(name)}.*{why}" if name != "none.mp4" else why):
            read_clip(str(tmp_path / name), **options)
    wrong: tuple[dict[str, Any], ...] = ({"start": -1.0}, {"start": 1.0, "end": 1.0}, {"fps": 0.0})
    for options in wrong:
        with pytest.raises(ZooError, match=r"good.mp4' cannot be read from"):
            read_clip(str(tmp_path / "good.mp4"), **options)


def test_files_without_frames_and_with_one(tmp_path: Path) -> None:
    for name in ("none.mp4", "none.avi", "silent.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=12)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            if name == "silent.mkv":  # a stream of pictures that never come, beside sound
                sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
                frame = av.AudioFrame(format="s16", layout="mono", samples=800)
                frame.rate = 8000
                container.mux(sound.encode(frame))
            else:
                container.start_encoding()
    for name, why in (
        ("none.mp4", "has no pictures; give a video"),
        ("none.avi", "has no frame from 0 s on that can be decoded"),
        ("silent.mkv", "has no frame from 0 s on that can be decoded"),
    ):
        with pytest.raises(ZooError, match=f"{name}' {why}"):
            read_clip(str(tmp_path / name))
    one = read_clip(str(written(tmp_path / "one.mp4", [0])))
    assert (len(one.frames), one.times) == (1, (0.0,))


def test_times_between_start_and_end_and_progress(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    even = str(written(tmp_path / "even.mp4", range(48)))
    clip = read_clip(even, fps=2, start=1, end=3, progress=lambda done, total: told.append((done, total)))
    assert clip.times == (1, 1.5, 2, 2.5)
    assert told == [(0, 2), (0, 2), (1, 2), (2, 2)]
    assert read_clip(even, start=1, end=1.01).times == (1,)


def test_thinned_clips_keep_even_steps(tmp_path: Path) -> None:
    clip = read_clip(str(written(tmp_path / "even.mp4", range(24))), fps=10)
    few = clip.thinned(5)
    assert few.times == pytest.approx((0, 0.4, 0.8, 1.2, 1.6))
    assert few.fps == pytest.approx(2.5)
    assert clip.thinned(20) is clip


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'scope-core\[video\]'"):
        read_clip(str(tmp_path / "any.mp4"))


@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_pages_are_shown_at_their_time(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"pages{ending}"
    write_clip([Image.new("RGB", (63, 33), (number * 60,) * 3) for number in range(4)], path, 0.5)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        assert [round(float(frame.pts * frame.time_base)) for frame in frames] == [0, 2, 4, 6]
        assert [round(frame.to_image().getpixel((9, 9))[0] / 60) for frame in frames] == [0, 1, 2, 3]
