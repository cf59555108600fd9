"""`Subject`: the model or the tower that the page shows."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scope_core import Layout, Pruner, Registry, ScopeError, Selection, VisualTokens
from scope_demo.recent import Recent

if TYPE_CHECKING:
    from PIL.Image import Image

LENGTH = 48
"""Longest answer, in tokens."""
CHOSEN = 200
"""Selections that are remembered; each keeps its image's tokens."""
TRIAL = 64
"""Tokens that a recipe keeps when it is tried."""


@dataclass(frozen=True, eq=False)
class Photo:
    """An image that a visitor chose.

    Attributes:
        key: The same for the same pixels.
        title: Its name.
        typed: Its name for the command line.
        image: Its pixels, 8-bit RGB, upright.
        questions: Questions to suggest, with the right answer; empty text if unknown.
        notes: What was done to it while it was read.
    """

    key: str
    title: str
    typed: str
    image: Image
    questions: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Chosen:
    """The tokens that a pruner selects.

    Attributes:
        selection: The selection.
        ms: Wall time of selecting, without the tower.
        tower_ms: Wall time of the tower and of collecting signals; None if they cannot be timed by themselves.
        judged: Tokens on whose features coverage is measured: those of the first interception point, if there are as
            many.
    """

    selection: Selection
    ms: float
    tower_ms: float | None
    judged: VisualTokens

    def coverage(self, theta: float) -> float:
        """theta-coverage of the image."""
        return float(replace(self.selection, tokens=self.judged).coverage(theta)[0])


@dataclass(frozen=True)
class Answer:
    """An answer of the model.

    Attributes:
        text: The answer.
        visual_tokens: Visual tokens in the prompt; None if they were not counted.
        prompt_tokens: Tokens of the prompt.
        ms: Wall time of the language model; with ``tower``, of the tower and the selection too.
        tower: True if the image was encoded for this answer alone.
    """

    text: str
    visual_tokens: int | None
    prompt_tokens: int
    ms: float
    tower: bool


class Subject(ABC):
    """Turns images into tokens, and questions into answers; for several threads.

    Args:
        name: Its name in the zoo.
        registry: The registry that names are looked up in.
        notes: What a visitor has to know about it.
    """

    answers = False
    """True if it answers questions."""

    def __init__(self, name: str, registry: Registry, notes: str = "") -> None:
        self.name, self.registry, self.notes = name, registry, notes
        self.lock = threading.RLock()
        self.needs: dict[str, frozenset[str]] = {}
        self.chosen: Recent[Chosen] = Recent(CHOSEN)
        self.warm: Recent[bool] = Recent(CHOSEN)

    @abstractmethod
    def check(self, pruner: Pruner) -> None:
        """Raise a `ScopeError` if the pruner cannot run here."""

    @abstractmethod
    def view(self, image: Image) -> Image | list[Image] | None:
        """The image as the tower sees it, resized and cropped, or its tiles; None if unknown."""

    @abstractmethod
    def choose(self, photo: Photo, pruner: Pruner, question: str) -> Chosen:
        """The pruner's selection; a tower's pass is remembered."""

    @abstractmethod
    def inside(self, pruner: Pruner) -> bool:
        """True if the pruner needs the language model and the question."""

    @abstractmethod
    def point(self, pruner: Pruner) -> str:
        """A key of the point at which the pruner takes tokens."""

    def expect(self, pruner: Pruner) -> None:
        """Collect the signals of this pruner too when an image is encoded, so that one pass of the tower is enough."""
        if not self.inside(pruner):
            point = self.point(pruner)
            self.needs[point] = self.needs.get(point, frozenset()) | pruner.needs

    def answer(self, photo: Photo, pruner: Pruner | None, question: str) -> Answer:
        """The answer with the pruner's tokens, or with all."""
        raise NotImplementedError

    def select(self, photo: Photo, pruner: Pruner, question: str = "") -> Chosen:
        """The pruner's selection, remembered.

        Raises:
            ScopeError: the pruner cannot run here, or the image is too small for its budget.
        """
        asked = question if self.inside(pruner) else ""
        return self.chosen.get((photo.key, pruner.spec, asked), lambda: self.choose(photo, pruner, asked))

    def timed(
        self, photo: Photo, pruner: Pruner, tokens: VisualTokens, layout: Layout | None
    ) -> tuple[Selection, float]:
        """The selection, and its time in ms; the first of a method from an image computes signals and is not timed."""
        spec = pruner.spec
        self.warm.get(
            (photo.key, id(tokens), spec.selector, spec.merger), lambda: pruner.prune(tokens, layout) is not None
        )
        start = time.perf_counter()
        selection = pruner.prune(tokens, layout)
        return selection, (time.perf_counter() - start) * 1e3

    def recipes(self) -> tuple[list[str], dict[str, str]]:
        """Recipes that run here, and the reasons why others do not."""
        fitting: list[str] = []
        others: dict[str, str] = {}
        for record in sorted(self.registry.records("recipe"), key=lambda one: (one.item.control, one.name)):
            try:
                self.check(Pruner(record.name, registry=self.registry, budget=TRIAL))
                fitting.append(record.name)
            except ScopeError as error:
                others[record.name] = str(error)
        return fitting, others
