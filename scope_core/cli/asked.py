"""The tokens of images inside a model that is asked about them, as a saliency source sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from scope_core.cli.photos import Picture

if TYPE_CHECKING:
    from scope_core.parts.saliency import SaliencySource
    from scope_core.parts.zoo import LoadedModel
    from scope_core.registry.registry import Registry
    from scope_core.structures.declaration import Declaration
    from scope_core.structures.tokens import VisualTokens


def declared(loaded: LoadedModel, registry: Registry) -> Declaration:
    """The declaration of a model, by the adapter that serves it."""
    from scope_core.pruning.compatibility import matching_adapter

    return matching_adapter(loaded.model, registry).check(loaded.model)


def asked(
    loaded: LoadedModel,
    sources: Sequence[SaliencySource[Any]],
    pictures: Sequence[Picture],
    question: str,
    registry: Registry,
) -> Iterator[VisualTokens]:
    """The tokens of each image inside a model that is asked about it, where all sources can be read."""
    import torch

    from scope_core.pruning.pruner import Pruner

    seen: list[VisualTokens] = []
    needs = frozenset().union(*(source.all_needs for source in sources))
    layers = [int(found[1]) for name in needs if (found := re.search(r"^decoder\.\w+\[(\d+)\]$", name))]
    at = f"decoder[{max(1, *layers)}]" if layers else "vision"
    spec = {"at": at, "saliency": {"name": _RECORDER, "of": [source.spec for source in sources]}, "budget": 1}
    pruner = Pruner(spec, registry=registry.with_module(_recorder(seen)))
    with pruner.attach(loaded.model), torch.no_grad():
        for picture in pictures:
            loaded.model(**loaded.inputs([picture.image], question))
            yield seen.pop()


_RECORDER = "here.recorder"


def _recorder(seen: list[VisualTokens]) -> Any:
    """A plugin whose saliency source keeps the tokens that it is given."""
    from scope_core.parts.saliency import SaliencySource
    from scope_core.registry.entries import Entry
    from scope_core.registry.hookspecs import hookimpl
    from scope_core.registry.specs import ComponentSpec, Slot

    class RecorderSpec(ComponentSpec):
        """Other sources, whose tokens are kept."""

        name: Literal["here.recorder"] = "here.recorder"
        of: Annotated[tuple[ComponentSpec, ...], Slot("saliency", many=True)]

    class Recorder(SaliencySource[RecorderSpec]):
        """The same for every token, since it does not matter here what is kept."""

        def score(self, tokens: VisualTokens) -> Any:
            """(B, N) ones; signals are read now, since they exist only while the model runs."""
            for part in self.parts["of"]:
                for name in part.all_needs:
                    tokens.signal(name)
            seen.append(tokens)
            return tokens.features.new_ones(tokens.shape[:2])

    class Plugin:
        """The hook."""

        @hookimpl
        def scope_saliency_sources(self) -> Iterator[Entry]:
            """The recorder."""
            yield Entry(RecorderSpec, Recorder, "keeps tokens")

    return Plugin()
