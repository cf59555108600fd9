"""The one reader of videos: frames at even times, as 8-bit RGB, upright; and the writer of drawn ones. Needs PyAV.

* The frame at time t is the one that a viewer sees at t, also where the frame rate varies.
* Frames whose shorter side has more than 768 pixels are made smaller: no tower reads more, and memory is not endless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_core.errors import MissingDependencyError, ZooError
from scope_core.images import MAX_PIXELS, existing_file

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".3gp")
"""Endings of files that are read as videos."""
FPS, USUAL, MOST = 2.0, 32, 768
"""Frames per second and most frames where nothing is asked for, and most frames of any clip."""
_SIDE = 768


@dataclass(frozen=True)
class Clip:
    """Frames of a video.

    Attributes:
        name: The file, as typed.
        frames: The frames, in order.
        times: Seconds from the start of the video of each.
        fps: Frames per second at which it was read.
    """

    name: str
    frames: tuple[Image, ...]
    times: tuple[float, ...]
    fps: float

    @property
    def width(self) -> int:
        """Width of a frame in pixels."""
        return self.frames[0].width

    @property
    def height(self) -> int:
        """Height of a frame in pixels."""
        return self.frames[0].height

    def thinned(self, most: int) -> Clip:
        """At most as many frames, at even steps, the first among them."""
        count = len(self.frames)
        if count <= most:
            return self
        chosen = [number * count // most for number in range(most)]
        frames = tuple(self.frames[number] for number in chosen)
        times = tuple(self.times[number] for number in chosen)
        return replace(self, frames=frames, times=times, fps=self.fps * most / count)


def is_clip(name: str) -> bool:
    """True if the file's ending is that of a video."""
    return Path(name).suffix.lower() in ENDINGS


