"""Visual tokens that a training step keeps, by patterns that favour no pruning method.

With random tokens alone, the decoder would learn their density; with those of objects alone, saliency would be
favoured. So each scene gets one of several patterns, and answers are adapted to the tokens that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from scope_adapters.training.settings import PATCH, SIDE, TOKENS
from scope_core.tasks import Box

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[np.float64]
    Owners: TypeAlias = npt.NDArray[np.int8]

INNER = 0.42
"""A patch belongs to a box if its centre is within this share of the box's sides from the box's centre."""
SEEN, PARTS = 3, 0.3
"""An object is visible if this many of its patches are kept, or this share of them."""


def owners(boxes: Sequence[Box]) -> Owners:
    """(TOKENS,) index of the box of each patch, -1 for the background. Every box has a patch."""
    import numpy as np

    grid = np.full((SIDE, SIDE), -1, np.int8)
    centres = np.arange(SIDE) * PATCH + PATCH / 2
    for index, box in enumerate(boxes):
        x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        rows = np.abs(centres - y) <= max((box.y1 - box.y0) * INNER, PATCH / 2 + 0.01)
        cols = np.abs(centres - x) <= max((box.x1 - box.x0) * INNER, PATCH / 2 + 0.01)
        grid[np.ix_(rows, cols)] = index
    return grid.ravel()


def seen(owner: Owners, kept: npt.NDArray[np.int64] | None, objects: int) -> list[int]:
    """The visibility of each object: 1 if visible, 0 if dropped, -1 if only a small part is kept."""
    import numpy as np

    if kept is None:
        return [1] * objects
    whole = np.bincount(owner[owner >= 0], minlength=objects)
    left = np.bincount(owner[kept][owner[kept] >= 0], minlength=objects)
    return [0 if not n else 1 if n >= min(SEEN, PARTS * all_) else -1 for n, all_ in zip(left, whole, strict=True)]


def subset(
    pattern: str, keep: int, features: Array, owner: Owners, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """(keep,) kept tokens in raster order.

    Args:
        pattern: A name of `PATTERNS`.
        keep: Number of tokens.
        features: (TOKENS, D) features of the tower.
        owner: Result of `owners`.
        random: Random generator.
    """
    import numpy as np

    score = PATTERNS[pattern](features, owner, random)
    return np.sort(np.argpartition(-score, keep - 1)[:keep])


def _uniform(features: Array, owner: Owners, random: np.random.Generator) -> Array:
    return random.random(TOKENS)


def _blocks(features: Array, owner: Owners, random: np.random.Generator) -> Array:
    """Scores that prefer whole rectangles of a coarse grid."""
    import numpy as np

    n = int(random.integers(3, 9))
    side = -(-SIDE // n)
    coarse = np.kron(random.random((n, n)), np.ones((side, side)))[:SIDE, :SIDE].ravel()
    score: Array = coarse + random.random(TOKENS) * 0.05
    return score


def _clusters(features: Array, owner: Owners, random: np.random.Generator) -> Array:
    """Scores that prefer discs around a few places."""
    import numpy as np

    centres = random.random((int(random.integers(2, 9)), 2)) * SIDE
    rows, cols = (axis.ravel() + 0.5 for axis in np.mgrid[:SIDE, :SIDE])
    distance = (rows - centres[:, :1]) ** 2 + (cols - centres[:, 1:]) ** 2
    score: Array = -distance.min(0) + random.random(TOKENS) * 0.5
    return score


def _projection(features: Array, owner: Owners, random: np.random.Generator) -> Array:
    """Scores along a random direction of the features: similar patches get similar scores."""
    import numpy as np

    normal = (features - features.mean(0)) / (features.std(0) + 1e-3)
    score = normal @ random.standard_normal(features.shape[1])
    projected: Array = np.abs(score) if random.random() < 0.5 else score
    return projected


def _objects(features: Array, owner: Owners, random: np.random.Generator) -> Array:
    """Scores that prefer patches of objects; only for the stage that learns to look things up."""
    score: Array = (owner >= 0) + random.random(TOKENS) * 1.05
    return score


PATTERNS: dict[str, Callable[[Array, Owners, np.random.Generator], Array]] = {
    "uniform": _uniform,
    "blocks": _blocks,
    "clusters": _clusters,
    "projection": _projection,
    "objects": _objects,
}
FIRST = ("objects", "objects", "objects", "clusters", "blocks")
LAST = ("blocks", "clusters", "projection", "uniform")
