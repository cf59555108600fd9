"""Videos on the command line: frames through a tower that reads images, and pages that show what is kept of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scope_core.cli.output import note, progress, table, writing
from scope_core.cli.panels import SUFFIXES, patches_of, save
from scope_core.clips import FPS, is_clip, read_clip, write_clip
from scope_core.clips import Clip as Clip
from scope_core.display import counted
from scope_core.drawing.page import Panel, Strip, draw
from scope_core.drawing.patches import SIDE, Tile
from scope_core.errors import TokensError, ZooError

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.cli.selections import Kept, Selected, Shown
    from scope_core.parts.zoo import Tower
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.tokens import VisualTokens

MOVING = (".mp4", ".gif")
"""Endings of pages that move."""
_AT_ONCE = 16
"""Frames that a tower encodes together."""
_MANY = 16
"""Frames beyond which a sheet of all of them is drawn larger."""
_BLOCKS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class ClipTower:
    """A tower that reads a clip as one video: each frame as it reads images, all of them one group of tokens."""

    tower: Tower

    @property
    def declaration(self) -> Declaration:
        """That of the tower."""
        return self.tower.declaration

    def view(self, image: Any) -> Any:
        """What the tower sees of a frame, or of each frame of a clip."""
        return [self.tower.view(frame) for frame in image.frames] if isinstance(image, Clip) else self.tower.view(image)

    def encode(self, images: Sequence[Any], *, at: str, needs: frozenset[str]) -> VisualTokens:
        """Tokens of one clip, (1, F * N, D), with the frame, the tile and the time of each."""
        import torch

        (clip,) = images
        batches = [clip.frames[first : first + _AT_ONCE] for first in range(0, len(clip.frames), _AT_ONCE)]
        groups = []
        for batch in batches:
            tokens = self.tower.encode(batch, at=at, needs=needs)
            index = torch.arange(tokens.valid.numel(), device=tokens.device)[tokens.valid.flatten()][None]
            number = torch.arange(len(batch), device=tokens.device)[:, None].expand(tokens.valid.shape)
            groups.append(replace(tokens, tile=number, frame=number, image=torch.zeros_like(number)).regroup(index))
        return _joined(groups, [len(batch) for batch in batches], clip.times)


def _joined(groups: Sequence[VisualTokens], frames: Sequence[int], times: Sequence[float]) -> VisualTokens:
    """The runs of frames one after another, as one group."""
    import torch

    from scope_core.structures.signals import Signals, token_axis

    first = groups[0]

    def cat(tensors: Sequence[Any], axis: int = 1) -> Any:
        return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), axis)

    def signal(name: str) -> Any:
        tensors = [group.signals[name] for group in groups]
        axis = token_axis(name, tuple(tensors[0].shape), *first.shape[:2])
        return tensors[0] if axis is None else cat(tensors, axis)

    starts = [sum(frames[:number]) for number in range(len(frames))]
    frame = cat([group.frame + start for group, start in zip(groups, starts, strict=True)])
    seconds = torch.tensor(times, dtype=torch.float64, device=first.device)
    planes = {name: cat([getattr(group, name) for group in groups]) for name in ("valid", "required", "row", "col")}
    return replace(
        first,
        features=cat([group.features for group in groups]),
        **planes,
        tile=frame,
        frame=frame,
        image=torch.zeros_like(frame),
        time=seconds[frame],
        signals=Signals({name: signal(name) for name in first.signals}),
    )


def open_clips(names: Sequence[str], *, fps: float | None, start: float, end: float | None) -> list[Clip]:
    """The clips with these names; none if they are names of images.

    Raises:
        ZooError: images are among them, or options of videos were given with images, or a video cannot be read.
    """
    clips = [name for name in names if is_clip(name)]
    if not clips:
        if fps is not None or start or end is not None:
            raise ZooError(f"--fps, --start and --end are options of videos, and '{names[0]}' is not one")
        return []
    if images := [name for name in names if not is_clip(name)]:
        raise ZooError(f"'{clips[0]}' is a video and '{images[0]}' an image; give either videos or images")
    found = []
    for name in names:
        with progress(f"reading {name}, seconds") as tell:
            found.append(read_clip(name, fps=fps, start=start, end=end, progress=tell))
    for clip in found:
        slower = f" ({clip.fps:.2g} per second; --fps changes it)" if fps is None and clip.fps < FPS else ""
        note(
            f"{clip.name}: {counted(len(clip.frames), 'frame')}, {clip.times[0]:g} s to {clip.times[-1]:.4g} s{slower}"
        )
    return found


def frame_counts(kept: Kept, frames: int) -> list[int]:
    """Kept tokens of each frame."""
    found = Counter(cell[0] for cell in kept.cells if cell is not None)
    return [found[number] for number in range(frames)]


def spark(counts: Sequence[int], most: int) -> str:
    """One character for each count, higher for more; a blank for none."""
    return "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // max(most, 1))] for count in counts)


def frames_table(clips: Sequence[Clip], selected: Selected) -> Any:
    """A table of the kept tokens of each method's frames: fewest, most, and a column for each; video by video."""
    from rich.text import Text

    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    rows: list[tuple[Text, str, str, Text]] = []
    several = len(clips) > 1
    for clip, shown in zip(clips, selected.images, strict=True):
        counts = [frame_counts(kept, len(clip.frames)) for kept in shown.kept]
        most = max(max(each) for each in counts)
        if several:
            rows.append((Text(clip.name), "", "", Text()))
        for label, each in zip(selected.labels, counts, strict=True):
            line = Text(spark(each, most), style="cyan")
            rows.append((Text(f"  {label}" if several else label), str(min(each)), str(max(each)), line))
    return table(["method", ("fewest", right), ("most", right), "kept tokens of each frame"], rows)


