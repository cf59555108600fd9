"""A single-file plugin: towers and a model that need no weights, for `scope --plugin fake_zoo.py ...`.

The towers' features are the pixels of real photographs' patches, and their CLS attention is local contrast.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import scope_core as scope
from scope_core.adapters import Declaration, LoadedModel, Offer, ZooEntry
from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl

GRID, PATCH = 12, 14
SIDE = GRID * PATCH


class FakeTower:
    def __init__(self, *, cls: bool = True, points: tuple[str, ...] = ("vision",), grid: bool = True) -> None:
        self.cls, self.points, self.grid = cls, points, grid
        self.calls: list[tuple[str, frozenset[str]]] = []

    @property
    def declaration(self) -> Declaration:
        offers = (Offer("vision.cls_attention", 4),) if self.cls else (Offer("vision.received_attention", 4),)
        return Declaration(
            model="FakeTower",
            points=dict.fromkeys(self.points, "patch pixels"),
            offers=offers,
            reasons={"vision.cls_attention": "it has no CLS token"},
            has_cls=self.cls,
        )

    def view(self, image: Any) -> Any:
        from PIL import ImageOps

        return ImageOps.fit(image, (SIDE, SIDE))

    def encode(self, images: Sequence[Any], *, at: str, needs: frozenset[str]) -> scope.VisualTokens:
        import torch

        LOG.append((at, needs))
        raw = torch.stack([torch.frombuffer(bytearray(self.view(i).tobytes()), dtype=torch.uint8) for i in images])
        pixels = raw.view(-1, GRID, PATCH, GRID, PATCH, 3).permute(0, 1, 3, 5, 2, 4).float() / 255
        flat = pixels.reshape(len(images), GRID * GRID, -1)
        contrast = flat.std(2) + 0.01
        signals = dict.fromkeys(needs, contrast[:, None])
        grid = (GRID, GRID) if self.grid else None
        return scope.VisualTokens.of(flat - flat.mean((1, 2), keepdim=True), grid=grid, signals=signals)


LOG: list[tuple[str, frozenset[str]]] = []


def tower(source: str, **options: Any) -> FakeTower:
    return FakeTower(**options)


def model(source: str, *, with_view: bool = True, longest: int | None = None) -> LoadedModel:
    import torch
    from adapters.models import PATCHES, PLACEHOLDER, llava
    from PIL import ImageOps

    network = llava()

    def view(image: Any) -> Any:
        return ImageOps.fit(image, (28, 28))

    def inputs(images: Sequence[Any], question: str) -> dict[str, Any]:
        ids = [1, *[PLACEHOLDER] * (PATCHES * len(images)), *(3 + byte % 100 for byte in question.encode())]
        raw = torch.stack([torch.frombuffer(bytearray(view(i).tobytes()), dtype=torch.uint8) for i in images])
        pixels = raw.view(-1, 28, 28, 3).permute(0, 3, 1, 2).float() / 255
        return {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids)), "pixel_values": pixels}

    return LoadedModel(
        model=network,
        inputs=inputs,
        decode=lambda ids: " ".join(map(str, ids.tolist())),
        name="fake-model",
        notes="its weights are random",
        view=view if with_view else None,
        longest=longest,
    )


def chatty(source: str) -> FakeTower:
    logger = logging.getLogger(f"{__name__}.inner")
    logger.debug("nobody wants to know")
    logger.info("downloading a tower (%d MB)", 7)
    logger.warning("the cached weights are stale")
    return FakeTower()


def stored(source: str, *, cache_dir: Any = None) -> FakeTower:
    LOG.append((str(cache_dir), frozenset()))
    return FakeTower()


def is_stored(source: str, *, cache_dir: Any = None) -> bool:
    return cache_dir is not None


def broken(source: str) -> Any:
    raise scope.ZooError(f"'{source}' is out of reach; run `scope models fetch fake-broken` elsewhere")


def buggy(source: str) -> Any:
    raise RuntimeError("the author's mistake")


def interrupted(source: str) -> Any:
    raise KeyboardInterrupt


def has_weights(source: str, **options: Any) -> bool:
    return source == "memory"


class HalfSpec(ComponentSpec):
    """Every second token."""

    name: Literal["acme.half"] = "acme.half"
    offset: int = 0
    """Which half, [0] or [1]."""


class Half(SaliencySource[HalfSpec]):
    """``a_j = j mod 2``."""

    def score(self, tokens: scope.VisualTokens) -> Any:
        import torch

        return (torch.arange(tokens.shape[1]) % 2).float().expand(tokens.shape[:2])


@hookimpl
def scope_saliency_sources() -> Iterable[Entry]:
    yield Entry(HalfSpec, Half, "every second token [odd ones]", paper="Acme 2026")


@hookimpl
def scope_zoo() -> Iterable[ZooEntry]:
    def entry(name: str, kind: str, function: str, source: str = "memory", **more: Any) -> ZooEntry:
        return ZooEntry(name, kind, f"{__name__}:{function}", source, f"a fake {kind}", **more)

    yield entry("fake-tower", "tower", "tower", recipe="scope@9", cached=f"{__name__}:has_weights", points=("vision",))
    yield entry("fake-bare", "tower", "tower", options={"cls": False})
    yield entry("fake-two-points", "tower", "tower", options={"points": ("vision", "acme.deep")}, recipe="scope@9")
    yield entry("fake-no-grid", "tower", "tower", options={"grid": False}, recipe="scope@9")
    yield entry("fake-broken", "tower", "broken", "far away", recipe="scope@9", cached=f"{__name__}:has_weights",
                points=("vision",))  # fmt: skip
    yield entry("fake-buggy", "tower", "buggy", recipe="scope@9")
    yield entry("fake-interrupted", "tower", "interrupted", recipe="scope@9")
    yield entry("fake-needy", "tower", "tower", recipe="scope@9", requires=("no-such-package-anywhere",))
    yield entry("fake-model", "model", "model", recipe="scope@4", adapter="llava")
    yield entry("fake-gone", "model", "broken", "far away", recipe="scope@4", adapter="llava")
    yield entry("fake-chatty", "tower", "chatty", recipe="scope@9")
    yield entry("fake-stored", "tower", "stored", recipe="scope@9", cached=f"{__name__}:is_stored", points=("vision",))
    yield ZooEntry("fake-random", "tower", f"{__name__}:broken", "", "a tower that fetches nothing")
    yield entry("fake-short", "model", "model", recipe="scope@4", adapter="llava", options={"longest": 40})
    yield entry("fake-blind", "model", "model", recipe="scope@4", adapter="llava", options={"with_view": False})
