"""`Stream`: a video whose frames come one after another, each pruned before the whole video is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scope_core.display import counted
from scope_core.errors import SpecError, TokensError
from scope_core.pruning.stage import Stage
from scope_core.structures.layout import ImageLayout, Layout
from scope_core.structures.selection import Selection
from scope_core.structures.signals import token_axis
from scope_core.structures.tokens import VisualTokens

_FRAMES = (1, 2, 3, 97)
"""Numbers of frames for which a frame must keep the same count."""


class Stream:
    """A video whose frames come one after another, pruned frame by frame. Made by `Pruner.stream`.

    The tokens kept of each frame are those that a selection from the whole video keeps, so a method must not need more:
    with ``partition: frame``, each frame is selected by itself; with ``partition: video``, the selector must say how
    many frames around its own it reads (`Part.reach`). A frame is decided as soon as these are there.

    Attributes:
        frames: Number of frames given so far.
        delay: Number of frames that must follow before one is decided; 0 for methods that never look ahead.

    Raises:
        SpecError: the method needs the whole video, with the part that does.
    """

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self._stage = stages[0]
        self._before, self.delay = _reach(stages)
        self._whole = not _by_frame(self._stage)  # a frame is selected with those around it
        self._held: list[VisualTokens] = []
        self._first = 0  # number of the first frame that is held
        self._decided = 0
        self._counted = set[int]()  # sizes of frames for which the budget was checked
        self._closed = False
        self.frames = 0

    def __repr__(self) -> str:
        return f"Stream({self._stage.label!r}, {counted(self.frames, 'frame')}, {self._decided} decided)"

    def push(
        self,
        features: Tensor,
        *,
        grid: tuple[int, int] | None = None,
        saliency: Tensor | None = None,
        signals: Mapping[str, Tensor] | None = None,
    ) -> list[Selection]:
        """Give the next frame; returns the selections of the frames that it decides, first to last.

        Args:
            features: (N, D) or (1, N, D) floating point: the tokens of the frame.
            grid: (rows, columns) of its token grid, for parts that read positions.
            saliency: (N,) as in `scope_core.select`.
            signals: Named tensors of this frame, as in `scope_core.select`.

        Returns:
            One `Selection` for each decided frame, with token numbers inside that frame; empty while `delay` frames
            have not followed.

        Raises:
            TokensError: a shape or dtype does not fit, or the stream is closed.
            BudgetError: the frame has fewer tokens than the budget keeps of it.
            SpecError: the budget does not say how many tokens one frame keeps.
        """
        if self._closed:
            raise TokensError("the stream is closed; begin another video with Pruner.stream()")
        tokens = VisualTokens.of(
            features,
            grid=None if grid is None else (1, *grid),
            saliency=saliency,
            signals=signals,
        )
        if tokens.shape[0] != 1:
            raise TokensError(f"features hold {tokens.shape[0]} frames; push one frame at a time, (N, D)")
        if self._held and self._whole and tokens.shape != self._held[-1].shape:
            raise TokensError(
                f"frame {self.frames} has shape {tuple(tokens.shape[1:])}, those before it "
                f"{tuple(self._held[-1].shape[1:])}; with `partition: video`, frames of a stream are of one size: use "
                f"`partition: frame`, which selects each by itself"
            )
        self._check_count(tokens.shape[1])
        self._held.append(tokens)
        self.frames += 1
        return self._decide(self.frames - self.delay)

    def close(self) -> list[Selection]:
        """End the video; returns the selections of the frames that are not decided yet, which may be none."""
        self._closed = True
        found = self._decide(self.frames)
        self._held.clear()
        return found

    def _check_count(self, size: int) -> None:
        """Refuse a budget by which what a frame keeps depends on the number of frames."""
        if size in self._counted:
            return
        budget, counts = self._stage.parts["budget"], set[float]()
        for frames in _FRAMES:
            plan = self._stage.plan(Layout((ImageLayout((size,) * frames, frames=(1,) * frames),)))
            counts |= {plan.total / frames} if len(plan.counts) == 1 else {*plan.counts}
        # a share of a video may come to the same count for some numbers of frames, and be rounded for others
        if len(counts) > 1 or getattr(budget.spec, "per", "frame") != "frame":
            raise SpecError(
                f"budget {budget} divides a count among the frames of a video, whose number a stream does not know; "
                f"say how many each frame keeps, e.g. `budget: {{name: tokens, keep: 32, per: frame}}`"
            )
        self._counted.add(size)

    def _decide(self, stop: int) -> list[Selection]:
        """The selections of the frames that are not decided yet, up to ``stop``."""
        found = []
        while self._decided < stop:
            start = max(self._decided - self._before, 0)
            window = self._held[start - self._first : self._decided + self.delay + 1 - self._first]
            selection = self._stage.prune(window[0] if len(window) == 1 else _joined(window))
            found.append(selection if len(window) == 1 else _of_frame(selection, window, self._decided - start))
            self._decided += 1
        spare = max(self._decided - self._before, 0) - self._first
        del self._held[:spare]
        self._first += spare
        return found


def _by_frame(stage: Stage) -> bool:
    """True if each frame of a video is selected by itself."""
    groups = stage.parts["partition"].split(Layout((ImageLayout((2, 2, 2), frames=(1, 1, 1)),)))
    return [[(span.start, span.stop) for span in group] for group in groups] == [[(0, 2)], [(2, 4)], [(4, 6)]]


def _reach(stages: tuple[Stage, ...]) -> tuple[int, int]:
    """Frames before and after its own that a frame's selection reads.

    Raises:
        SpecError: it reads the whole video.
    """
    stage = stages[0]
    if len(stages) > 1:
        raise SpecError(
            f"{stage.label} has a stage at {stages[1].spec.at}, inside the language model, which sees a whole prompt; "
            f"a stream prunes before it: omit `then`"
        )
    if _by_frame(stage):
        return 0, 0
    partition, selector, merger = (stage.parts[kind] for kind in ("partition", "selector", "merger"))
    instead = "; to select each frame by itself, use `partition: frame` and a budget `per: frame`"
    if stage.parts["constraints"]:
        raise SpecError(f"constraint {stage.parts['constraints'][0]} is one on the whole video{instead}")
    if merger.mixes:
        raise SpecError(f"merger {merger} may merge tokens of all frames of a video{instead}")
    if stage.parts["budget"].adaptive:
        raise SpecError(f"budget {stage.parts['budget']} depends on all frames of a video{instead}")
    reach = selector.reach
    if reach is None:
        blamed = _blamed(selector)
        raise SpecError(
            f"{blamed.kind} {blamed} with partition {partition} needs the whole video, so no frame can be decided "
            f"before the last{instead}"
        )
    return int(reach[0]), int(reach[1])


def _blamed(selector: Any) -> Any:
    """The innermost part that does not say how many frames it reads."""
    inner = [part for part in selector.inner if part.kind in ("selector", "saliency") and part.reach is None]
    return _blamed(inner[0]) if inner else selector


def _joined(window: list[VisualTokens]) -> VisualTokens:
    """Frames as one video."""

    def line(name: str) -> Tensor:
        return torch.cat([getattr(frame, name) for frame in window], 1)

    def signal(name: str, tensor: Tensor) -> Tensor:
        axis = token_axis(name, tuple(tensor.shape), *window[0].shape[:2])
        return tensor if axis is None else torch.cat([frame.signal(name) for frame in window], axis)

    numbers = torch.arange(len(window), device=window[0].device).repeat_interleave(window[0].shape[1])[None]
    fields = {name: line(name) for name in ("features", "valid", "required", "row", "col", "image")}
    return replace(
        window[0],
        **fields,
        tile=numbers,
        frame=numbers,
        signals=window[0].signals.map(signal),
        saliency=None if window[0].saliency is None else line("saliency"),
    )


def _of_frame(selection: Selection, window: list[VisualTokens], number: int) -> Selection:
    """The picks of one frame of a window, with token numbers inside that frame."""
    tokens, first = window[number], number * window[number].shape[1]
    mine = (selection.picks >= first) & (selection.picks < first + tokens.shape[1])
    picks, gains, scores = ((column[mine][None]) for column in (selection.picks, selection.gains, selection.scores))
    stage = None if selection.stage is None else selection.stage[mine][None]
    return replace(selection, picks=picks - first, gains=gains, scores=scores, stage=stage, tokens=tokens)
