"""`VisualTokens`: the candidate tokens of a call, and everything that a part may read about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from scope_core.display import card, counted, facts_html
from scope_core.errors import TokensError, listed
from scope_core.structures.copies import changed
from scope_core.structures.plain import (
    all_finite,
    check_floating,
    check_mask,
    check_plain,
    converted,
    unit_rows,
)
from scope_core.structures.planes import default_planes
from scope_core.structures.regrouping import narrowed, regrouped
from scope_core.structures.signals import FAMILIES, Signals, batched, parse_signal, token_axis

_FOLLOWS = {"n_valid": {"valid"}, "n_required": {"valid", "required"}, "moving": {"frame"}}
"""The fields that each computed property follows from."""
_CHECKS = {"saliency": check_floating, "time": check_floating, "valid": check_mask, "required": check_mask}


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """The candidate visual tokens, in groups that are selected together. Made by `VisualTokens.of`.

    Attributes:
        features: (B, N, D) floating point, taken at the spec's interception point ``at``.
        valid: (B, N) bool; False marks padding: never picked, never counted in coverage.
        required: (B, N) bool; tokens that must be kept.
        row: (B, N) int64 row in the token grid of the image's tile, -1 for tokens outside the grid.
        col: (B, N) int64 column in the same grid.
        tile: (B, N) int64 index of the tile (crop) within the image, or within the video: each frame has its own.
        image: (B, N) int64 index of the image or video within the call; parts see -1 for padding.
        signals: Named tensors, each computed when first read (see `scope_core.structures.signals`).
        saliency: (B, N) saliency that the caller gave; replaces that of a source that reads signals. Usually None.
        frame: (B, N) int64 index of the frame within the video; 0 for images, -1 for padding.
        time: (B, N) floating point: seconds from the start of the video at which the token's frame begins, NaN where
            unknown; None if no time is known.
    """

    features: Tensor
    valid: Tensor
    required: Tensor
    row: Tensor
    col: Tensor
    tile: Tensor
    image: Tensor
    signals: Signals
    saliency: Tensor | None = None
    frame: Tensor = None  # type: ignore[assignment]  # made in __post_init__
    time: Tensor | None = None

    def __post_init__(self) -> None:
        if self.frame is None:
            object.__setattr__(self, "frame", torch.zeros_like(self.tile).masked_fill(self.tile < 0, -1))

    @classmethod
    def of(
        cls,
        features: Tensor,
        *,
        valid: Tensor | None = None,
        required: Tensor | None = None,
        grid: tuple[int, ...] | None = None,
        row: Tensor | None = None,
        col: Tensor | None = None,
        tile: Tensor | None = None,
        image: Tensor | None = None,
        frame: Tensor | None = None,
        time: Tensor | None = None,
        signals: Mapping[str, Tensor | Callable[[], Tensor]] | None = None,
        saliency: Tensor | None = None,
    ) -> VisualTokens:
        """Tokens from bare tensors; fields that are left out get defaults.

        Args:
            features: (B, N, D) or (N, D) floating point; with (N, D), give (N,) for the (B, N) tensors below.
            valid: (B, N) bool, False for padding; all valid if left out.
            required: (B, N) bool, True for tokens that must be kept.
            grid: (rows, columns) of a row-major grid with rows * columns == N; gives ``row`` and ``col``. For videos
                (frames, rows, columns), frame by frame; gives ``tile`` and ``frame``, too.
            row: (B, N) int64 row of each token, for other grids.
            col: (B, N) int64 column of each token, for other grids.
            tile: (B, N) int64 tile of each token within its image.
            image: (B, N) int64 image of each token; one image per row if left out.
            frame: (B, N) int64 frame of each token within its video; 0 if left out.
            time: (B, N) floating point: seconds at which each token's frame begins, NaN where unknown.
            signals: Named tensors, or functions that make them when first read.
            saliency: (B, N) floating point; higher means keep.

        Raises:
            TokensError: a shape, dtype or device does not fit, with the field's name.
        """
        if isinstance(features, Tensor):
            check_plain("features", features)
        if not isinstance(features, Tensor) or features.dim() not in (2, 3):
            given = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise TokensError(f"features must be a (B, N, D) or (N, D) tensor, not {given}")
        single = features.dim() == 2
        features = features[None] if single else features
        check_floating("features", features)
        if features.shape[1] == 0 or features.shape[2] == 0:
            raise TokensError(f"features of shape {tuple(features.shape)} are empty; N and D must be at least 1")
        shape, device = features.shape[:2], features.device

        def plane(name: str, value: Tensor) -> Tensor:
            if not isinstance(value, Tensor):
                raise TokensError(
                    f"{name} must be a tensor, not {type(value).__name__}; convert with torch.as_tensor()"
                )
            if value.device != device:
                raise TokensError(f"{name} is on {value.device}, features on {device}; move one of them")
            check = _CHECKS.get(name, check_plain)
            check(name, value)
            value = value[None] if single and value.dim() == 1 else value
            if tuple(value.shape) != tuple(shape):
                raise TokensError(f"{name} has shape {tuple(value.shape)}; expected (B, N) = {tuple(shape)}")
            return value

        usual = default_planes((shape[0], shape[1]), grid, device)
        named = Signals(signals)
        if single:
            named = named.map(batched)
        # what follows from fields that were left out is known without reading tensors
        known: dict[str, Any] = {"n_valid": (shape[1],) * shape[0]} if valid is None else {}
        known |= {"n_required": (0,) * shape[0]} if required is None else {}
        known |= {"moving": False} if frame is None and (grid is None or len(grid) == 2) else {}
        return cls(
            features=features,
            valid=usual.valid if valid is None else plane("valid", valid).bool(),
            required=usual.required if required is None else plane("required", required).bool(),
            row=usual.row if row is None else plane("row", row),
            col=usual.col if col is None else plane("col", col),
            tile=usual.frame if tile is None else plane("tile", tile),
            image=usual.image if image is None else plane("image", image),
            signals=named,
            saliency=None if saliency is None else plane("saliency", saliency),
            frame=usual.frame if frame is None else plane("frame", frame),
            time=None if time is None else plane("time", time),
        )._known(**known)

    def __repr__(self) -> str:
        batch, count, width = self.shape
        return f"VisualTokens({counted(batch, 'image')} x {count} tokens x {width}, {_kind(self.features)})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        count, valid = self.valid.numel(), int(self.valid.sum())
        grid = f"{int(self.row.max()) + 1} x {int(self.col.max()) + 1}" if int(self.row.max()) >= 0 else "none"
        tiles = int(self.tile.max()) + 1
        facts = [
            ("features", f"{self.shape} {_kind(self.features)}"),
            ("valid", f"{valid} of {count}" if valid < count else ""),
            ("positions", f"{grid}, {tiles} tiles" if tiles > 1 else grid),
            ("frames", str(int(self.frame.max()) + 1) if int(self.frame.max()) > 0 else ""),
            ("signals", listed(self.signals)),
        ]
        return card("VisualTokens", facts_html(facts), aside=counted(self.shape[0], "image"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, N, D)."""
        batch, count, width = self.features.shape
        return batch, count, width

    @property
    def device(self) -> torch.device:
        """The device of the features."""
        return self.features.device

    @cached_property
    def n_valid(self) -> tuple[int, ...]:
        """The valid tokens of each group."""
        return tuple(self.valid.sum(1).tolist())

    @cached_property
    def n_required(self) -> tuple[int, ...]:
        """The valid tokens of each group that must be kept."""
        if not bool(self.required.any()):
            return (0,) * len(self.required)
        return tuple((self.required & self.valid).sum(1).tolist())

    @cached_property
    def moving(self) -> bool:
        """True if some tokens are of a frame after a video's first."""
        return bool(self.frame.numel()) and int(self.frame.amax()) > 0

    @property
    def padded(self) -> bool:
        """True if some tokens are not valid."""
        return sum(self.n_valid) < self.valid.numel()

    def signal(self, name: str) -> Tensor:
        """The signal ``name``; its shape is checked against these tokens.

        Raises:
            SignalError: it was not given.
            TokensError: its shape or dtype does not fit.
        """
        tensor = self.signals[name]
        check = check_floating if parse_signal(name)[0] in FAMILIES else check_plain
        check(f"signal '{name}'", tensor)
        token_axis(name, tuple(tensor.shape), *self.shape[:2])
        return tensor

    def unit(self) -> Tensor:
        """(B, N, D) features scaled to length 1; zero vectors stay zero."""
        return unit_rows(self.features)

    def to_dtype(self, dtype: torch.dtype | None) -> VisualTokens:
        """These tokens, detached, with features, saliency and floating-point signals in ``dtype``, if given."""
        given = [self.features, *(tensor for _, tensor in self.signals.computed())]
        if len(given) == 1 + len(self.signals):
            given += [] if self.saliency is None else [self.saliency]
            if all(isinstance(one, Tensor) and one.dtype == dtype and not one.requires_grad for one in given):
                return self

        def cast(name: str, tensor: Tensor, valid: Tensor | None = None) -> Tensor:
            tensor = tensor.detach()
            return converted(name, tensor, dtype, valid) if tensor.is_floating_point() else tensor

        return self.changed(
            features=cast("features", self.features, self.valid),
            saliency=None if self.saliency is None else cast("saliency", self.saliency, self.valid),
            signals=self.signals.map(lambda name, tensor: cast(f"signal '{name}'", tensor)),
        )

    def changed(self, **fields: Any) -> VisualTokens:
        """These tokens with other fields, as by `dataclasses.replace`; what is known of the rest stays known."""
        return changed(self, _FOLLOWS, fields)

    def _known(self, **properties: Any) -> VisualTokens:
        """These tokens, whose computed properties are known to have these values."""
        self.__dict__.update(properties)
        return self

    def without(self, mask: Tensor) -> VisualTokens:
        """These tokens with those in ``mask`` (B, N) marked as not valid."""
        left, none = ~mask, self.__dict__.get("n_required", (1,))
        tokens = self.changed(valid=self.valid & left, required=self.required & left)
        return tokens if any(none) else tokens._known(n_required=none)

    def require(self, mask: Tensor) -> VisualTokens:
        """These tokens with the valid ones in ``mask`` (B, N) marked as required."""
        return self.changed(required=self.required | (mask & self.valid))

    def regroup(self, index: Tensor) -> VisualTokens:
        """The same tokens in other groups.

        Args:
            index: (G, M) int64 into the flattened (B * N) tokens, -1 for padding.

        Returns:
            Tokens of shape (G, M, D); padding is not valid. Signals without a token axis are those of the image of each
            group's first token.
        """
        known: dict[str, Any] = {}
        if not any(self.__dict__.get("n_required", (1,))):
            known["n_required"] = (0,) * index.shape[0]
        if self.__dict__.get("moving") is False:
            known["moving"] = False
        fields, full = regrouped(self.__dict__, index)
        if full and not self.padded:
            known["n_valid"] = (index.shape[1],) * index.shape[0]
        return VisualTokens(**fields)._known(**known)

    def only(self, group: int, count: int, groups: int = 1) -> VisualTokens:
        """The first ``count`` tokens of one group, or of several from ``group`` on. Copies nothing."""
        if (group, count, groups) == (0, self.shape[1], self.shape[0]):
            return self
        return VisualTokens(**narrowed(self.__dict__, group, count, groups))

    def frames(self) -> Tensor:
        """(B, N) int64: the frame of each token, numbered from 0 in each group by video and time; -1 for padding.

        Frames of a video, or images of a group that holds several: what is a frame does not depend on how it was given.
        """
        numbers = torch.full_like(self.frame, -1)
        for line, image, frame, valid in zip(numbers, self.image, self.frame, self.valid, strict=True):
            number = frame[valid]
            if len(number):
                number = number - number.amin()
                number = number + image[valid] * (number.amax() + 1)  # in the order of images, then frames
                step = number.diff()
                ordered = bool((step >= 0).all())  # as nearly always; sorting takes fifty times as long
                line[valid] = (
                    pad(step > 0, (1, 0)).cumsum(0) if ordered else torch.unique(number, return_inverse=True)[1]
                )
        return numbers

    def name_of(self, group: int, token: int | None = None) -> str:
        """The name of a group or token in messages, e.g. ``"image 1, tile 0, token 37"``."""
        where = int(token) if token is not None else int((self.image[group] >= 0).int().argmax())
        image, tile, frame = (int(plane[group, where]) for plane in (self.image, self.tile, self.frame))
        moving = bool(((self.frame > 0) & (self.image == image)).any())
        text = f"video {image}, frame {frame}" if moving else f"image {image}"
        if not moving and bool((self.tile > 0).any()):
            text += f", tile {tile}"
        return text if token is None else f"{text}, token {where}"

    def check_finite(self, name: str, tensor: Tensor) -> None:
        """Refuse NaN and inf among valid tokens.

        Args:
            name: Name of the tensor in the message, e.g. ``"features"``.
            tensor: (B, N) or (B, N, D).

        Raises:
            TokensError: a valid token has NaN or inf; names the first one.
        """
        if all_finite(tensor):
            return
        bad = ~torch.isfinite(tensor)
        bad = (bad.any(-1) if bad.dim() == 3 else bad) & self.valid
        if bool(bad.any()):
            group, token = (int(i) for i in bad.nonzero()[0])
            value = tensor[group, token].flatten()
            value = value[~torch.isfinite(value)][0]
            raise TokensError(
                f"{name} of {self.name_of(group, token)} is {float(value)} ({int(bad.sum())} such tokens); selection "
                f"needs finite numbers: look for overflow in half precision (or of float64 in float32), or mask those "
                f"tokens as not valid"
            )


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} on {tensor.device}"
