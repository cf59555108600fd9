"""The scenes task: questions about emoji on photographs, with answers known by construction."""

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
    """Emoji on photographs. The ``test`` split is shipped with the package; options apply to the drawn splits only."""

    name: Literal["scenes"] = "scenes"
    sprites: str | None = None
    """Folder of other sprites, ``CLASS-NUMBER.png`` or folders of such; by default those shipped."""
    photographs: str | None = None
    """Folder of further photographs, added to those of the split."""
    wording: Literal["test", "short", "varied"] = "test"
    """Wording of questions; ``test`` is that of the test split."""
    ask: Literal["chosen", "everything"] = "chosen"
    """About twelve questions per scene, or all that it allows (for training)."""
    vary: bool = False
    """Also vary colours, sharpness and noise (for training)."""
    scenes: Annotated[int, Field(ge=1)] = 400
    """Number of scenes in a drawn split."""


class Scenes(Task[ScenesSpec]):
    """Questions about existence (POPE's three splits), count, quadrant, left or right, size, and the background."""

    max_new_tokens = 3

    @property
    def splits(self) -> tuple[str, ...]:
        """The shipped split first."""
        return ("test", "validation", "train")

    def examples(self, split: str, limit: int | None = None, seed: int = 0) -> Sequence[Example]:
        """The scenes of a split; no photograph is in two of them.

        Args:
            split: ``test`` is read from the package. The others are drawn; scene i has the seed ``SPLIT:SEED+i``.
            limit: Largest number of scenes.
            seed: Seed of the drawn splits.

        Raises:
            TaskError: the split does not exist, or its files cannot be read.
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
    """Scenes that are drawn when they are accessed.

    Args:
        spec: Options of scenes and questions.
        seeds: One seed per scene.
        photographs: The photographs of the split.
        sprites: The sprites by class.
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
        # scenes of one photograph are not independent, but a drawn split has few photographs: grouped by scene instead
        return Example(seed, image.copy, questions, boxes, group=seed)