def read_clip(
    name: str,
    *,
    fps: float | None = None,
    start: float = 0.0,
    end: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Clip:
    """Frames of a video file at even times from ``start`` on, before ``end``.

    Args:
        name: The file.
        fps: Frames per second; by default 2, or fewer so that there are at most 32 frames.
        start: Seconds from the start of the video.
        end: Seconds from the start of the video; by default its end.
        progress: Called with (seconds read, seconds to read) where the file says how long it is.

    Raises:
        MissingDependencyError: PyAV is not installed.
        ZooError: there is no such file, it cannot be decoded, or it has no frame at these times; says which.
    """
    av, path = _library(), existing_file(name)
    if start < 0 or (end is not None and end <= start) or (fps is not None and not 0 < fps <= 1000):
        raise ZooError(
            f"'{name}' cannot be read from {start:g} s to {'its end' if end is None else f'{end:g} s'} at "
            f"{'2' if fps is None else f'{fps:g}'} frames per second; start is at least 0, end after it, and there are "
            f"more than 0 and at most 1000 frames per second"
        )
    with _explaining(av, name), av.open(str(path)) as container:
        stream = _stream(container, name)
        length = _length(container, stream)
        last = min((t for t in (end, length) if t is not None), default=None)
        if length is not None and start >= length:
            raise ZooError(f"'{name}' lasts {length:g} s, so it has no frame from {start:g} s on; lower --start")
        rate = fps or (FPS if last is None else min(FPS, USUAL / (last - start)))
        if last is not None and (last - start) * rate > MOST:
            raise ZooError(
                f"'{name}' from {start:g} s to {last:g} s at {rate:g} frames per second has "
                f"{int((last - start) * rate):,} frames; at most {MOST} are read: lower --fps, or cut it with --start "
                f"and --end"
            )
        found = []
        for time, image in _sampled(_decoded(av, container, stream, start, length, name), rate, start, end, name):
            found.append((time, image))
            if last is not None:
                progress(round(time - start), max(1, round(last - start)))
    if not found:
        where = f"from {start:g} s {'on' if end is None else f'to {end:g} s'}"
        raise ZooError(f"'{name}' has no frame {where} that can be decoded; try other times, or another file")
    return Clip(name, tuple(image for _, image in found), tuple(time for time, _ in found), rate)


def write_clip(pages: Iterable[Image], path: Path, fps: float) -> None:
    """Write pages of one size as a video (``.mp4``) or an animation (``.gif``), at real time.

    Raises:
        MissingDependencyError: PyAV, which ``.mp4`` needs, is not installed.
    """
    if path.suffix.lower() == ".gif":
        first, *others = [page.quantize(128) for page in pages]
        first.save(path, save_all=True, append_images=others, duration=max(20, round(1000 / fps)), loop=0)
        return
    av = _library()
    names = av.codec.codecs_available
    with av.open(str(path), "w") as container:
        stream: Any = None
        for page in pages:
            page = page.crop((0, 0, page.width + page.width % 2, page.height + page.height % 2))  # even sides
            if stream is None:
                codec = "libx264" if "libx264" in names else "mpeg4"
                stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
                stream.width, stream.height, stream.pix_fmt = page.width, page.height, "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_image(page)))
        if stream is not None:
            container.mux(stream.encode())


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError("videos are read with PyAV: pip install 'scope-core[video]'") from error
    return av


@contextmanager
def _explaining(av: Any, name: str) -> Iterator[None]:
    try:
        yield
    except ZooError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ZooError(
            f"'{name}' is not a video that PyAV can read ({why}): the file is damaged, cut short, or of another kind"
        ) from error


def _stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        raise ZooError(f"'{name}' has no pictures{_others(container)}; give a video")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ZooError(
            f"'{name}' is in a codec that the installed PyAV cannot decode; convert it to H.264: ffmpeg -i IN OUT.mp4"
        )
    if (stream.width or 0) * (stream.height or 0) > MAX_PIXELS:
        raise ZooError(f"'{name}' has frames of more than {MAX_PIXELS:,} pixels; make it smaller first")
    stream.thread_type = "AUTO"
    return stream


def _others(container: Any) -> str:
    kinds = sorted({stream.type for stream in container.streams})
    return f", only {' and '.join(kinds)}" if kinds else ""


def _length(container: Any, stream: Any) -> float | None:
    """Seconds; None if the file does not say."""
    if stream.duration and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _decoded(
    av: Any, container: Any, stream: Any, start: float, length: float | None, name: str
) -> Iterator[tuple[float, float, Any]]:
    """``(time, end, frame)`` of each frame, from the last one before ``start`` on; it ends there if none follows."""
    origin = (stream.start_time or 0) * stream.time_base
    each = float(1 / stream.average_rate) if stream.average_rate else 1 / 25
    if start > 0:
        container.seek(int((start + float(origin)) / stream.time_base), stream=stream)
    time = -each
    try:
        for frame in container.decode(stream):
            time = float(frame.pts * stream.time_base - origin) if frame.pts is not None else time + each
            yield time, max(length, time + 1e-3) if length is not None else time + each, frame
    except av.error.FFmpegError as error:
        where = f"after {time:.2f} s: use --end {time:.2f} to take what comes before" if time > 0 else "at its start"
        raise ZooError(f"'{name}' is damaged {where} ({error.strerror})") from error


def _sampled(
    frames: Iterator[tuple[float, float, Any]], rate: float, start: float, end: float | None, name: str
) -> Iterator[tuple[float, Image]]:
    """``(time, image)`` at each of the times ``start + k / rate``."""
    count, shown, over = 0, None, start
    for time, until, frame in frames:
        while shown is not None and (wanted := start + count / rate) < min(time, end or time) - 1e-6:
            yield wanted, _image(shown)
            count += 1
            _check(count, name)
        if end is not None and time >= end:
            return
        shown, over = frame, until
        if count == 0 and time > start + 1e-6:
            start = time  # the video begins later
    while shown is not None and (wanted := start + count / rate) < min(over, end or over) - 1e-6:
        yield wanted, _image(shown)
        count += 1
        _check(count, name)


def _check(count: int, name: str) -> None:
    if count > MOST:  # of a file that does not say how long it is
        raise ZooError(f"'{name}' has more than {MOST} frames at this rate; lower --fps, or cut it with --end")


def _image(frame: Any) -> Image:
    image: Image = frame.to_image()
    turned = getattr(frame, "rotation", 0)
    if turned:
        image = image.rotate(turned, expand=True)
    scale = _SIDE / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale))) if scale < 1 else image
