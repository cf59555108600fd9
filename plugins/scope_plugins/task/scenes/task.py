"""The scenes task: emoji on photographs, asked about in natural language, with answers known by construction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Annotated, Literal, overload

from pydantic import Field

from scope_core.parts import ComponentSpec
from scope_core.tasks import Example, Task
from scope_plugins.task.scenes import frozen
from scope_plugins.task.scenes.compose import plan
from scope_plugins.task.scenes.photographs import Photograph, photographs, read_photographs
from scope_plugins.task.scenes.questions import Asker, chosen, everything
from scope_plugins.task.scenes.sprites import SHIPPED, Sprites, read_sprites


class ScenesSpec(ComponentSpec):
    """Scenes over photographs. The ``test`` split is frozen and shipped; the options act on the drawn ones."""

    name: Literal["scenes"] = "scenes"
    sprites: str | None = None
    """Folder of other sprites, ``CLASS-NUMBER.png`` or folders of such; those shipped if left out."""
    photographs: str | None = None
    """Folder of further photographs, added to those of the split."""
    wording: Literal["test", "short", "varied"] = "test"
    """``test`` asks as the test set does."""
    ask: Literal["chosen", "everything"] = "chosen"
    """About twelve questions a scene, or all that it allows, to train on."""
    vary: bool = False
    """Also vary colours, sharpness and noise, to train on."""
    scenes: Annotated[int, Field(ge=1)] = 400
    """How many a drawn split has."""


class Scenes(Task[ScenesSpec]):
    """Existence (POPE's three splits), count, quadrant, left or right, which is bigger, and what the background is."""

    max_new_tokens = 3

    @property
    def splits(self) -> tuple[str, ...]:
        """The frozen one first."""
        return ("test", "validation", "train")

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Example]:
        """The scenes of a split; no photograph is in two of them.

        Args:
            split: ``test`` is read from the package. The others are drawn: scene i from the text ``SPLIT:SEED+i``.
            limit: At most so many.
            seed: Of the drawn splits.

        Raises:
            TaskError: there is no such split, or its files cannot be read.
            MissingDependencyError: the photographs of a drawn split are not installed.
        """
        self.check_split(split)
        if split == "test":
            return frozen.read(limit)
        spec = self.spec
        sprites = read_sprites(Path(spec.sprites) if spec.sprites else SHIPPED)
        found = [*photographs(split), *(read_photographs(Path(spec.photographs)) if spec.photographs else ())]
        count = spec.scenes if limit is None else min(limit, spec.scenes)
        return Drawn(spec, [f"{split}:{seed + index}" for index in range(count)], found, sprites)


class Drawn(Sequence[Example]):
    """Scenes that are drawn when one is asked for.

    Args:
        spec: How to draw and ask.
        seeds: One per scene.
        photographs: Of the split.
        sprites: By class.
    """

    def __init__(
        self, spec: ScenesSpec, seeds: Sequence[str], photographs: Sequence[Photograph], sprites: Sprites
    ) -> None:
        self.spec, self.seeds, self.photographs, self.sprites = spec, seeds, photographs, sprites

    def __len__(self) -> int:
        return len(self.seeds)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Drawn: ...
    def __getitem__(self, index: int | slice) -> Example | Drawn:
        if isinstance(index, slice):
            return Drawn(self.spec, self.seeds[index], self.photographs, self.sprites)
        seed = self.seeds[index]
        scene = plan(seed, self.photographs, varied=self.spec.vary)
        image, boxes = scene.draw(self.sprites)
        asker = Asker(seed, boxes, scene.photograph, Random(f"{seed}:{self.spec.wording}"), self.spec.wording)  # noqa: S311
        questions = chosen(asker) if self.spec.ask == "chosen" else everything(asker)
        # Scenes of one photograph are not independent, but a drawn split has few: clustered by scene, as papers do.
        return Example(seed, image.copy, questions, boxes, group=seed)
