"""`TowerSubject`: a vision tower alone, which shows selections and answers nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from scope_core import Pruner, Registry, SignalError, VisualTokens
from scope_core.cli.methods import Method, Methods
from scope_demo.recent import Recent
from scope_demo.subject import Chosen, Photo, Subject

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.adapters import Tower

IMAGES = 8
"""Images whose tokens are remembered."""


class TowerSubject(Subject):
    """A vision tower.

    Args:
        name: Its name in the zoo.
        tower: The tower.
        registry: The registry that names are looked up in.
    """

    def __init__(self, name: str, tower: Tower, registry: Registry) -> None:
        super().__init__(name, registry)
        self.tower = tower
        self.tokens: Recent[tuple[VisualTokens, frozenset[str], float]] = Recent(IMAGES)

    def check(self, pruner: Pruner) -> None:
        """Raise a `SignalError` if the pruner needs more than the tower has."""
        found = self.tower.declaration
        left = Methods([Method(pruner.label, pruner.label, pruner)]).narrow(self.name, found.points, found)
        if left:
            raise SignalError(left[0].reason)

    def view(self, image: Image) -> Image | list[Image] | None:
        """The image as the tower sees it."""
        return self.tower.view(image)

    def inside(self, pruner: Pruner) -> bool:
        """False: there is no language model."""
        return False

    def point(self, pruner: Pruner) -> str:
        """The interception point."""
        return pruner.spec.at

    def choose(self, photo: Photo, pruner: Pruner, question: str) -> Chosen:
        """The pruner's selection."""
        self.check(pruner)
        tokens, ms = self._tokens(photo, pruner.spec.at, pruner.needs)
        selection, select_ms = self.timed(photo, pruner, tokens, None)
        judged, _ = self._tokens(photo, next(iter(self.tower.declaration.points)), frozenset())
        return Chosen(selection, select_ms, ms, judged if judged.shape[:2] == tokens.shape[:2] else tokens)

    def _tokens(self, photo: Photo, at: str, needs: frozenset[str]) -> tuple[VisualTokens, float]:
        """The tokens at a point with all signals that any method asked for, and the tower's time in ms."""

        def encode() -> tuple[VisualTokens, frozenset[str], float]:
            wanted = self.needs[at] = self.needs.get(at, frozenset()) | needs
            with self.lock:
                start = time.perf_counter()
                tokens = self.tower.encode([photo.image], at=at, needs=wanted)
            return tokens, wanted, (time.perf_counter() - start) * 1e3

        tokens, _, ms = self.tokens.get((photo.key, at), encode, fresh=lambda found: needs <= found[1])
        return tokens, ms
