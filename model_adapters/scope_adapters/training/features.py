"""The first step of training: render the scenes and store the frozen tower's features."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from scope_adapters.training.settings import TOKENS, WIDTH
from scope_adapters.zoo.towers import dinov2_small
from scope_core import ZooError
from scope_core.tasks import Box, Example

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BATCH = 8
Track: TypeAlias = Callable[[Sequence[int]], Iterable[int]]


@dataclass(frozen=True)
class Features:
    """Encoded scenes.

    Attributes:
        values: (n, TOKENS, WIDTH) float16, on disk.
        objects: Objects of each scene.
    """

    values: npt.NDArray[np.float16]
    objects: tuple[tuple[Box, ...], ...]

    def __len__(self) -> int:
        return len(self.objects)


def encode(examples: Sequence[Example], folder: Path, *, key: str, half: bool = True, track: Track = iter) -> Features:
    """Features of all examples; those on disk are reused.

    Args:
        examples: Examples in a fixed order.
        folder: Folder of ``values.npy`` and ``scenes.json``; 442 kB per scene.
        key: Text that identifies the examples; a folder with another key is refused.
        half: Compute products in bfloat16.
        track: Wraps the remaining indices, to show progress.

    Raises:
        ZooError: the folder holds features of other scenes.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    notes, path = folder / "scenes.json", folder / "values.npy"
    shape = (len(examples), TOKENS, WIDTH)
    done: dict[str, Any] = json.loads(notes.read_text("utf-8")) if notes.is_file() else {"key": key, "objects": []}
    if done["key"] != key:
        raise ZooError(f"{folder} holds the features of {done['key']}, not of {key}; give another folder")
    fresh = not done["objects"]
    values = np.lib.format.open_memmap(path, "w+" if fresh else "r+", np.float16, shape if fresh else None)
    if values.shape != shape:
        raise ZooError(f"{path} has the shape {values.shape}, not {shape}; give another folder")
    tower, pixels = _tower()
    first = len(done["objects"])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        for start in track(range(first, len(examples), BATCH)):
            batch = [examples[index] for index in range(start, min(start + BATCH, len(examples)))]
            hidden = tower(pixels([example.image() for example in batch])).last_hidden_state
            values[start : start + len(batch)] = hidden[:, 1:].float().numpy()
            done["objects"] += [[[b.label, b.x0, b.y0, b.x1, b.y1] for b in example.objects] for example in batch]
            if start // BATCH % 20 == 0 or start + BATCH >= len(examples):
                values.flush()
                scratch = notes.with_suffix(".new")
                scratch.write_text(json.dumps(done), "utf-8")
                scratch.replace(notes)
    objects = tuple(tuple(Box(*box) for box in boxes) for boxes in done["objects"])
    return Features(np.load(path, mmap_mode="r"), objects)


def _tower() -> tuple[Any, Any]:
    """The tower without its last layer, since LLaVA reads the one before, and its preprocessing."""
    tower = dinov2_small("")
    module = tower.module
    module.encoder.layer = module.encoder.layer[:-1]
    module.layernorm = torch.nn.Identity()
    return module, tower.pixels
