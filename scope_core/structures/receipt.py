"""Receipts: reports of what was pruned in a call, for each image, as data and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scope_core.display import card, counted, facts_html, shortened, table_html
from scope_core.errors import TokensError
from scope_core.frames import flattened, frame
from scope_core.structures.marks import maps_html
from scope_core.structures.overlay import View, page_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.structures.selection import Selection

THETAS = (0.7, 0.8, 0.9)
"""Thresholds of theta-coverage that receipts report: several, since one alone saturates on some features."""


@dataclass(frozen=True)
class ImageReceipt:
    """The counts of one image or video.

    Attributes:
        prompt: Index of the prompt (batch row) that the image belongs to.
        tokens: Candidate tokens.
        kept: Tokens that remain.
        separators: Newline tokens that remain beside them.
        patches: Patches with those of padding, as tables in papers count them; None if papers do not.
        frames: Frames of a video, in a later stage those that have tokens left; 0 for an image.
    """

    prompt: int
    tokens: int
    kept: int
    separators: int = 0
    patches: int | None = None
    frames: int = 0


@dataclass(frozen=True)
class Receipt:
    """Report of what one call pruned. Falsy while nothing has been pruned.

    Attributes:
        spec: Label of the pruner's spec.
        model: Model class, or ``"bare tensors"``.
        adapter: Name of the adapter; empty for bare tensors.
        at: Interception point.
        images: One entry per image, in placeholder order.
        signals: Signals that were captured.
        encode_ms: Wall time of the vision tower and projector, milliseconds; None if not measured.
        select_ms: Wall time of selection, milliseconds.
        selection: The selection itself, one row per image.
        calls: Number of calls pruned since attaching, this one included.
        later: Receipts of later stages, inside the language model, in order.
        notes: Sentences on what the model made of the spec: layers that stand for others, merging after the projector.
        options: The spec's long form, with every option.
        unpruned: The reason why images of the latest call were not pruned; empty if they were.
    """

    spec: str
    model: str
    adapter: str = ""
    at: str = ""
    images: tuple[ImageReceipt, ...] = ()
    signals: tuple[str, ...] = ()
    encode_ms: float | None = None
    select_ms: float = 0.0
    selection: Selection | None = field(default=None, repr=False, compare=False)
    calls: int = 0
    later: tuple[Receipt, ...] = ()
    notes: tuple[str, ...] = ()
    unpruned: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __repr__(self) -> str:
        if not self:
            return shortened(f"Receipt({self.spec}: nothing pruned)")
        images = counted(len(self.images), "image")
        return shortened(f"Receipt({self.spec} at {self.at}: {self.tokens} -> {self.kept} tokens of {images})")

    def _repr_html_(self) -> str:
        """What a notebook shows: the counts of each image, and small maps of what is kept."""
        if not self:
            return card(str(self))
        rows = [
            (number, one.prompt, one.tokens, one.kept, *(f"{share:.0%}" for share in cover.values()))
            for number, (one, cover) in enumerate(zip(self.images, self.coverage(), strict=False))
        ]
        columns = ("image", "prompt", "tokens", "kept", *(f"coverage {theta}" for theta in THETAS))
        times = f"selection {self.select_ms:.1f} ms"
        times += "" if self.encode_ms is None else f", vision tower {self.encode_ms:.1f} ms"
        facts = [("signals", ", ".join(self.signals)), ("times", times), ("notes", "; ".join(self.notes))]
        maps = "" if self.selection is None else maps_html(self.selection.marks)
        later = "".join(stage._repr_html_() for stage in self.later)
        aside = f"{self.tokens} -> {self.kept} visual tokens ({self.kept / max(self.tokens, 1):.1%} kept)"
        title = f"{self.spec} on {self.model} at {self.at}"
        return card(title, maps, table_html(columns, rows), facts_html(facts), later, aside=aside)

    def __bool__(self) -> bool:
        return bool(self.images)

    @property
    def tokens(self) -> int:
        """Candidate tokens of all images."""
        return sum(image.tokens for image in self.images)

    @property
    def kept(self) -> int:
        """Kept tokens of all images."""
        return sum(image.kept for image in self.images)

    def coverage(self) -> list[dict[str, float]]:
        """theta-coverage of each image at each of `THETAS`; computed by each call."""
        if self.selection is None:
            return []
        return [dict(zip(map(str, THETAS), row, strict=True)) for row in self.selection.coverage(THETAS).tolist()]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the picks; ``selection.to_dict()`` has these."""
        return {
            "spec": self.spec,
            "options": dict(self.options),
            "model": self.model,
            "adapter": self.adapter,
            "at": self.at,
            "tokens": self.tokens,
            "kept": self.kept,
            "images": [
                {
                    "prompt": i.prompt,
                    "tokens": i.tokens,
                    "kept": i.kept,
                    "separators": i.separators,
                    "patches": i.patches,
                    **({"frames": i.frames} if i.frames else {}),
                    "theta_coverage": c,
                }
                for i, c in zip(self.images, self.coverage(), strict=True)
            ],
            "signals": list(self.signals),
            "encode_ms": self.encode_ms,
            "select_ms": self.select_ms,
            "calls": self.calls,
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"unpruned": self.unpruned} if self.unpruned else {}),
            **({"later": [receipt.to_dict() for receipt in self.later]} if self.later else {}),
        }

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame``: one row for each image and stage, with every option of the spec as a column.

        ``pandas.concat([one.to_frame(), other.to_frame()])`` joins several.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return frame(row for stage in (self, *self.later) for row in stage._rows())

    def _rows(self) -> list[dict[str, Any]]:
        facts = {name: getattr(self, name) for name in ("spec", "model", "adapter", "at")}
        times = {"encode_ms": self.encode_ms, "select_ms": self.select_ms}
        options = flattened({key: value for key, value in self.options.items() if key not in ("at", "then")})
        return [
            {
                **facts,
                "image": number,
                **{name: getattr(image, name) for name in ("prompt", "tokens", "kept", "separators")},
                **{f"coverage {theta}": share for theta, share in cover.items()},
                **times,
                **options,
            }
            for number, (image, cover) in enumerate(zip(self.images, self.coverage(), strict=True))
        ]

    def to_json(self) -> str:
        """`to_dict` as a JSON text."""
        return json.dumps(self.to_dict())

    def show(self, images: Any = None, *, view: View | None = None, order: bool = False) -> Image:
        """The overlay of each stage: kept patches in colour, merged ones dim, dropped ones dark and grey.

        Args:
            images: The call's images, in placeholder order; see `Selection.show`.
            view: Function from an image to what the model reads of it, e.g. ``loaded.view``.
            order: True to colour outlines by the order of the picks.

        Raises:
            TokensError: nothing was pruned, tokens have no places, or the images do not go with the selection.
            ZooError: an image cannot be read.
        """
        stages = [stage for stage in (self, *self.later) if stage.selection is not None]
        marks = {f"{stage.spec} at {stage.at}": stage.selection.marks for stage in stages if stage.selection}
        if not marks:
            raise TokensError(f"there is nothing to draw: {self}")
        return page_of(images, marks, view=view, order=order)

    def __str__(self) -> str:
        if not self:
            why = f"in the latest call: {self.unpruned}" if self.unpruned else "yet (there was no call with images)"
            return f"{self.spec} on {self.model}: nothing pruned {why}"
        encode = "" if self.encode_ms is None else f", vision tower {self.encode_ms:.1f} ms"
        lines = [
            f"{self.spec} on {self.model} at '{self.at}': {self.tokens} -> {self.kept} visual tokens "
            f"({self.kept / max(self.tokens, 1):.1%} kept); selection {self.select_ms:.1f} ms{encode}"
        ]
        for number, (image, cover) in enumerate(zip(self.images, self.coverage(), strict=True)):
            thetas = ", ".join(f"{share:.0%} at {theta}" for theta, share in cover.items())
            extra = f" + {image.separators} newline" if image.separators else ""
            of = f" (of {image.patches} patches)" if image.patches is not None else ""
            item = f"video {number} of {counted(image.frames, 'frame')}" if image.frames else f"image {number}"
            lines.append(
                f"  {item} (prompt {image.prompt}): {image.tokens}{of} -> {image.kept}{extra}, theta-coverage {thetas}"
            )
        if self.signals:
            lines.append(f"  signals: {', '.join(self.signals)}")
        lines += [f"  {note}" for note in self.notes]
        lines += [line for receipt in self.later for line in str(receipt).splitlines()]
        return "\n".join(lines)