def frame_facts(clip: Clip, shown: Shown) -> dict[str, Any]:
    """The frames of a clip as plain data: their times, and how many tokens each method keeps of each."""
    counts = [frame_counts(kept, len(clip.frames)) for kept in shown.kept]
    return {"video": clip.name, "fps": clip.fps, "times": list(clip.times), "kept": counts}


def check_moving(path: Path | None, names: Sequence[str]) -> None:
    """Refuse a moving page of images, or of several videos.

    Raises:
        typer.BadParameter: names the image, or says how many videos there are.
    """
    if path is None or path.suffix.lower() not in MOVING:
        return
    still = next((name for name in names if not is_clip(name)), None)
    if still is not None:
        advice = "leave it out" if any(map(is_clip, names)) else "write .png, .jpg or .webp, or give a video"
        wrong = f"'{path}' shows one video, but '{still}' is an image; {advice}"
    elif len(names) > 1:
        wrong = f"'{path}' shows one video, but {len(names)} were given; write .png, or give one"
    else:
        return
    raise typer.BadParameter(wrong, param_hint="'--out'")


def draw_clips(
    clips: Sequence[Clip],
    views: Sequence[Sequence[Image]],
    selected: Selected,
    path: Path,
    *,
    heading: str,
    notes: Sequence[str] = (),
    order: bool = False,
) -> None:
    """Write what is kept of the clips: all frames on one page, or page after page as a video or an animation.

    Args:
        clips: The clips.
        views: The frames of each clip as the tower or model reads them.
        selected: The selections.
        path: The file; its ending says which.
        heading: Line above everything.
        notes: Lines below everything.
        order: True to colour the kept patches by the order of the picks.

    Raises:
        TokensError: the tokens have no places on the frames.
    """
    if any(not shown.places.extents for shown in selected.images):
        raise TokensError("these tokens have no grid positions, so no overlay can be drawn; omit --out")
    lines = [f"columns: kept tokens of each frame; the full height is {_most(selected)}"]
    lines.append(
        f"coverage: share of all tokens of the video whose best cosine to a kept one is at least {_theta(selected):g}"
    )
    lines += [*selected.legend, *(f"note: {text}" for text in notes)]
    if path.suffix.lower() in MOVING:
        with writing(path):
            write_clip(_film(clips[0], views[0], selected, heading, lines, order), path, clips[0].fps)
        return
    strips = []
    for number, clip in enumerate(clips):
        tiles = _tiles(selected.images[number], views[number])
        strips.append(Strip(tiles, _panels(clip, selected, number, None, tiles)))
    side = SIDE if max(len(clip.frames) for clip in clips) <= _MANY else 2 * SIDE
    save(draw(strips, heading=heading, footnotes=lines, order=order, side=side), path)


