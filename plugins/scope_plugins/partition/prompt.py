"""All images of a prompt together."""

from __future__ import annotations

from typing import Literal

from scope_core import Layout
from scope_core.parts import ComponentSpec, Group, Partition, Span


class ByPromptSpec(ComponentSpec):
    """All images of a prompt together, so that they compete for its budget."""

    name: Literal["prompt"] = "prompt"


class ByPrompt(Partition[ByPromptSpec]):
    """One group per prompt; counts per image are known only after selection."""

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """One group for each prompt with images."""
        prompts: dict[int, list[Span]] = {}
        for number, image in enumerate(layout.images):
            prompts.setdefault(image.prompt, []).append(Span(number, 0, image.tokens))
        return tuple(tuple(spans) for spans in prompts.values())