def _most(selected: Selected) -> int:
    """The most tokens that any method keeps of any frame."""
    counts = [Counter(cell[0] for cell in kept.cells if cell) for shown in selected.images for kept in shown.kept]
    return max((max(each.values(), default=0) for each in counts), default=0)


def _theta(selected: Selected) -> float:
    """The threshold that is drawn: the middle one."""
    return selected.judge.thetas[len(selected.judge.thetas) // 2]


def _film(
    clip: Clip, views: Sequence[Image], selected: Selected, heading: str, lines: Sequence[str], order: bool
) -> Iterator[Image]:
    tiles = _tiles(selected.images[0], views)
    for number, tile in enumerate(tiles):
        yield draw(
            [Strip((tile,), _panels(clip, selected, 0, number, tiles))], heading=heading, footnotes=lines, order=order
        )


def _tiles(shown: Shown, views: Sequence[Image]) -> tuple[Tile, ...]:
    grids = shown.places.grids([view.size for view in views])
    return tuple(Tile(grid, view) for grid, view in zip(grids, views, strict=True))


def _panels(clip: Clip, selected: Selected, number: int, frame: int | None, tiles: Sequence[Tile]) -> tuple[Panel, ...]:
    """The clip itself, then each method: all frames, or one."""
    shown = selected.images[number]
    when = f"{len(clip.frames)} frames" if frame is None else f"{clip.times[frame]:.2f} s"
    rows, columns = tiles[frame or 0].grid
    first = Panel(Path(clip.name).name, when, small=f"{shown.tokens} tokens; {rows} x {columns} patches a frame")
    panels = [replace(first, columns=(0.0,) * len(tiles), current=frame) if frame is not None else first]
    for label, kept in zip(selected.labels, shown.kept, strict=True):
        counts = frame_counts(kept, len(tiles))
        shares = tuple(count / max(_most(selected), 1) for count in counts)
        patches = patches_of(kept, tiles)
        bars: list[tuple[str, float | None]] = [
            (f"coverage at {_theta(selected):g}", kept.coverage[len(kept.coverage) // 2])
        ]
        if any(one.share is not None for one in shown.kept):
            bars.append(("share of saliency", kept.share))
        panel = Panel(label, f"{len(kept.picks)} of {kept.tokens} kept", patches, tuple(bars), "", shares, frame)
        if frame is not None:
            panel = replace(panel, patches=_of_frame(patches, frame), small=f"{counts[frame]} of this frame")
        else:
            panel = replace(panel, small=f"{min(counts)} to {max(counts)} kept of each frame")
        panels.append(panel)
    return tuple(panels)


def _of_frame(patches: Any, frame: int) -> Any:
    """The patches of one frame, as those of an image of one tile."""
    places = [place for place, cell in enumerate(patches.picks) if cell[0] == frame]

    def moved(cells: Any) -> list[tuple[int, int, int]]:
        return [(0, row, column) for tile, row, column in cells if tile == frame]

    return replace(
        patches,
        picks=moved(patches.picks),
        stages=None if patches.stages is None else [patches.stages[place] for place in places],
        merged=moved(patches.merged),
        present=frozenset(moved(patches.present)),
        grids=None if patches.grids is None else patches.grids[frame : frame + 1],
    )


def suffixes(names: Sequence[str]) -> tuple[str, ...]:
    """Endings of pages that can be written of these inputs."""
    return (*SUFFIXES, *MOVING) if names and all(map(is_clip, names)) else SUFFIXES
